//! Which frames the looked-at processes have, how many of them have each, and who else.
//!
//! With the right to see frame numbers a frame is known by its number. Without it, a page that still is the file's own is
//! known by its place in the file: the page cache holds each page of a file once. Pages that a process made by writing are
//! then told apart only by the kernel's word that nobody else has them.

use std::collections::HashMap;

use super::page::State;
use super::snapshot::Snapshot;
use crate::process::{FileId, FrameTable, Mapping, PAGE, Page, frames};

/// What stands for one frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Key {
    Number(u64),
    /// The file, by its number in the census, and the page of it.
    OfFile(u32, u64),
}

/// One frame as these processes have it.
#[derive(Clone, Copy, Debug, Default)]
struct Use {
    processes: u32,
    /// The last process that was counted.
    last: u32,
    entries: u32,
    machine: Option<frames::Frame>,
}

/// All frames of all processes that are looked at.
pub struct Census {
    uses: HashMap<Key, Use>,
    files: HashMap<FileId, u32>,
    processes: u32,
    pub frames_visible: bool,
}

/// An entry of a page table, judged.
#[derive(Clone, Copy, Debug)]
pub struct Judged {
    pub key: Option<Key>,
    pub state: State,
    pub mapped: Option<u32>,
    /// The page is the file's own.
    pub of_file: bool,
    /// What smaps counts it as: shared and dirty, or not. `None` for the frame of zeros, which smaps does not count.
    pub smaps: Option<(bool, bool)>,
}

impl Census {
    pub fn take(snapshots: &[Snapshot]) -> Self {
        let table = FrameTable::open();
        let mut census = Self {
            uses: HashMap::new(),
            files: HashMap::new(),
            processes: u32::try_from(snapshots.len()).unwrap_or(u32::MAX),
            frames_visible: table.is_some(),
        };
        for (number, snapshot) in (1..).zip(snapshots) {
            for (mapping, pages) in snapshot.mappings.iter().zip(&snapshot.pages) {
                if let Some(file) = &mapping.file {
                    let next = u32::try_from(census.files.len()).unwrap_or(u32::MAX);
                    census.files.entry(file.clone()).or_insert(next);
                }
                for (index, page) in (0..).zip(pages) {
                    let Some(key) = page.as_ref().and_then(|page| census.key(mapping, index, page)) else { continue };
                    let used = census.uses.entry(key).or_default();
                    used.entries += 1;
                    if used.last != number {
                        (used.last, used.processes) = (number, used.processes + 1);
                    }
                }
            }
        }
        if let Some(table) = table {
            for (key, used) in &mut census.uses {
                if let Key::Number(number) = key {
                    used.machine = table.frame(*number);
                }
            }
        }
        census
    }

    fn key(&self, mapping: &Mapping, index: u64, page: &Page) -> Option<Key> {
        match page.frame {
            Some(number) if self.frames_visible => Some(Key::Number(number)),
            _ => {
                let file = mapping.file.as_ref().filter(|_| page.of_file)?;
                Some(Key::OfFile(*self.files.get(file)?, mapping.offset / PAGE + index))
            }
        }
    }

    /// What a page of a mapping is, in one of these processes.
    pub fn judge(&self, mapping: &Mapping, index: u64, page: &Page) -> Judged {
        let key = self.key(mapping, index, page);
        let used = key.and_then(|key| self.uses.get(&key)).copied().unwrap_or_default();
        if used.machine.is_some_and(|frame| frame.zero) {
            return Judged { key: None, state: State::Untouched, mapped: None, of_file: false, smaps: None };
        }
        let mapped = used.machine.map(|frame| u32::try_from(frame.mapped).unwrap_or(u32::MAX));
        // Where counts are hidden, the entry itself says whether it is the only one.
        let shared = mapped.map_or(!page.exclusive, |mapped| mapped >= 2);
        let dirty = !page.of_file || used.machine.is_some_and(|frame| frame.dirty);
        let foreign = mapped.map_or(shared && used.entries < 2, |mapped| mapped > used.entries);
        let state = match used.processes {
            count if count > 1 && count == self.processes => State::All,
            2.. => State::Several,
            _ if foreign => State::Others,
            _ if dirty => State::PrivateDirty,
            _ => State::PrivateClean,
        };
        Judged { key, state, mapped, of_file: page.of_file, smaps: Some((shared, dirty)) }
    }
}
