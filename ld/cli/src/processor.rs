//! The processor that runs this command, asked directly: which `glibc-hwcaps` folders it may use, what a record of it holds,
//! and what asking costs.
//!
//! # Safety
//! One block, with an instruction that reads a register.
#![allow(unsafe_code)]

use std::arch::x86_64::{__cpuid_count, _xgetbv};
use std::fs;
use std::hint::black_box;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use folio_glibc::cpu::record::{self, Answer, Auxiliary};
use folio_glibc::cpu::{self, CpuidResult, Extent, Kernel, Levels, Memo, NoTunables, Processor};
use folio_glibc::tables;
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

/// The processor that runs this.
pub struct Cpuid;

impl Processor for Cpuid {
    fn cpuid(&mut self, leaf: u32, subleaf: u32) -> CpuidResult {
        __cpuid_count(leaf, subleaf).into()
    }

    fn xgetbv(&mut self) -> u64 {
        #[target_feature(enable = "xsave")]
        fn xcr0() -> u64 {
            // SAFETY: reading register 0 has no effect.
            unsafe { _xgetbv(0) }
        }
        // SAFETY: callers have seen OSXSAVE, without which this instruction would be refused.
        unsafe { xcr0() }
    }
}

/// The levels of this processor, by the rules of the loader.
pub fn levels() -> Levels {
    cpu::isa_level(&mut Memo::new(Cpuid), &NoTunables)
}

/// What it answers to all that any start asks, and XCR0.
pub type Survey = (Vec<Answer>, u64);

/// Surveys the processors that this process may run on, one after the other, until `stop` has seen enough; all of them are alike
/// but where some are fast and others thrifty.
pub fn survey_each(mut stop: impl FnMut(Survey) -> bool) -> Result<()> {
    let this_thread = Pid::from_raw(0);
    let allowed = sched_getaffinity(this_thread).context("which processors there are is unknown")?;
    for number in (0..CpuSet::count()).filter(|&number| allowed.is_set(number).unwrap_or(false)) {
        let mut one = CpuSet::new();
        one.set(number)?;
        if sched_setaffinity(this_thread, &one).is_ok() && stop(record::survey(Cpuid)) {
            break;
        }
    }
    sched_setaffinity(this_thread, &allowed).context("cannot go back to all processors")
}

/// One processor's survey.
pub fn survey() -> Result<Survey> {
    let mut first = None;
    survey_each(|survey| {
        first = Some(survey);
        true
    })?;
    first.context("no processor lets itself be chosen")
}

/// How many CPUIDs a start takes without a record.
pub fn asked_in_a_start() -> Result<u32> {
    let layout = &tables::ALL[tables::ALL.len() - 1];
    let mut memo = Memo::new(Cpuid);
    cpu::isa_level(&mut memo, &NoTunables);
    let mut out = vec![0; usize::from(layout.cpu.size)];
    let Auxiliary { hwcap2, minsigstksz, .. } = auxiliary()?;
    cpu::fill(layout, &mut memo, &Kernel { hwcap2, minsigstksz }, &NoTunables, Extent::Libc, &mut out);
    Ok(memo.asked() as u32)
}

/// What one CPUID costs: in a virtual machine each is a trip to the hypervisor.
pub fn cpuid_time() -> Duration {
    const TIMES: usize = 101;
    let mut taken: Vec<Duration> = (0..TIMES)
        .map(|_| {
            let start = Instant::now();
            black_box(__cpuid_count(0, 0));
            start.elapsed()
        })
        .collect();
    taken.sort_unstable();
    taken[TIMES / 2]
}

/// What the kernel says of the processor in the auxiliary vector (proc(5), `/proc/pid/auxv`; getauxval(3)).
pub fn auxiliary() -> Result<Auxiliary> {
    const AT_HWCAP: u64 = 16;
    const AT_HWCAP2: u64 = 26;
    const AT_MINSIGSTKSZ: u64 = 51;
    let bytes = fs::read("/proc/self/auxv").context("cannot read /proc/self/auxv")?;
    let words: Vec<u64> = bytes.as_chunks().0.iter().map(|bytes| u64::from_ne_bytes(*bytes)).collect();
    let value = |wanted| words.chunks_exact(2).find(|pair| pair[0] == wanted).map_or(0, |pair| pair[1]);
    Ok(Auxiliary { hwcap: value(AT_HWCAP), hwcap2: value(AT_HWCAP2), minsigstksz: value(AT_MINSIGSTKSZ) })
}
