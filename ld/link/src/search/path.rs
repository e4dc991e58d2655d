//! Path lists, and what is known of the directories in them.
//!
//! Sources: ld.so(8); glibc elf/dl-load.c, `fillin_rpath`, `decompose_rpath` and `open_path`. A directory that stands in
//! several lists is one directory: what one search found out about it spares the next search its system calls.

use alloc::vec::Vec;

use super::cache::Machine;
use super::dst::Tokens;
use super::{Files, Found, Observe, Probe, Refusal, Rule, SearchError};

/// So many directories of all lists, and of each, are kept from being searched twice; an honest process has a dozen.
const SHARED: usize = 1024;

/// The parent of the hwcaps subdirectories in each directory.
const HWCAPS: &[u8] = b"glibc-hwcaps/";

/// A path list after expansion: the value of one DT_RPATH, DT_RUNPATH or LD_LIBRARY_PATH.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PathList {
    directories: Vec<usize>,
    /// The object whose DT_RPATH or DT_RUNPATH it is; empty for the executable and for lists that no object holds.
    owner: Vec<u8>,
}

impl PathList {
    pub fn is_empty(&self) -> bool {
        self.directories.is_empty()
    }

    pub(super) fn append(&mut self, other: Self) {
        self.directories.extend(other.directories);
    }
}

/// All directories that occur in path lists, each once.
#[derive(Clone, Debug)]
pub(super) struct Directories<'a> {
    known: Vec<Directory>,
    /// Knows the names below `glibc-hwcaps/`, best first.
    machine: &'a dyn Machine,
}

#[derive(Clone, Debug)]
struct Directory {
    /// What stands before the name of a library: ends in a slash, or is empty for the current directory.
    prefix: Vec<u8>,
    itself: Presence,
    /// `glibc-hwcaps`, and the subdirectories there, which are empty until that exists.
    hwcaps: Presence,
    subdirectories: Vec<Presence>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Presence {
    Unknown,
    Exists,
    Missing,
    /// A relative path: the current directory may change, so nothing is ever remembered of it.
    Relative,
}

impl<'a> Directories<'a> {
    pub fn new(machine: &'a dyn Machine) -> Self {
        Self { known: Vec::new(), machine }
    }

    /// Splits a list and expands its elements.
    ///
    /// An empty element is the current directory. An element whose tokens have no value is left out, and so is one that
    /// the list holds already.
    pub fn decompose(&mut self, list: &[u8], separators: &[u8], tokens: &Tokens<'_>, owner: &[u8]) -> PathList {
        let mut result = PathList { directories: Vec::new(), owner: owner.to_vec() };
        for element in list.split(|byte| separators.contains(byte)) {
            let Some(path) = tokens.expand(element) else { continue };
            let id = self.intern(&path);
            if !result.directories.iter().take(SHARED).any(|&other| other == id) {
                result.directories.push(id);
            }
        }
        result
    }

    fn intern(&mut self, path: &[u8]) -> usize {
        let mut prefix = path.to_vec();
        while prefix.ends_with(b"/") {
            prefix.pop();
        }
        if !path.is_empty() {
            prefix.push(b'/');
        }
        self.known.iter().take(SHARED).position(|directory| directory.prefix == prefix).unwrap_or_else(|| {
            let presence = if prefix.starts_with(b"/") { Presence::Unknown } else { Presence::Relative };
            self.known.push(Directory {
                prefix,
                itself: presence,
                hwcaps: if self.machine.offers_any() { presence } else { Presence::Missing },
                subdirectories: Vec::new(),
            });
            self.known.len() - 1
        })
    }

    /// What stands before the name of a library in each directory of a list.
    pub fn prefixes<'d>(&'d self, list: &'d PathList) -> impl Iterator<Item = &'d [u8]> {
        list.directories.iter().map(|&id| self.known[id].prefix.as_slice())
    }

    /// Whether a search has found that none of a list's directories exists: it is not searched again.
    pub fn are_all_missing(&self, list: &PathList) -> bool {
        list.directories.iter().all(|&id| self.known[id].itself == Presence::Missing)
    }

    /// Tries a name in each directory of a list: first in the hwcaps subdirectories, then in the directory itself.
    ///
    /// A directory that exists, and in which the file cannot be opened for another reason than that it is absent, ends the
    /// search of this list (glibc elf/dl-load.c, `open_path`), not the search of the library.
    pub fn search<F: Files, O: Observe>(
        &mut self,
        list: &PathList,
        rule: Rule,
        name: &[u8],
        probe: &mut Probe<'_, F, O>,
    ) -> Result<Option<Found<F::File>>, SearchError<F::Error>> {
        if list.is_empty() {
            return Ok(None);
        }
        probe.observe.list(rule, &list.owner, &Listing { directories: self, list });
        let mut path = Vec::new();
        for &id in &list.directories {
            let directory = &mut self.known[id];
            let mut exists = false;
            if directory.has_hwcaps(self.machine, probe.files) {
                let names = self.machine.hwcaps().subdirectories;
                for (presence, subdirectory) in directory.subdirectories.iter_mut().zip(names) {
                    path.clear();
                    path.extend_from_slice(&directory.prefix);
                    path.extend_from_slice(HWCAPS);
                    path.extend_from_slice(subdirectory);
                    path.push(b'/');
                    if let Some(file) = presence.open_in(&mut path, name, rule, probe)? {
                        return Ok(Some(Found { file, path, rule }));
                    }
                    exists |= *presence != Presence::Missing;
                }
            }
            path.clear();
            path.extend_from_slice(&directory.prefix);
            if let Some(file) = directory.itself.open_in(&mut path, name, rule, probe)? {
                return Ok(Some(Found { file, path, rule }));
            }
            exists |= directory.itself != Presence::Missing;
            if exists && !probe.is_absent() {
                break;
            }
        }
        Ok(None)
    }
}

impl Directory {
    /// Whether `glibc-hwcaps` is there: one question that spares one a subdirectory.
    fn has_hwcaps<F: Files>(&mut self, machine: &dyn Machine, files: &mut F) -> bool {
        let exists = match self.hwcaps {
            Presence::Exists => true,
            Presence::Missing => false,
            Presence::Unknown | Presence::Relative => {
                self.itself != Presence::Missing && {
                    let mut path = self.prefix.clone();
                    path.extend_from_slice(HWCAPS);
                    files.is_directory(without_slash(&path))
                }
            }
        };
        if exists && self.subdirectories.is_empty() {
            let relative = self.hwcaps == Presence::Relative;
            let presence = if relative { Presence::Relative } else { Presence::Unknown };
            self.subdirectories.resize(machine.hwcaps().subdirectories.len(), presence);
        }
        if self.hwcaps == Presence::Unknown {
            self.hwcaps = if exists { Presence::Exists } else { Presence::Missing };
        }
        exists
    }
}

impl Presence {
    /// Tries to open `name` in the directory that `path` holds, and appends it there; learns whether the directory exists.
    fn open_in<F: Files, O: Observe>(
        &mut self,
        path: &mut Vec<u8>,
        name: &[u8],
        rule: Rule,
        probe: &mut Probe<'_, F, O>,
    ) -> Result<Option<F::File>, SearchError<F::Error>> {
        if *self == Self::Missing {
            return Ok(None);
        }
        let directory = path.len();
        path.extend_from_slice(name);
        let file = probe.open(path, rule)?;
        if *self == Self::Unknown {
            let is_there = file.is_some() || !matches!(probe.refusal, Refusal::Absent(_));
            let exists = is_there || probe.files.is_directory(without_slash(&path[..directory]));
            *self = if exists { Self::Exists } else { Self::Missing };
        }
        Ok(file)
    }
}

fn without_slash(directory: &[u8]) -> &[u8] {
    match directory.strip_suffix(b"/") {
        Some(b"") | None => directory,
        Some(shorter) => shorter,
    }
}

/// The directories of a list in the order in which they are searched, for `LD_DEBUG=libs` and reports.
#[derive(Debug)]
pub struct Listing<'l> {
    directories: &'l Directories<'l>,
    list: &'l PathList,
}

impl Listing<'_> {
    /// The directories, without a slash at the end, except those that are known to be missing.
    pub fn paths(&self) -> impl Iterator<Item = Vec<u8>> + '_ {
        self.list.directories.iter().flat_map(|&id| {
            let directory = &self.directories.known[id];
            let names = self.directories.machine.hwcaps().subdirectories;
            let below = directory.subdirectories.iter().zip(names);
            let below = below.filter(|(presence, _)| **presence != Presence::Missing).map(|(_, name)| {
                let mut path = directory.prefix.clone();
                path.extend_from_slice(HWCAPS);
                path.extend_from_slice(name);
                path
            });
            let itself = (directory.itself != Presence::Missing).then(|| without_slash(&directory.prefix).to_vec());
            below.chain(itself)
        })
    }
}
