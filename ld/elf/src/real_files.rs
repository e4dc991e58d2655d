//! Real files for tests: objects of this machine and objects that its compiler makes, read as bytes, beside what readelf(1) says of
//! them.

use std::path::{Path, PathBuf};
use std::process::Command;

use goblin::elf64::program_header::PT_DYNAMIC;

use crate::{Dynamic, FileHeader, Image, ProgramHeader, Segment, Symbols, Vaddr, header};

/// A file whose bytes live as long as the test process.
pub struct RealFile {
    pub path: PathBuf,
    /// The directory that was made for it, and that goes with it.
    made_in: Option<PathBuf>,
    pub bytes: &'static [u8],
    pub headers: Vec<ProgramHeader>,
    pub image: Image<'static>,
    pub dynamic: Dynamic<'static>,
    pub symbols: Symbols<'static>,
}

impl RealFile {
    pub fn read(path: &Path) -> RealFile {
        let bytes: &[u8] = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display())).leak();
        let header = FileHeader::decode(bytes).unwrap();
        let headers: Vec<_> = header::program_headers(&bytes[header.phoff as usize..][..header.phsize()]).collect();
        let image = image_of(bytes, &headers);
        let place = headers.iter().find(|header| header.p_type == PT_DYNAMIC).unwrap();
        let dynamic = Dynamic::decode(&image, Vaddr(place.p_vaddr), place.p_memsz).unwrap();
        let symbols = Symbols::decode(&image, &dynamic);
        RealFile { path: path.into(), made_in: None, bytes, headers, image, dynamic, symbols }
    }

    /// Lines that readelf(1) prints of the file.
    pub fn readelf(&self, option: &str) -> Vec<String> {
        let output =
            Command::new("readelf").args(["--wide", option]).arg(&self.path).env("LC_ALL", "C").output().unwrap();
        assert!(output.status.success(), "readelf {option} {}", self.path.display());
        String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
    }
}

impl Drop for RealFile {
    fn drop(&mut self) {
        if let Some(directory) = &self.made_in {
            std::fs::remove_dir_all(directory).unwrap();
        }
    }
}

/// An image of a file with `headers`.
pub fn image_of(bytes: &'static [u8], headers: &[ProgramHeader]) -> Image<'static> {
    let nothing = Segment { start: Vaddr(0), size: 0, memory: 0, writable: false };
    Image::of_file(bytes, headers.iter().copied(), vec![nothing; headers.len()].leak())
}

/// A program and libraries of every kind: versions defined and needed, IFUNCs, unique symbols, one hash table or both.
pub fn system() -> Vec<RealFile> {
    let directories = ["/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu", "/lib64", "/usr/lib64"];
    let library = |name: &str| {
        let path = directories.iter().map(|directory| Path::new(directory).join(name)).find(|path| path.exists());
        RealFile::read(&path.unwrap_or_else(|| panic!("{name} is not installed")))
    };
    vec![library("libc.so.6"), library("libm.so.6"), library("libstdc++.so.6"), RealFile::read(Path::new("/bin/bash"))]
}

/// A library that cc(1) makes of `source`.
pub fn compile(name: &str, source: &str, options: &[&str]) -> RealFile {
    let directory = std::env::temp_dir().join(format!("folio-elf-{}-{name}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let (input, output) = (directory.join("source.c"), directory.join("library.so"));
    std::fs::write(&input, source).unwrap();
    let made = Command::new("cc")
        .args(["-shared", "-fPIC", "-nostdlib", "-o"])
        .args([&output, &input])
        .args(options)
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let mut file = RealFile::read(&output);
    file.made_in = Some(directory);
    file
}
