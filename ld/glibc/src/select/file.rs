//! A libc.so.6 read from a file, for tests.

use std::path::{Path, PathBuf};

use object::read::elf::ElfFile64;
use object::{LittleEndian, Object, ObjectSegment, ObjectSymbol};

use super::Libc;

/// A glibc on this machine: its libc.so.6 and its loader.
pub struct Installed {
    pub libc: PathBuf,
    pub loader: PathBuf,
}

/// This machine's glibc, and those whose unpacked packages the variable `FOLIO_GLIBC_ROOTS` lists, with colons between.
pub fn installed() -> Vec<Installed> {
    let listed = std::env::var("FOLIO_GLIBC_ROOTS").unwrap_or_default();
    let roots = ["/"].into_iter().chain(listed.split(':').filter(|root| !root.is_empty()));
    let folders = ["usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu", "usr/lib64", "lib64", "usr/lib"];
    let mut found = Vec::new();
    for root in roots {
        let glibcs = folders
            .iter()
            .map(|folder| Path::new(root).join(folder))
            .map(|folder| Installed { libc: folder.join("libc.so.6"), loader: folder.join("ld-linux-x86-64.so.2") });
        match glibcs.into_iter().find(|glibc| glibc.libc.exists() && glibc.loader.exists()) {
            Some(glibc) => found.push(glibc),
            None => println!("skipped: no glibc under {root}"),
        }
    }
    found
}

pub struct File<'data> {
    elf: ElfFile64<'data, LittleEndian>,
}

impl<'data> File<'data> {
    pub fn parse(data: &'data [u8]) -> Self {
        File { elf: ElfFile64::parse(data).unwrap() }
    }
}

impl Libc for File<'_> {
    fn build_id(&self) -> Option<&[u8]> {
        self.elf.build_id().unwrap()
    }

    fn bytes_at(&self, symbol: &str, max: usize) -> Option<&[u8]> {
        let defined = |found: &object::read::elf::ElfSymbol64<LittleEndian>| !found.is_undefined();
        let found = self.elf.dynamic_symbols().filter(defined).find(|found| found.name() == Ok(symbol))?;
        let address = found.address();
        let segment = self.elf.segments().find(|segment| {
            (segment.address()..segment.address() + segment.data().unwrap().len() as u64).contains(&address)
        })?;
        let bytes = &segment.data().unwrap()[(address - segment.address()) as usize..];
        Some(&bytes[..max.min(bytes.len())])
    }

    fn exports(&self, symbol: &str) -> bool {
        self.elf.dynamic_symbols().any(|found| !found.is_undefined() && found.name() == Ok(symbol))
    }

    fn imports(&self, symbol: &str) -> bool {
        self.elf.dynamic_symbols().any(|found| found.is_undefined() && found.name() == Ok(symbol))
    }
}

/// The table of an installed glibc; `None`, with the reason printed, when there is none.
pub fn table_of(glibc: &Installed) -> Option<&'static crate::layout::Layout> {
    let data = std::fs::read(&glibc.libc).unwrap();
    match super::select(&File::parse(&data)) {
        Ok(table) => Some(table),
        Err(mismatch) => {
            println!("skipped: {}: {mismatch}", glibc.libc.display());
            None
        }
    }
}
