//! The interpreter, the C library that it has to fit, and where libraries are looked for.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use folio_glibc::select::{self, Decoded};
use folio_glibc::tables;
use folio_link::object::{Kind, Object};
use folio_link::resolve::{Class, Reference, find_in};
use folio_link::search::cache::{Cache, Hwcaps};
use folio_link::search::{DEBIAN_AMD64, Files};

use super::Fact;
use crate::loader;
use crate::plan::{CACHE, Disk};
use crate::processor::levels;

pub fn facts() -> Vec<Fact> {
    let mut disk = Disk::default();
    let mut facts = vec![interpreter(), libc(&mut disk), cache(&mut disk), hwcaps()];
    facts.extend(environment());
    facts
}

fn interpreter() -> Fact {
    const NAME: &str = "interpreter";
    let installed = Path::new(loader::INSTALLED);
    match loader::find() {
        Ok(found) if found == installed => Fact::good(NAME, loader::INSTALLED),
        Ok(found) if installed.is_file() => {
            let same = fs::read(&found).ok() == fs::read(installed).ok();
            let value = format!("{} beside this command, and {}", found.display(), loader::INSTALLED);
            if same {
                Fact::good(NAME, value)
            } else {
                Fact::limited(NAME, value, "they differ: folio run starts the first, patched programs the second")
            }
        }
        Ok(found) => Fact::limited(
            NAME,
            format!("{}, not installed", found.display()),
            format!("folio run works; folio patch needs {} (cargo xtask install)", loader::INSTALLED),
        ),
        Err(error) => Fact::bad(NAME, "none", format!("{error:#}")),
    }
}

fn libc(disk: &mut Disk) -> Fact {
    const NAME: &str = "libc";
    let cached = disk
        .cache()
        .and_then(Cache::parse)
        .and_then(|cache| cache.find(b"libc.so.6", &Hwcaps::NONE))
        .map(<[u8]>::to_vec);
    let folders = DEBIAN_AMD64.iter().map(|folder| [*folder, b"/libc.so.6"].concat());
    for path in cached.into_iter().chain(folders) {
        let Ok(file) = disk.open(&path) else { continue };
        let shown = OsStr::from_bytes(&path).display().to_string();
        let decoded =
            disk.place(file).and_then(|(placement, image)| Object::decode(Kind::Library, &path, placement, image));
        let object = match decoded {
            Ok(object) => object,
            Err(problem) => return Fact::bad(NAME, shown, problem.to_string()),
        };
        let (image, symbols, notes) = (object.image, object.symbols.as_ref(), &object.placement.notes[..]);
        let definition =
            |name: &[u8]| find_in(&object, &Reference::new(name, None, Class::Call)).map(|(_, symbol)| symbol);
        return match select::select(&Decoded { image, symbols, notes, definition }) {
            Ok(layout) => Fact::good(NAME, format!("{shown}, which the layout table of {} fits", layout.label)),
            Err(mismatch) => Fact::bad(
                NAME,
                shown,
                format!(
                    "{mismatch}. Programs are handed over to glibc's own linker, whole (cargo xtask layouts makes tables)"
                ),
            ),
        };
    }
    let known: Vec<String> = tables::ALL.iter().map(|layout| layout.label.to_string()).collect();
    Fact::bad(NAME, "no libc.so.6 of glibc", format!("Folio starts programs for glibc: {}", known.join(", ")))
}

fn cache(disk: &mut Disk) -> Fact {
    const NAME: &str = "ld.so.cache";
    let Some(bytes) = disk.cache() else {
        return Fact::limited(
            NAME,
            format!("no {CACHE}"),
            "libraries are looked for in the system's folders, one by one (ldconfig makes it)",
        );
    };
    let Some(cache) = Cache::parse(bytes) else {
        return Fact::limited(
            NAME,
            format!("{CACHE} is not a cache of this machine"),
            "it is ignored (ldconfig makes a new one)",
        );
    };
    let entries: Vec<_> = cache.entries().collect();
    let stale = entries.iter().filter(|entry| !Path::new(OsStr::from_bytes(entry.path)).exists()).count();
    let value = format!("{} libraries in {CACHE}", entries.len());
    if stale == 0 {
        Fact::good(NAME, value)
    } else {
        Fact::limited(NAME, value, format!("{stale} of them are gone (run ldconfig)"))
    }
}

fn hwcaps() -> Fact {
    let levels = levels();
    let names = levels.directories();
    let folders = DEBIAN_AMD64.iter().flat_map(|folder| names.iter().map(move |name| (folder, name)));
    let there = folders
        .map(|(folder, name)| format!("{}/glibc-hwcaps/{name}", String::from_utf8_lossy(folder)))
        .filter(|folder| Path::new(folder).is_dir());
    let there: Vec<String> = there.collect();
    let used = if there.is_empty() { "no folder for it".to_owned() } else { there.join(", ") };
    Fact::good("processor level", format!("x86-64-v{}, {used}", levels.highest().max(1)))
}

/// Variables that bend every start from this shell.
fn environment() -> Vec<Fact> {
    let mut facts = Vec::new();
    let is_set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    for name in ["LD_LIBRARY_PATH", "LD_PRELOAD"] {
        if let Some(value) = is_set(name) {
            let consequence = "it has a say in every start from here (folio explain --with shows which)";
            facts.push(Fact::limited("environment", format!("{name}={}", value.display()), consequence));
        }
    }
    if let Some(value) = is_set("LD_AUDIT") {
        let consequence = "an auditor watches every start from here, and may change it";
        facts.push(Fact::limited("environment", format!("LD_AUDIT={}", value.display()), consequence));
    }
    if let Some(value) = is_set("LD_PROFILE") {
        facts.push(Fact::limited("environment", format!("LD_PROFILE={}", value.display()), "Folio ignores it"));
    }
    if let Ok(text) = fs::read_to_string("/etc/ld.so.preload") {
        let consequence = "loaded into every program, under Folio too";
        facts.push(Fact::limited("ld.so.preload", text.split_whitespace().collect::<Vec<_>>().join(" "), consequence));
    }
    facts
}
