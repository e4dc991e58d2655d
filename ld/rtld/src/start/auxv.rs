//! `LD_SHOW_AUXV`: print the auxiliary vector as the kernel gave it (ld.so(8), getauxval(3)).
//!
//! Names, order and digits are glibc's (*glibc elf/dl-sysdep.c, _dl_show_auxv*): a release shows entries that it does not
//! know by their number.
//!
//! # Safety
//! Reads the strings that the kernel put above the stack (getauxval(3)).

use alloc::vec::Vec;
use core::ffi::CStr;
use core::fmt::Write;
use core::ptr::with_exposed_provenance;

use folio_elf::Lossy;
use folio_glibc::layout::{Layout, Version};
use folio_runtime::output::Output;
use folio_runtime::stack::Stack;

/// How a value is shown.
#[derive(Clone, Copy)]
enum Form {
    Decimal,
    /// Without `0x` where glibc has none.
    Hexadecimal(&'static str),
    Text,
    Hidden,
}

use Form::{Decimal, Hexadecimal, Hidden, Text};

/// The vector at a moment: a direct start changes it later.
pub fn snapshot(stack: &Stack) -> Vec<(usize, usize)> {
    stack.auxiliary().collect()
}

/// Prints one line an entry.
#[cold]
#[inline(never)]
pub fn print(entries: &[(usize, usize)], layout: &Layout) {
    let mut output = Output::stdout();
    for &(kind, value) in entries {
        let _ = match entry(kind, layout) {
            Some((name, Decimal)) => writeln!(output, "AT_{:<19}{value}", Label(name)),
            Some((name, Hexadecimal(prefix))) => writeln!(output, "AT_{:<19}{prefix}{value:x}", Label(name)),
            Some((name, Text)) => {
                // SAFETY: the kernel's strings, above the stack.
                #[allow(unsafe_code)]
                let text = unsafe { CStr::from_ptr(with_exposed_provenance(value)) };
                writeln!(output, "AT_{:<19}{}", Label(name), Lossy(text.to_bytes()))
            }
            Some((_, Hidden)) => Ok(()),
            None => writeln!(output, "AT_??? (0x{kind:x}): 0x{value:x}"),
        };
    }
    output.flush();
}

/// A name and its colon, padded together.
struct Label(&'static str);

impl core::fmt::Display for Label {
    fn fmt(&self, f: &mut core::fmt::Formatter) -> core::fmt::Result {
        let blanks = f.width().unwrap_or(0).saturating_sub(self.0.len() + 1);
        write!(f, "{}:{:blanks$}", self.0, "")
    }
}

/// Name and form of an entry (elf.h, `AT_*`), if the release knows it.
fn entry(kind: usize, layout: &Layout) -> Option<(&'static str, Form)> {
    /// The first release that shows the prefix of `AT_HWCAP` (2.41 does not; nothing in between was looked at).
    const PREFIXED_HWCAP: Version = Version { major: 2, minor: 43 };
    const X: Form = Hexadecimal("0x");
    Some(match kind {
        1 => ("IGNORE", Hidden),
        2 => ("EXECFD", Decimal),
        3 => ("PHDR", X),
        4 => ("PHENT", Decimal),
        5 => ("PHNUM", Decimal),
        6 => ("PAGESZ", Decimal),
        7 => ("BASE", X),
        8 => ("FLAGS", X),
        9 => ("ENTRY", X),
        10 => ("NOTELF", Hexadecimal("")),
        11 => ("UID", Decimal),
        12 => ("EUID", Decimal),
        13 => ("GID", Decimal),
        14 => ("EGID", Decimal),
        15 => ("PLATFORM", Text),
        16 if layout.version < PREFIXED_HWCAP => ("HWCAP", Hexadecimal("")),
        16 => ("HWCAP", X),
        17 => ("CLKTCK", Decimal),
        18 => ("FPUCW", Hexadecimal("")),
        19 => ("DCACHEBSIZE", X),
        20 => ("ICACHEBSIZE", X),
        21 => ("UCACHEBSIZE", X),
        22 => ("IGNOREPPC", Hidden),
        23 => ("SECURE", Decimal),
        24 => ("BASE_PLATFORM", Text),
        25 => ("RANDOM", X),
        26 => ("HWCAP2", X),
        27 if layout.behaviour.rseq_in_tls => ("RSEQ_FEATURE_SIZE", Decimal),
        28 if layout.behaviour.rseq_in_tls => ("RSEQ_ALIGN", Decimal),
        29 if layout.global_ro.hwcap3.is_some() => ("HWCAP3", X),
        30 if layout.global_ro.hwcap4.is_some() => ("HWCAP4", X),
        31 => ("EXECFN", Text),
        32 => ("SYSINFO", X),
        33 => ("SYSINFO_EHDR", X),
        40 => ("L1I_CACHESIZE", Decimal),
        41 => ("L1I_CACHEGEOMETRY", X),
        42 => ("L1D_CACHESIZE", Decimal),
        43 => ("L1D_CACHEGEOMETRY", X),
        44 => ("L2_CACHESIZE", Decimal),
        45 => ("L2_CACHEGEOMETRY", X),
        46 => ("L3_CACHESIZE", Decimal),
        47 => ("L3_CACHEGEOMETRY", X),
        51 => ("MINSIGSTKSZ", Decimal),
        _ => return None,
    })
}
