//! What the kernel tells of a process: its mappings, its page tables, the frames behind them, and its state.

pub mod frames;
pub mod launch;
pub mod pagemap;
pub mod smaps;
pub mod status;

pub use frames::FrameTable;
pub use pagemap::{Page, Pagemap};
pub use smaps::{FileId, Mapping, Weight, mappings};

/// x86-64 has one base page size; pagemap counts in it.
pub const PAGE: u64 = 4096;
