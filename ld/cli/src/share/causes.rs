//! Why a page is private: its bytes in memory are compared with the file's, and with the places that the linker stores into.

use std::fs::File;
use std::os::unix::fs::FileExt;

use super::page::Cause;
use crate::object::{Kind, Object};
use crate::process::PAGE;

/// The memory of a process (`/proc/PID/mem`, proc(5)); `None` where it may not be read.
pub struct Memory(Option<File>);

impl Memory {
    pub fn open(pid: u32) -> Self {
        Self(File::open(format!("/proc/{pid}/mem")).ok())
    }

    /// Nothing is read: causes are told from the file alone.
    pub fn closed() -> Self {
        Self(None)
    }

    fn page(&self, address: u64) -> Option<[u8; PAGE as usize]> {
        let mut bytes = [0; PAGE as usize];
        self.0.as_ref()?.read_exact_at(&mut bytes, address).ok()?;
        Some(bytes)
    }
}

/// A cause, and the places on the page where somebody other than the linker wrote: offsets of changed words of 8 bytes.
pub struct Reason {
    pub cause: Cause,
    pub written: Vec<u16>,
}

/// Why a process has its own copy of an object's page.
pub fn of_object(object: &Object, kind: Kind, page: u64, address: u64, memory: &Memory) -> Reason {
    let cause = |cause| Reason { cause, written: Vec::new() };
    let slots = object.slots(page);
    if kind == Kind::Bss && slots.is_empty() {
        return cause(Cause::Bss);
    }
    if !kind.is_data() {
        return cause(if slots.is_empty() { Cause::Patched } else { Cause::TextRelocation });
    }
    let written = match (memory.page(address), object.initial(page)) {
        (Some(now), Some(initial)) => changed_words(&now, &initial, slots.iter().map(|slot| (slot.start, slot.length))),
        // Without a look at the memory, relocations are reason enough.
        _ if !slots.is_empty() => return cause(Cause::Relocated),
        _ => Vec::new(),
    };
    let cause = match (slots.is_empty(), written.is_empty()) {
        (false, true) => Cause::Relocated,
        (false, false) => Cause::RelocatedAndWritten,
        // Zeros that the linker stored over zeros, up to the end of the last page of the file's bytes.
        (true, true) if object.has_zeroed_rest(page) => Cause::Bss,
        (true, _) => Cause::Written,
    };
    Reason { cause, written }
}

fn changed_words(now: &[u8], initial: &[u8], slots: impl Iterator<Item = (u16, u16)>) -> Vec<u16> {
    let mut relocated = [false; PAGE as usize];
    for (start, length) in slots {
        relocated[usize::from(start)..usize::from(start) + usize::from(length)].fill(true);
    }
    let changed = |at: usize| (at..at + 8).any(|at| now[at] != initial[at] && !relocated[at]);
    (0..PAGE as usize).step_by(8).filter(|at| changed(*at)).map(|at| at as u16).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_linker_does_not_own_counts_as_written() {
        let initial = [0; PAGE as usize];
        let mut now = initial;
        now[16] = 1;
        now[4095] = 1;
        now[100] = 1;
        assert_eq!(changed_words(&now, &initial, [].into_iter()), [16, 96, 4088]);
        assert_eq!(changed_words(&now, &initial, [(16, 8), (4094, 2)].into_iter()), [96]);
        assert_eq!(changed_words(&now, &initial, [(0, 4096)].into_iter()), [0_u16; 0]);
    }
}
