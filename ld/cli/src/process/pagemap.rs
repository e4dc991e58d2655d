//! The page tables of a process: `/proc/PID/pagemap` (kernel `Documentation/admin-guide/mm/pagemap.rst`).
//!
//! The kernel shows frame numbers to root (CAP_SYS_ADMIN) only; everybody else reads zero there, and [`Page::frame`] is
//! then `None`. What else an entry says it tells to whoever may look into the process.

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use anyhow::Result;

use super::PAGE;
use super::status::explain;

/// What one page of a process's address space holds now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    /// The number of the physical frame; `None` where the kernel hides it.
    pub frame: Option<u64>,
    /// The page is still the file's own page in the page cache, not a copy that this process made by writing.
    pub of_file: bool,
    /// No other page table entry of the machine names its frame.
    pub exclusive: bool,
}

pub struct Pagemap {
    pid: u32,
    file: File,
}

impl Pagemap {
    pub fn open(pid: u32) -> Result<Self> {
        let file = File::open(format!("/proc/{pid}/pagemap")).map_err(|error| explain(pid, error))?;
        Ok(Self { pid, file })
    }

    /// The pages of a range, one entry a page; `None` is a page that this process has not touched yet, or that is swapped
    /// out.
    pub fn pages(&self, range: &Range<u64>) -> Result<Vec<Option<Page>>> {
        let count = (range.end - range.start).div_ceil(PAGE);
        let mut words = vec![0; usize::try_from(count)? * 8];
        self.file.read_exact_at(&mut words, range.start / PAGE * 8).map_err(|error| explain(self.pid, error))?;
        Ok(words.as_chunks().0.iter().map(|word| parse(u64::from_le_bytes(*word))).collect())
    }

    /// The page that an address lies in.
    pub fn page(&self, address: u64) -> Result<Option<Page>> {
        let start = address / PAGE * PAGE;
        Ok(self.pages(&(start..start + PAGE))?[0])
    }
}

fn parse(word: u64) -> Option<Page> {
    let bit = |n: u32| word >> n & 1 == 1;
    let frame = word & ((1 << 55) - 1);
    bit(63).then(|| Page { frame: (frame != 0).then_some(frame), of_file: bit(61), exclusive: bit(56) })
}

#[cfg(test)]
mod tests {
    use super::super::mappings;
    use super::*;

    #[test]
    fn words() {
        assert_eq!(parse(0), None);
        let page = Page { frame: Some(77), of_file: true, exclusive: false };
        assert_eq!(parse(1 << 63 | 1 << 61 | 77), Some(page));
        let hidden = Page { frame: None, of_file: false, exclusive: true };
        assert_eq!(parse(1 << 63 | 1 << 56), Some(hidden), "the kernel hides the frame");
        assert_eq!(parse(1 << 62 | 77), None, "swapped out");
    }

    #[test]
    fn this_process_is_seen() {
        static WORD: u64 = 42;
        let address = &raw const WORD as u64;
        let own = mappings(std::process::id()).unwrap();
        assert!(own.iter().any(|mapping| mapping.range.contains(&address)));
        let touched = std::hint::black_box(&WORD);
        assert_eq!(*touched, 42);
        let page = Pagemap::open(std::process::id()).unwrap().page(address).unwrap();
        assert!(page.is_some(), "a page that was just read is resident");
    }
}
