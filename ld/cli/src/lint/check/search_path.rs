//! The rule about DT_RPATH and DT_RUNPATH: folders that every start looks into for nothing.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use folio_link::object::directory_of;
use folio_link::search::dst::Tokens;
use folio_link::search::{DEBIAN_AMD64, DEBIAN_AMD64_LIB};

use super::{Finding, Where};
use crate::lint::library::Library;
use crate::lint::rule::Rule;

/// Folders that might go, with the reason, in the order of the list.
pub fn useless(library: &Library) -> Vec<(Vec<u8>, &'static str)> {
    let Some(dynamic) = &library.object.dynamic else { return Vec::new() };
    let Some(list) = dynamic.runpath.or(dynamic.rpath).filter(|list| !list.is_empty()) else { return Vec::new() };
    let path = fs::canonicalize(&library.path).unwrap_or_else(|_| library.path.clone());
    let origin = directory_of(path.as_os_str().as_bytes());
    let tokens = Tokens { origin: Some(origin), lib: DEBIAN_AMD64_LIB, platform: Some(b"x86_64"), secure: None };
    let mut seen: Vec<Vec<u8>> = Vec::new();
    let mut useless = Vec::new();
    for element in list.split(|&byte| byte == b':') {
        let Some(folder) = tokens.expand(element) else { continue };
        let folder = Path::new(OsStr::from_bytes(&folder));
        let real = fs::canonicalize(folder).unwrap_or_else(|_| folder.to_owned());
        let real = real.as_os_str().as_bytes().to_vec();
        let is_system = DEBIAN_AMD64.iter().any(|system| {
            fs::canonicalize(OsStr::from_bytes(system)).is_ok_and(|system| system.as_os_str().as_bytes() == real)
        });
        let reason = if element.is_empty() || folder.is_relative() {
            Some("depends on the current folder")
        } else if seen.contains(&real) {
            Some("stands there twice")
        } else if is_system {
            Some("is searched anyway")
        } else if !folder.is_dir() {
            Some("does not exist")
        } else {
            None
        };
        seen.push(real);
        useless.extend(reason.map(|reason| (element.to_vec(), reason)));
    }
    useless
}

pub fn wasteful_rpath(library: &Library) -> Option<Finding> {
    let useless = useless(library);
    if useless.is_empty() {
        return None;
    }
    let dynamic = library.object.dynamic.as_ref()?;
    let needed = dynamic.needed().flatten().filter(|name| !name.contains(&b'/')).count() as u64;
    let tag = if dynamic.runpath.is_some() { "DT_RUNPATH" } else { "DT_RPATH" };
    let tries = |reason: &str| if reason == "does not exist" { needed.min(1) } else { needed };
    let most: u64 = useless.iter().map(|(_, reason)| tries(reason)).sum();
    let cause =
        format!("{} folders of {tag} are of no use; up to {most} files are tried in vain at each start", useless.len());
    let places = useless.iter().map(|(element, reason)| Where {
        name: format!("{} {reason}", String::from_utf8_lossy(element)),
        count: tries(reason),
        unit: "tries",
    });
    Some(Finding::new(Rule::WastefulRpath, cause).at(places.collect()))
}
