//! Targets for what is text, or made by tools from text: ld.so.cache, path lists, tunables, `LD_DEBUG`, lists of preloads.

use folio_glibc::debug::{Categories, names};
use folio_glibc::tables;
use folio_glibc::tunables::{Values, Warning};
use folio_link::search::cache::{self, Cache, Hwcaps};
use folio_link::search::{self, Files, Observe, OpenError, Owner, Reference, Requester, Rule, Search, Settings};
use folio_link::search::{dst, preload};

const HWCAPS: Hwcaps<'static> = Hwcaps { subdirectories: &[b"x86-64-v3", b"x86-64-v2"], isa_level: 0b111 };

/// The bytes are a cache, whose own names are looked up in it, and some others.
pub fn cache(bytes: &[u8]) {
    let Some(cache) = Cache::parse(bytes) else { return };
    assert!(cache.entries().count() <= bytes.len() / 12);
    let own: Vec<&[u8]> = cache.entries().take(4).map(|entry| entry.name).collect();
    for name in own.into_iter().chain([&b"libc.so.6"[..], b"", b"libz.so.1.2.3"]) {
        assert!(cache::compare(name, name).is_eq());
        if let Some(path) = cache.find(name, &HWCAPS) {
            assert!(!path.contains(&0) && cache.entries().any(|entry| entry.path == path));
        }
    }
}

/// A file system in which some of all paths exist.
#[derive(Default)]
struct Disk {
    opened: usize,
    asked: usize,
}

fn exists(path: &[u8]) -> bool {
    path.iter().fold(0u8, |sum, &byte| sum.wrapping_mul(31).wrapping_add(byte)).is_multiple_of(7)
}

impl Files for Disk {
    type File = ();
    type Error = ();

    fn open(&mut self, path: &[u8]) -> Result<(), OpenError<()>> {
        self.opened += 1;
        match path.len() % 97 {
            0 => Err(OpenError::Failed(())),
            1 => Err(OpenError::OtherClass),
            2 => Err(OpenError::OtherMachine),
            _ if path.len() >= 4096 => Err(OpenError::Absent(36)),
            length if !exists(path) => Err(OpenError::Absent([2, 13, 20, 40][length % 4])),
            _ => Ok(()),
        }
    }

    fn is_directory(&mut self, path: &[u8]) -> bool {
        self.asked += 1;
        !path.is_empty() && exists(path)
    }

    fn cache(&mut self) -> Option<&[u8]> {
        None
    }

    fn is_set_user_id(&mut self, _: &()) -> bool {
        self.opened.is_multiple_of(2)
    }

    fn owner(&mut self, _: &()) -> u32 {
        u32::from(self.opened.is_multiple_of(3))
    }
}

/// Looks at all that it is shown.
#[derive(Default)]
struct Everything {
    directories: usize,
}

impl Observe for Everything {
    fn list(&mut self, _: Rule, _: &[u8], directories: &search::Listing<'_>) {
        self.directories += directories.paths().count();
    }
}

/// The bytes are settings, then lists and names with NULs between them: `LD_LIBRARY_PATH`, `DT_RPATH`, `DT_RUNPATH`,
/// `$ORIGIN`, `--inhibit-rpath`, and names to search for.
pub fn search(bytes: &[u8]) {
    let Some((&flags, text)) = bytes.split_first() else { return };
    let flag = |bit: u32| flags >> bit & 1 != 0;
    let mut texts = text.split(|&byte| byte == 0);
    let mut text = || texts.next().unwrap_or_default();
    let settings = Settings {
        ld_library_path: text(),
        inhibit_cache: flag(0),
        inhibit_rpath: flag(1).then(&mut text),
        secure: flag(2),
        program_owner: 0,
        system_directories: search::DEBIAN_AMD64,
        lib: b"lib/x86_64-linux-gnu",
        platform: flag(3).then_some(b"haswell"),
        machine: if flag(4) { &HWCAPS } else { &Hwcaps::NONE },
    };
    // It is the directory that a path lies in, which the kernel would not give longer.
    let origin = text();
    let origin = (!flag(5)).then_some(&origin[..origin.len().min(16)]);
    let owner = Owner { name: b"", origin, is_executable: flag(6) };
    let (rpath, runpath) = (text(), text());
    let mut search = Search::new(settings, &owner);
    let rpath = search.decompose(rpath, &owner);
    let runpath = flag(7).then(|| search.decompose(runpath, &owner));
    let rpaths = [&rpath];
    let requester = Requester { owner, runpath: runpath.as_ref(), rpaths: &rpaths, no_default_libraries: false };
    for (name, reference) in texts.take(2).zip([Reference::Needed, Reference::Preloaded]) {
        let (mut disk, mut everything) = (Disk::default(), Everything::default());
        let found = search.find(&mut disk, &mut everything, &requester, reference, name);
        // Each element is at least a byte of a list or a system directory, and stands for three directories to try at most.
        let most = 3 * (bytes.len() + 2 + search::DEBIAN_AMD64.len()) + 1;
        assert!(disk.opened <= most && disk.asked <= 2 * most && everything.directories <= most);
        if let Ok(found) = found {
            assert!(!found.path.is_empty() && !found.path.contains(&0));
            assert!(dst::contains_token(name) || found.path.ends_with(name));
        }
    }
    for directory in search.path(&requester) {
        assert!(directory.is_empty() || directory.ends_with(b"/"));
    }
}

/// The bytes are the value of `GLIBC_TUNABLES`, as each way of reading it takes them.
pub fn tunables(bytes: &[u8]) {
    for layout in &tables::ALL {
        let mut warnings = 0;
        let mut warn = |warning: Warning| {
            warnings += 1;
            // Formatting goes over the text once for each warning, of which there is one a piece.
            assert!(bytes.len() > 256 || !warning.to_string().is_empty());
        };
        let values = Values::new(layout, Some(bytes), |_| Some(bytes), false, &mut warn);
        assert!(warnings <= bytes.len() / 2 + layout.tunables.len() + 2);
        for id in 0..layout.tunables.len() {
            let _ = (values.by_id(id), values.is_set(id), values.bounds(id));
        }
        let secure = Values::new(layout, Some(bytes), |_| Some(bytes), true, |_| panic!("nothing is read"));
        assert!((0..layout.tunables.len()).all(|id| !secure.is_set(id)));
    }
}

/// The bytes are the value of `LD_DEBUG`.
pub fn debug(bytes: &[u8]) {
    let mut unknown = 0;
    let categories = Categories::parse(bytes, |word| {
        assert!(!word.is_empty() && names().all(|(name, ..)| name.as_bytes() != word));
        unknown += 1;
    });
    assert!(Categories::all().contains(categories) && unknown <= bytes.len().div_ceil(2));
}

/// The bytes are `/etc/ld.so.preload`, and a list of the environment.
pub fn preload(bytes: &[u8]) {
    for secure in [false, true] {
        for name in preload::split_list(bytes, secure) {
            assert!((1..4096).contains(&name.len()) && !name.contains(&b':'));
            assert!(!secure || !name.contains(&b'/'));
        }
    }
    for name in preload::split_file(bytes) {
        assert!(!name.is_empty() && !name.iter().any(|byte| b"\n\t :\0#".contains(byte)));
    }
}
