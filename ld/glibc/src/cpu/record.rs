//! A record of what the processor answered, as the bytes of a file that lives as long as the boot does: its format, and when
//! it holds.
//!
//! In a virtual machine every CPUID is a trip to the hypervisor, and what it answers is the same in every start. With a
//! record that holds, a start asks none. What may be wrong with a record, and how a start sees it without asking CPUID:
//!
//! - *Somebody else wrote it.* Its file belongs to root or to the user, and nobody else may write to it.
//! - *It is of another boot, or a copy.* The file is in memory (tmpfs(5)), which no boot outlives, and its inode was last
//!   changed when the record says that it was written: a copy's was changed later, and nobody can set that time.
//! - *Another processor is asked*, or somebody answers in its place (valgrind, qemu): the kernel's words on the processor, in
//!   the auxiliary vector, and the enabled state components (XCR0, which a virtual machine reads without a trip) are those
//!   of the record.
//! - *It is damaged.* A checksum covers all of it.
//!
//! Format, numbers in little endian: the words of [`Header`] in their order, the answers with six words of 32 bits each, and
//! the XXH64 of all before it.

mod survey;
#[cfg(test)]
mod tests;

use alloc::vec::Vec;
use core::fmt;

use twox_hash::XxHash64;

pub use survey::survey;

use super::{CpuidResult, Processor};

/// The format's name; its last letter is its version.
const MAGIC: [u8; 8] = *b"FolioCP1";
const HEADER: usize = 8 * 8;
const ANSWER: usize = 6 * 4;
const CHECKSUM: usize = 8;
/// More than the questions of all rules, for any processor (*a list of caches and of topology levels is given up* after 32
/// and 16).
const MAX_ANSWERS: usize = 128;
/// Bytes of the longest record.
pub const MAX_SIZE: usize = HEADER + MAX_ANSWERS * ANSWER + CHECKSUM;

/// Seconds that may pass between the time in a record and the last change of its file: a clock is read twice.
const TOLERANCE: u64 = 2;

/// What the kernel says of the processor in the auxiliary vector (getauxval(3)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Auxiliary {
    /// `AT_HWCAP`: `edx` of leaf 1.
    pub hwcap: u64,
    pub hwcap2: u64,
    /// `AT_MINSIGSTKSZ`: it follows from the size of the enabled state. 0 if the kernel, older than 5.14, or an emulator
    /// does not say.
    pub minsigstksz: u64,
}

/// What a record says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Seconds since 1970.
    pub written: u64,
    /// `/proc/sys/kernel/random/boot_id` (proc(5)), for people: reading it would take a start longer than one CPUID.
    pub boot: u128,
    pub auxiliary: Auxiliary,
    /// XCR0; 0 where the system does not let it be read.
    pub xcr0: u64,
}

/// What CPUID answered to one question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    pub leaf: u32,
    pub subleaf: u32,
    pub registers: CpuidResult,
}

/// Why a record is not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    NotAFile,
    NotInMemory,
    Owner(u32),
    Writable(u32),
    Format,
    Checksum,
    Copied,
    Auxiliary,
    State,
}

impl fmt::Display for Refusal {
    fn fmt(&self, output: &mut fmt::Formatter) -> fmt::Result {
        let reason = match self {
            Refusal::NotAFile => "not a regular file",
            Refusal::NotInMemory => "not on a tmpfs, so it may be of another boot",
            Refusal::Owner(owner) => return write!(output, "it belongs to user {owner}"),
            Refusal::Writable(mode) => return write!(output, "others may write to it (mode {mode:o})"),
            Refusal::Format => "not a record of CPU facts",
            Refusal::Checksum => "damaged",
            Refusal::Copied => "it was copied or changed after it was written",
            Refusal::Auxiliary => "the kernel describes another processor",
            Refusal::State => "another vector state is enabled",
        };
        output.write_str(reason)
    }
}

/// The record's file, as its descriptor shows it.
#[derive(Clone, Copy, Debug)]
pub struct File {
    /// `st_mode` (inode(7)).
    pub mode: u32,
    pub owner: u32,
    pub size: u64,
    /// `st_ctime`, in seconds since 1970.
    pub changed: i64,
    /// It supports seals (fcntl(2), `F_GET_SEALS`), as files in memory do, and no other.
    pub in_memory: bool,
}

impl File {
    /// The size of the file if its record may count for a process of `user`; with none, only root's may.
    pub fn accept(&self, user: Option<u32>) -> Result<usize, Refusal> {
        const S_IFMT: u32 = 0o170_000;
        const S_IFREG: u32 = 0o100_000;
        const S_IWOTH_GRP: u32 = 0o022;
        if self.mode & S_IFMT != S_IFREG {
            return Err(Refusal::NotAFile);
        }
        if self.owner != 0 && Some(self.owner) != user {
            return Err(Refusal::Owner(self.owner));
        }
        if self.mode & S_IWOTH_GRP != 0 {
            return Err(Refusal::Writable(self.mode & 0o7777));
        }
        if !self.in_memory {
            return Err(Refusal::NotInMemory);
        }
        usize::try_from(self.size).ok().filter(|&size| size <= MAX_SIZE).ok_or(Refusal::Format)
    }
}

/// A record: a view of well-formed bytes.
#[derive(Clone, Copy, Debug)]
pub struct Record<'b> {
    header: Header,
    answers: &'b [[u8; ANSWER]],
}

impl<'b> Record<'b> {
    /// Reads a record; every word of it is as it was written, or this is an error.
    pub fn decode(bytes: &'b [u8]) -> Result<Record<'b>, Refusal> {
        if bytes.len() > MAX_SIZE {
            return Err(Refusal::Format);
        }
        let (content, checksum) = bytes.split_last_chunk::<CHECKSUM>().ok_or(Refusal::Format)?;
        let (header, answers) = content.split_first_chunk::<HEADER>().ok_or(Refusal::Format)?;
        let (answers, rest) = answers.as_chunks::<ANSWER>();
        let (words, _) = header.as_chunks::<8>();
        if words[0] != MAGIC || !rest.is_empty() {
            return Err(Refusal::Format);
        }
        if XxHash64::oneshot(0, content) != u64::from_le_bytes(*checksum) {
            return Err(Refusal::Checksum);
        }
        let [_, written, boot_low, boot_high, hwcap, hwcap2, minsigstksz, xcr0] =
            core::array::from_fn(|at| u64::from_le_bytes(words[at]));
        let header = Header {
            written,
            boot: u128::from(boot_high) << 64 | u128::from(boot_low),
            auxiliary: Auxiliary { hwcap, hwcap2, minsigstksz },
            xcr0,
        };
        Ok(Record { header, answers })
    }

    /// Whether the record is about the processor that runs this, as far as that can be seen without CPUID.
    ///
    /// `xgetbv` is asked only where it can be executed: where the kernel's word on the size of the state is that of a
    /// record which was made with XSAVE enabled. Without, that size would be less.
    pub fn holds(&self, file: &File, auxiliary: &Auxiliary, xgetbv: impl FnOnce() -> u64) -> Result<(), Refusal> {
        let changed = u64::try_from(file.changed).map_err(|_| Refusal::Copied)?;
        if changed.abs_diff(self.header.written) > TOLERANCE {
            return Err(Refusal::Copied);
        }
        if self.header.auxiliary != *auxiliary || auxiliary.minsigstksz == 0 {
            return Err(Refusal::Auxiliary);
        }
        if self.header.xcr0 != 0 && self.header.xcr0 != xgetbv() {
            return Err(Refusal::State);
        }
        Ok(())
    }

    pub fn header(&self) -> &Header {
        &self.header
    }

    pub fn answers(&self) -> impl ExactSizeIterator<Item = Answer> + use<'b> {
        self.answers.iter().map(Answer::decode)
    }

    fn find(&self, leaf: u32, subleaf: u32) -> Option<CpuidResult> {
        self.answers().find(|answer| (answer.leaf, answer.subleaf) == (leaf, subleaf)).map(|answer| answer.registers)
    }
}

impl Answer {
    fn decode(bytes: &[u8; ANSWER]) -> Answer {
        let (words, _) = bytes.as_chunks::<4>();
        let [leaf, subleaf, eax, ebx, ecx, edx] = core::array::from_fn(|at| u32::from_le_bytes(words[at]));
        Answer { leaf, subleaf, registers: CpuidResult { eax, ebx, ecx, edx } }
    }

    /// Without the number of the processor that answered, which is in `ebx` of leaf 1 and in `edx` of leaf 0xb (*Intel SDM
    /// volume 2, CPUID*).
    #[must_use]
    pub fn of_any_processor(mut self) -> Answer {
        match self.leaf {
            1 => self.registers.ebx &= 0x00ff_ffff,
            0xb => self.registers.edx = 0,
            _ => {}
        }
        self
    }
}

/// The bytes of a record.
pub fn encode(header: &Header, answers: &[Answer]) -> Vec<u8> {
    let Header { written, boot, auxiliary: Auxiliary { hwcap, hwcap2, minsigstksz }, xcr0 } = *header;
    let mut bytes = MAGIC.to_vec();
    for word in [written, boot as u64, (boot >> 64) as u64, hwcap, hwcap2, minsigstksz, xcr0] {
        bytes.extend_from_slice(&word.to_le_bytes());
    }
    for Answer { leaf, subleaf, registers: CpuidResult { eax, ebx, ecx, edx } } in answers {
        for word in [leaf, subleaf, eax, ebx, ecx, edx] {
            bytes.extend_from_slice(&word.to_le_bytes());
        }
    }
    let checksum = XxHash64::oneshot(0, &bytes);
    bytes.extend_from_slice(&checksum.to_le_bytes());
    bytes
}

/// A processor whose answers are on record; what is not, it is asked.
#[derive(Clone, Copy, Debug)]
pub struct Recorded<'b, P> {
    record: Option<Record<'b>>,
    processor: P,
}

impl<'b, P> Recorded<'b, P> {
    pub const fn new(record: Option<Record<'b>>, processor: P) -> Recorded<'b, P> {
        Recorded { record, processor }
    }
}

impl<P: Processor> Processor for Recorded<'_, P> {
    fn cpuid(&mut self, leaf: u32, subleaf: u32) -> CpuidResult {
        let known = self.record.and_then(|record| record.find(leaf, subleaf));
        known.unwrap_or_else(|| self.processor.cpuid(leaf, subleaf))
    }

    fn xgetbv(&mut self) -> u64 {
        match self.record.map_or(0, |record| record.header.xcr0) {
            0 => self.processor.xgetbv(),
            xcr0 => xcr0,
        }
    }
}
