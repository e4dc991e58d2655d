//! One page as one process has it: how far it is shared, and why if it is not.

use serde::Serialize;

/// How far a resident page is shared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Not there: never used by this process, swapped out, or the kernel's one frame of zeros.
    Untouched,
    /// One frame in all the processes that are looked at.
    All,
    /// One frame in several of them.
    Several,
    /// One frame with processes that are not looked at.
    Others,
    /// This process alone has it, and it still is what is in the file.
    PrivateClean,
    /// This process alone has it, and it was written.
    PrivateDirty,
}

/// Why a page is private.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// The linker stored addresses into it.
    Relocated,
    /// The linker stored addresses into it, and somebody wrote more.
    RelocatedAndWritten,
    /// The program, or a library in it, wrote to its data.
    Written,
    /// Data that begins as zeros: the first write makes the page, and there never was one to share.
    Bss,
    /// The linker stored into text, which copies the page (`DT_TEXTREL`).
    TextRelocation,
    /// Read-only pages were written without a relocation: by a debugger, or after mprotect(2).
    Patched,
    /// Heap, stack and other memory without a file.
    Memory,
    /// Written, but nothing is known of the file behind it.
    Unknown,
    /// Nobody else has used this page of the file yet: the next process to do so shares it.
    Alone,
}

impl Cause {
    pub fn name(self) -> &'static str {
        match self {
            Self::Relocated => "relocated",
            Self::RelocatedAndWritten => "relocated and written",
            Self::Written => "written",
            Self::Bss => "bss",
            Self::TextRelocation => "text relocation",
            Self::Patched => "patched",
            Self::Memory => "memory",
            Self::Unknown => "unknown",
            Self::Alone => "alone",
        }
    }

    /// A sentence for people who see the word for the first time.
    pub fn sentence(self) -> &'static str {
        match self {
            Self::Relocated => {
                "the linker stored addresses into it, which depend on where the file lies in this process"
            }
            Self::RelocatedAndWritten => "the linker stored addresses into it, and the program wrote more",
            Self::Written => "the program wrote to its data",
            Self::Bss => "data that begins as zeros: the first write makes the page",
            Self::TextRelocation => "the linker had to store into text (DT_TEXTREL), which copies the page",
            Self::Patched => "read-only, and yet written: by a debugger, or by the program after mprotect",
            Self::Memory => "memory of the program's own: heap, stack, buffers",
            Self::Unknown => "written; its file could not be read, so the reason is not known",
            Self::Alone => "unchanged, and nobody else has used this page of the file yet",
        }
    }
}

/// What a process has at one page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cell {
    pub state: State,
    pub cause: Option<Cause>,
    /// Number of the frame, where it is visible.
    pub frame: Option<u64>,
    /// Page table entries of the whole machine that name it, where that is visible.
    pub mapped: Option<u32>,
}

impl Cell {
    pub const UNTOUCHED: Self = Self { state: State::Untouched, cause: None, frame: None, mapped: None };
}
