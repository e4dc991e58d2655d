//! All that CPUID answers, leaf by leaf, without knowing what any of it means: for reports of faults.
//!
//! Subleaves with one and the same answer are told as one range, and so are those whose answers differ only in the lowest
//! byte of `ecx`, where many processors give the subleaf's number back. What is zero is left out. Of a further processor
//! only what differs from the one before is told. Source: *glibc sysdeps/x86/dl-diagnostics-cpu.c*,
//! `_dl_diagnostics_cpuid_collect` and `_dl_diagnostics_cpuid_report`.

use alloc::vec::Vec;
use core::fmt::{self, Write};

use super::{CpuidResult, Processor};

const EXTENDED: u32 = 0x8000_0000;
/// Leaves of each of the two areas, where answers have to be limited.
const LEAVES: u32 = 128;
/// Subleaves of a leaf that are asked for, and how many where answers have to be limited.
const SUBLEAVES: u32 = 512;
const FEW_SUBLEAVES: u32 = 32;
/// Answers that are kept; with the limits all fit.
const CAPACITY: usize = (LEAVES * 2 * FEW_SUBLEAVES) as usize;

/// The answer of a range of subleaves.
#[derive(Clone, Copy, Debug)]
struct Answer {
    leaf: u32,
    first: u32,
    last: u32,
    /// The lowest byte of `ecx` is that of the subleaf.
    echoes: bool,
    registers: CpuidResult,
}

/// There are more answers than are kept.
struct Full;

/// What one processor answered.
#[derive(Debug, Default)]
pub struct Dump {
    answers: Vec<Answer>,
    last_subleaf: u32,
    xcr0: u64,
}

/// On which processor a dump was made.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// Counted from 0 in the order of the dumps.
    pub index: u32,
    /// The kernel's number of the processor that was asked for; of the one that answered, and its memory node.
    pub requested: Option<u32>,
    pub observed: Option<(u32, u32)>,
}

impl Dump {
    /// Asks everything; `xcr0` is whether the operating system lets XGETBV be used (OSXSAVE).
    pub fn of(processor: &mut impl Processor, xcr0: bool) -> Dump {
        let mut dump = Dump::default();
        if dump.collect(processor, false).is_err() {
            let _ = dump.collect(processor, true);
        }
        dump.xcr0 = if xcr0 { processor.xgetbv() } else { 0 };
        dump
    }

    fn collect(&mut self, processor: &mut impl Processor, limited: bool) -> Result<(), Full> {
        self.answers.clear();
        self.last_subleaf = if limited { FEW_SUBLEAVES } else { SUBLEAVES } - 1;
        for area in [0, EXTENDED] {
            self.ask(processor, area, 0)?;
            let Some(answer) = self.answers.last() else { return Ok(()) };
            let highest = answer.registers.eax;
            if highest < area {
                return Ok(());
            }
            let highest = if limited { highest.min(area + LEAVES - 1) } else { highest };
            for leaf in area + 1..=highest {
                for subleaf in 0..=self.last_subleaf {
                    self.ask(processor, leaf, subleaf)?;
                }
            }
        }
        Ok(())
    }

    fn ask(&mut self, processor: &mut impl Processor, leaf: u32, subleaf: u32) -> Result<(), Full> {
        if self.answers.len() == CAPACITY {
            return Err(Full);
        }
        let registers = processor.cpuid(leaf, subleaf);
        let without_echo = |registers: CpuidResult| CpuidResult { ecx: registers.ecx & !0xff, ..registers };
        let echoes = registers.ecx & 0xff == subleaf & 0xff;
        let previous = self.answers.last_mut().filter(|answer| answer.leaf == leaf && answer.last + 1 == subleaf);
        if let Some(previous) = previous {
            let is_single = previous.first == previous.last;
            if (!previous.echoes || is_single) && previous.registers == registers {
                previous.last = subleaf;
                previous.echoes = false;
                return Ok(());
            }
            if previous.echoes && echoes && without_echo(previous.registers) == without_echo(registers) {
                previous.last = subleaf;
                return Ok(());
            }
        }
        if registers != CpuidResult::default() {
            self.answers.push(Answer { leaf, first: subleaf, last: subleaf, echoes, registers });
        }
        Ok(())
    }

    /// Tells what differs from another dump; an empty one differs in everything.
    pub fn report(&self, output: &mut impl Write, place: Place, other: &Dump) -> fmt::Result {
        let index = place.index;
        if let Some(requested) = place.requested {
            writeln!(output, "x86.processor[{index:#x}].requested={requested:#x}")?;
        }
        if let Some((processor, node)) = place.observed {
            writeln!(output, "x86.processor[{index:#x}].observed={processor:#x}")?;
            writeln!(output, "x86.processor[{index:#x}].observed_node={node:#x}")?;
        }
        writeln!(output, "x86.processor[{index:#x}].cpuid_leaves={:#x}", self.answers.len())?;
        writeln!(output, "x86.processor[{index:#x}].ecx_limit={:#x}", self.last_subleaf)?;
        let mut others = other.answers.iter().enumerate().peekable();
        for (at, answer) in self.answers.iter().enumerate() {
            let query = (answer.leaf, answer.first);
            while let Some((at, _)) = others.next_if(|(_, other)| (other.leaf, other.first) < query) {
                other.tell(output, index, at, CpuidResult::default())?;
            }
            let same = others.next_if(|(_, other)| (other.leaf, other.first) == query);
            if same.is_none_or(|(_, other)| other.last != answer.last || other.registers != answer.registers) {
                self.tell(output, index, at, answer.registers)?;
            }
        }
        if self.xcr0 != other.xcr0 {
            writeln!(output, "x86.processor[{index:#x}].xgetbv.ecx[0x0]={:#x}", self.xcr0)?;
        }
        Ok(())
    }

    /// Tells one answer, or that it is no more.
    fn tell(&self, output: &mut impl Write, index: u32, at: usize, registers: CpuidResult) -> fmt::Result {
        let Answer { leaf, first, last, echoes, .. } = self.answers[at];
        let is_neighbour = |at: usize| self.answers.get(at).is_some_and(|answer| answer.leaf == leaf);
        let is_range = first != last;
        let is_whole = first == 0 && (!is_range || last == self.last_subleaf);
        let has_subleaves = !is_whole || at.checked_sub(1).is_some_and(is_neighbour) || is_neighbour(at + 1);
        let CpuidResult { eax, ebx, ecx, edx } = registers;
        for (name, value) in [("eax", eax), ("ebx", ebx), ("ecx", ecx), ("edx", edx)] {
            write!(output, "x86.processor[{index:#x}].cpuid.")?;
            match has_subleaves {
                true => writeln!(output, "subleaf_eax[{leaf:#x}].ecx[{first:#x}].{name}={value:#x}")?,
                false => writeln!(output, "eax[{leaf:#x}].{name}={value:#x}")?,
            }
        }
        if has_subleaves && is_range {
            let range = format_args!("x86.processor[{index:#x}].cpuid.subleaf_eax[{leaf:#x}].ecx[{first:#x}]");
            writeln!(output, "{range}.until_ecx={last:#x}")?;
            if echoes {
                writeln!(output, "{range}.ecx_query_mask=0xff")?;
            }
        }
        Ok(())
    }
}
