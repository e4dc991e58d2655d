//! The mappings of a process with their figures: `/proc/PID/smaps` (proc(5)).

use std::fs;
use std::ops::Range;

use anyhow::{Context, Result, ensure};

use super::PAGE;
use super::status::explain;

/// A file as the kernel tells two of them apart.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileId {
    /// Major and minor number, as smaps prints them.
    pub device: String,
    pub inode: u64,
}

/// One line of `/proc/PID/maps`, with the figures that smaps adds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapping {
    pub range: Range<u64>,
    /// `r-xp` and the like.
    pub permissions: String,
    /// Where in the file it begins.
    pub offset: u64,
    /// `None` for memory without a file.
    pub file: Option<FileId>,
    /// The file's path, a name in brackets, or nothing.
    pub path: String,
    pub weight: Weight,
    /// The mapping was writable once: the kernel goes on counting it as memory that may become private.
    /// That is how a data segment that was protected after relocation differs from constants.
    pub was_writable: bool,
    /// The mapping holds addresses that are no memory of the kernel's, as `[vvar]` does: smaps counts none of its pages.
    pub bare_frames: bool,
}

/// Bytes of a mapping, as smaps divides them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Weight {
    pub resident: u64,
    /// Each page divided by the number of its mappings.
    pub proportional: u64,
    pub shared_clean: u64,
    pub shared_dirty: u64,
    pub private_clean: u64,
    pub private_dirty: u64,
    /// Memory without a file behind it, or no longer: copies that the process made by writing.
    pub anonymous: u64,
    pub swapped: u64,
}

impl std::iter::Sum for Weight {
    fn sum<I: Iterator<Item = Self>>(weights: I) -> Self {
        weights.fold(Self::default(), |sum, weight| Self {
            resident: sum.resident + weight.resident,
            proportional: sum.proportional + weight.proportional,
            shared_clean: sum.shared_clean + weight.shared_clean,
            shared_dirty: sum.shared_dirty + weight.shared_dirty,
            private_clean: sum.private_clean + weight.private_clean,
            private_dirty: sum.private_dirty + weight.private_dirty,
            anonymous: sum.anonymous + weight.anonymous,
            swapped: sum.swapped + weight.swapped,
        })
    }
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

/// All mappings of a process, in address order. None is an error: a process without memory has ended, or is a thread of
/// the kernel.
pub fn mappings(pid: u32) -> Result<Vec<Mapping>> {
    let path = format!("/proc/{pid}/smaps");
    let text = fs::read_to_string(&path).map_err(|error| explain(pid, error))?;
    let mappings = parse(&text).with_context(|| format!("{path} is not in the form that proc(5) describes"))?;
    ensure!(!mappings.is_empty(), "process {pid} has no memory: it has ended, or is a thread of the kernel");
    Ok(mappings)
}

/// The sums of a process, which the kernel adds up before it rounds them (`/proc/PID/smaps_rollup`).
pub fn rollup(pid: u32) -> Result<Weight> {
    let path = format!("/proc/{pid}/smaps_rollup");
    let text = fs::read_to_string(&path).map_err(|error| explain(pid, error))?;
    // One mapping, which is called `[rollup]`.
    let mappings = parse(&text).with_context(|| format!("{path} is not in the form that proc(5) describes"))?;
    Ok(mappings.first().map(|mapping| mapping.weight).unwrap_or_default())
}

/// The mappings in the text of such a file.
pub fn parse(text: &str) -> Result<Vec<Mapping>> {
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
        let weight = &mut mapping.weight;
        let figure = match name {
            "Rss" => &mut weight.resident,
            "Pss" => &mut weight.proportional,
            "Shared_Clean" => &mut weight.shared_clean,
            "Shared_Dirty" => &mut weight.shared_dirty,
            "Private_Clean" => &mut weight.private_clean,
            "Private_Dirty" => &mut weight.private_dirty,
            "Anonymous" => &mut weight.anonymous,
            "Swap" => &mut weight.swapped,
            "VmFlags" => {
                // `ac` is VM_ACCOUNT: set when a private mapping becomes writable, and never cleared by mprotect
                // (kernel mm/mprotect.c, mprotect_fixup). `pf` is VM_PFNMAP.
                mapping.was_writable = value.split_whitespace().any(|flag| flag == "ac");
                mapping.bare_frames = value.split_whitespace().any(|flag| flag == "pf");
                continue;
            }
            _ => continue,
        };
        let kibibytes = value.strip_suffix(" kB").with_context(|| format!("no unit in {line:?}"))?;
        *figure = kibibytes.trim().parse::<u64>()?.checked_mul(1024).context("a figure is too large")?;
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
    let (range, permissions, offset, device, inode) = (field(), field(), field(), field(), field());
    let (start, end) = range.split_once('-').with_context(|| format!("no address range in {line:?}"))?;
    let (start, end) = (u64::from_str_radix(start, 16)?, u64::from_str_radix(end, 16)?);
    ensure!(start <= end && permissions.len() == 4, "not a mapping: {line:?}");
    let inode: u64 = inode.parse().with_context(|| format!("no inode in {line:?}"))?;
    Ok(Mapping {
        range: start..end,
        permissions: permissions.to_owned(),
        offset: u64::from_str_radix(offset, 16)?,
        file: (inode != 0).then(|| FileId { device: device.to_owned(), inode }),
        path: rest.trim().to_owned(),
        weight: Weight::default(),
        was_writable: false,
        bare_frames: false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMAPS: &str = "\
7f123ec2d000-7f123ec53000 r--p 00001000 fe:00 326279                     /usr/lib/a file.so
Size:                152 kB
Rss:                 152 kB
Shared_Clean:        148 kB
Private_Dirty:         4 kB
VmFlags: rd mr mw me ac 
7f123ee02000-7f123ee0f000 rw-p 00000000 00:00 0 
Private_Dirty:        52 kB
VmFlags: rd wr mr mw me ac 
7ffe1d7cb000-7ffe1d7cf000 r--p 00000000 00:00 0                          [vvar]
VmFlags: rd mr pf io de dd 
";

    #[test]
    fn smaps_is_read_with_its_figures() {
        let mappings = parse(SMAPS).unwrap();
        assert_eq!(mappings.len(), 3);
        assert_eq!(mappings[0].path, "/usr/lib/a file.so");
        assert_eq!((mappings[0].pages(), mappings[0].offset), (0x26, 0x1000));
        assert_eq!(mappings[0].file, Some(FileId { device: "fe:00".to_owned(), inode: 326_279 }));
        assert_eq!((mappings[0].weight.shared_clean, mappings[0].weight.resident), (148 * 1024, 152 * 1024));
        assert!(mappings[0].was_writable && !mappings[0].writable());
        assert_eq!(mappings[1].file, None);
        assert_eq!(mappings[1].path, "");
        assert_eq!(mappings[1].weight.private_dirty, 52 * 1024);
        assert!(mappings[2].bare_frames && !mappings[1].bare_frames);
    }

    #[test]
    fn damaged_smaps_is_an_error() {
        let texts = ["Size: 4 kB\n", "zz-7f r--p 0 0 0\n", "7f00-7e00 r--p 0 00:00 0\n", "nonsense\n"];
        for text in texts.into_iter().chain(["7e00-7f00 r--p 0 00:00 0\nRss: 18446744073709551615 kB\n"]) {
            assert!(parse(text).is_err(), "{text:?}");
        }
    }
}
