//! One process at one moment: its mappings and all its page table entries, taken so that the two agree.

use anyhow::Result;

use crate::process::smaps::rollup;
use crate::process::{Mapping, PAGE, Page, Pagemap, mappings, status};

/// Mappings longer than this are counted by smaps alone. Reservations of terabytes, as sanitizers make them, have page tables
/// that would take minutes to read.
pub const LONGEST: u64 = 4 << 30;

/// How often a process that changes while it is looked at is looked at again.
const ATTEMPTS: usize = 4;

pub struct Snapshot {
    pub pid: u32,
    pub name: String,
    pub mappings: Vec<Mapping>,
    /// For each mapping its pages; empty for one of which nothing is resident.
    pub pages: Vec<Vec<Option<Page>>>,
    /// Of the whole process, in bytes.
    pub proportional: u64,
    /// The mappings and their figures were the same before the pages were read and after.
    pub settled: bool,
}

impl Snapshot {
    pub fn take(pid: u32) -> Result<Self> {
        let name = status::name(pid).unwrap_or_default();
        let pagemap = Pagemap::open(pid)?;
        let mut before = mappings(pid)?;
        for attempt in 1.. {
            let pages = before.iter().map(|mapping| pages(&pagemap, mapping)).collect::<Result<_>>()?;
            let after = mappings(pid)?;
            // The proportional figure moves whenever some other process of the machine does.
            let figures = |mappings: &[Mapping]| -> Vec<_> {
                let own =
                    |mapping: &Mapping| (mapping.range.clone(), mapping.weight.resident, mapping.weight.anonymous);
                mappings.iter().map(own).collect()
            };
            let settled = figures(&before) == figures(&after);
            if settled || attempt == ATTEMPTS {
                let proportional = rollup(pid)?.proportional;
                return Ok(Self { pid, name, mappings: before, pages, proportional, settled });
            }
            before = after;
        }
        unreachable!("the last attempt returns")
    }
}

fn pages(pagemap: &Pagemap, mapping: &Mapping) -> Result<Vec<Option<Page>>> {
    let length = mapping.range.end - mapping.range.start;
    // `[vsyscall]` lies in the kernel's half of the address space, of which pagemap tells nothing.
    let of_kernel = mapping.range.start >> 63 != 0;
    if mapping.weight.resident == 0 || mapping.bare_frames || length > LONGEST || of_kernel {
        return Ok(Vec::new());
    }
    let mut pages = pagemap.pages(&mapping.range)?;
    pages.truncate(usize::try_from(length / PAGE)?);
    Ok(pages)
}
