//! What the kernel keeps for each physical frame: `/proc/kpagecount` and `/proc/kpageflags`, which root alone may read
//! (kernel `Documentation/admin-guide/mm/pagemap.rst`).

use std::fs::File;
use std::os::unix::fs::FileExt;

/// Bits of kpageflags (kernel `include/uapi/linux/kernel-page-flags.h`).
const KPF_DIRTY: u64 = 1 << 4;
const KPF_ZERO_PAGE: u64 = 1 << 24;

/// What is known of one frame, of all processes of the machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Frame {
    /// Page table entries that name it.
    pub mapped: u64,
    /// It is newer than what is on disk.
    pub dirty: bool,
    /// It is the one frame of zeros that stands for memory that was read and never written; smaps does not count it.
    pub zero: bool,
}

/// The kernel's tables of frames.
pub struct FrameTable {
    counts: File,
    flags: File,
}

impl FrameTable {
    /// `None` without the right to read them.
    pub fn open() -> Option<Self> {
        Some(Self { counts: File::open("/proc/kpagecount").ok()?, flags: File::open("/proc/kpageflags").ok()? })
    }

    /// `None` for a number that is no frame of this machine's memory.
    pub fn frame(&self, number: u64) -> Option<Frame> {
        let word = |table: &File| {
            let mut bytes = [0; 8];
            table.read_exact_at(&mut bytes, number.checked_mul(8)?).ok()?;
            Some(u64::from_le_bytes(bytes))
        };
        let flags = word(&self.flags)?;
        let (dirty, zero) = (flags & KPF_DIRTY != 0, flags & KPF_ZERO_PAGE != 0);
        Some(Frame { mapped: word(&self.counts)?, dirty, zero })
    }
}
