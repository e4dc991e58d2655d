//! What the kernel tells of a process's memory: `/proc/PID/smaps` and `/proc/PID/pagemap`.
//!
//! Source: proc(5), and the kernel's `Documentation/admin-guide/mm/pagemap.rst`. The kernel shows frame numbers to
//! root (CAP_SYS_ADMIN) only; everybody else reads zero there, and [`Page::frame`] is then `None`.

use std::fs::{self, File};
use std::ops::Range;
use std::os::unix::fs::FileExt;

use anyhow::{Context, Result, ensure};

/// x86-64 has one base page size; pagemap counts in it.
pub const PAGE: u64 = 4096;

/// A file as the kernel tells two of them apart.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileId {
    /// Major and minor number, as smaps prints them.
    pub device: String,
    pub inode: u64,
}

/// One line of `/proc/PID/maps`, with the figures that smaps adds.
#[derive(Clone, Debug)]
pub struct Mapping {
    pub range: Range<u64>,
    /// `r-xp` and the like.
    pub permissions: String,
    /// `None` for memory without a file.
    pub file: Option<FileId>,
    /// The file's path, a name in brackets, or nothing.
    pub path: String,
    pub weight: Weight,
    /// The mapping was writable once: the kernel goes on counting it as memory that may become private.
    /// That is how a data segment that was protected after relocation differs from constants.
    pub was_writable: bool,
}

/// Resident bytes of a mapping, as smaps divides them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Weight {
    pub shared_clean: u64,
    pub shared_dirty: u64,
    pub private_clean: u64,
    pub private_dirty: u64,
    /// Memory without a file behind it, or no longer: copies that the process made by writing.
    pub anonymous: u64,
}

impl Mapping {
    pub fn executable(&self) -> bool {
        self.permissions.as_bytes().get(2) == Some(&b'x')
    }

    pub fn writable(&self) -> bool {
        self.permissions.as_bytes().get(1) == Some(&b'w')
    }

    pub fn pages(&self) -> u64 {
        (self.range.end - self.range.start) / PAGE
    }
}

/// All mappings of a process, in address order.
pub fn mappings(pid: u32) -> Result<Vec<Mapping>> {
    let path = format!("/proc/{pid}/smaps");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    parse_smaps(&text).with_context(|| format!("{path} is not in the form that proc(5) describes"))
}

fn parse_smaps(text: &str) -> Result<Vec<Mapping>> {
    let mut mappings: Vec<Mapping> = Vec::new();
    for line in text.lines() {
        // A figure is `Name: value`; a mapping begins with its address range, which holds no colon.
        let first = line.split_whitespace().next().unwrap_or("");
        let Some(name) = first.strip_suffix(':') else {
            mappings.push(parse_mapping(line)?);
            continue;
        };
        let mapping = mappings.last_mut().context("a figure stands before the first mapping")?;
        let value = line[name.len() + 1..].trim();
        let bytes = || -> Result<u64> {
            let kilobytes = value.strip_suffix(" kB").with_context(|| format!("no unit in {line:?}"))?;
            Ok(kilobytes.trim().parse::<u64>()? * 1024)
        };
        match name {
            "Shared_Clean" => mapping.weight.shared_clean = bytes()?,
            "Shared_Dirty" => mapping.weight.shared_dirty = bytes()?,
            "Private_Clean" => mapping.weight.private_clean = bytes()?,
            "Private_Dirty" => mapping.weight.private_dirty = bytes()?,
            "Anonymous" => mapping.weight.anonymous = bytes()?,
            // `ac` is VM_ACCOUNT: set when a private mapping becomes writable, and never cleared by mprotect
            // (kernel mm/mprotect.c, mprotect_fixup).
            "VmFlags" => mapping.was_writable = value.split_whitespace().any(|flag| flag == "ac"),
            _ => {}
        }
    }
    Ok(mappings)
}

/// `7f12-7f13 r-xp 00026000 fe:00 326279    /usr/lib/libc.so.6`; the path is the rest of the line and may hold blanks.
fn parse_mapping(line: &str) -> Result<Mapping> {
    let mut rest = line;
    let mut field = || {
        let (word, tail) = rest.trim_start().split_once(' ').unwrap_or((rest.trim_start(), ""));
        rest = tail;
        word
    };
    let (range, permissions, _offset, device, inode) = (field(), field(), field(), field(), field());
    let (start, end) = range.split_once('-').with_context(|| format!("no address range in {line:?}"))?;
    let (start, end) = (u64::from_str_radix(start, 16)?, u64::from_str_radix(end, 16)?);
    ensure!(start <= end && permissions.len() == 4, "not a mapping: {line:?}");
    let inode: u64 = inode.parse().with_context(|| format!("no inode in {line:?}"))?;
    Ok(Mapping {
        range: start..end,
        permissions: permissions.to_owned(),
        file: (inode != 0).then(|| FileId { device: device.to_owned(), inode }),
        path: rest.trim().to_owned(),
        weight: Weight::default(),
        was_writable: false,
    })
}

/// What one page of a process's address space holds now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    /// The number of the physical frame; `None` where the kernel hides it.
    pub frame: Option<u64>,
    /// The page is still the file's own page in the page cache, not a copy that this process made by writing.
    pub of_file: bool,
}

/// The page tables of a process, read through `/proc/PID/pagemap`.
pub struct Pagemap(File);

impl Pagemap {
    pub fn open(pid: u32) -> Result<Self> {
        let path = format!("/proc/{pid}/pagemap");
        Ok(Self(File::open(&path).with_context(|| format!("cannot read {path}"))?))
    }

    /// The pages of a range, one entry a page; `None` is a page that this process has not touched yet.
    pub fn pages(&self, range: &Range<u64>) -> Result<Vec<Option<Page>>> {
        let count = (range.end - range.start).div_ceil(PAGE);
        let mut words = vec![0; usize::try_from(count)? * 8];
        self.0.read_exact_at(&mut words, range.start / PAGE * 8)?;
        Ok(words.as_chunks().0.iter().map(|word| parse_page(u64::from_le_bytes(*word))).collect())
    }

    /// The page that an address lies in.
    pub fn page(&self, address: u64) -> Result<Option<Page>> {
        let start = address / PAGE * PAGE;
        Ok(self.pages(&(start..start + PAGE))?[0])
    }
}

fn parse_page(word: u64) -> Option<Page> {
    let bit = |n: u32| word >> n & 1 == 1;
    let present = bit(63);
    let frame = word & ((1 << 55) - 1);
    present.then(|| Page { frame: (frame != 0).then_some(frame), of_file: bit(61) })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMAPS: &str = "\
7f123ec2d000-7f123ec53000 r--p 00000000 fe:00 326279                     /usr/lib/a file.so
Size:                152 kB
Shared_Clean:        148 kB
Private_Dirty:         4 kB
VmFlags: rd mr mw me ac 
7f123ee02000-7f123ee0f000 rw-p 00000000 00:00 0 
Private_Dirty:        52 kB
VmFlags: rd wr mr mw me ac 
";

    #[test]
    fn smaps_is_read_with_its_figures() {
        let mappings = parse_smaps(SMAPS).unwrap();
        assert_eq!(mappings.len(), 2);
        assert_eq!(mappings[0].path, "/usr/lib/a file.so");
        assert_eq!(mappings[0].pages(), 0x26);
        assert_eq!(mappings[0].file, Some(FileId { device: "fe:00".to_owned(), inode: 326_279 }));
        assert_eq!(mappings[0].weight.shared_clean, 148 * 1024);
        assert!(mappings[0].was_writable && !mappings[0].writable());
        assert_eq!(mappings[1].file, None);
        assert_eq!(mappings[1].path, "");
        assert_eq!(mappings[1].weight.private_dirty, 52 * 1024);
    }

    #[test]
    fn damaged_smaps_is_an_error() {
        for text in ["Size: 4 kB\n", "zz-7f r--p 0 0 0\n", "7f00-7e00 r--p 0 00:00 0\n", "nonsense\n"] {
            assert!(parse_smaps(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn pagemap_words() {
        assert_eq!(parse_page(0), None);
        assert_eq!(parse_page(1 << 63 | 1 << 61 | 77), Some(Page { frame: Some(77), of_file: true }));
        assert_eq!(parse_page(1 << 63), Some(Page { frame: None, of_file: false }), "the kernel hides the frame");
        assert_eq!(parse_page(1 << 62 | 77), None, "swapped out");
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
