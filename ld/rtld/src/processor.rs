//! The processor, asked directly, and what the assembly of the runtime needs to know of it.
//!
//! # Safety
//! Instructions that read the processor's description and change nothing, and system calls that choose the processor.
#![allow(unsafe_code)]

mod record;

use core::arch::x86_64::{__cpuid_count, _xgetbv};
use core::fmt;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};

use folio_glibc::cpu::record::Recorded;
use folio_glibc::cpu::{self, CpuidResult, Dump, Extent, Kernel, Memo, OSXSAVE, Place, Processor, StateSave, Summary};
use folio_glibc::layout::Layout;
use folio_glibc::tunables::Values;
use folio_link::error::{Error, Problem};
use folio_link::resolve::SymbolId;
use folio_runtime::stack::Stack;
use folio_runtime::syscall::syscall;
use folio_runtime::vector_state::COMPACTED;
use linux_raw_sys::auxvec::{AT_HWCAP2, AT_MINSIGSTKSZ, AT_PLATFORM};
use linux_raw_sys::general::{__NR_getcpu, __NR_sched_getaffinity, __NR_sched_setaffinity};

use crate::abi::record::Record;
use crate::image::own;
use crate::process::Process;
use crate::report::{self, LOADING};

/// Bytes of the area for the vector state; 0: `fxsave`.
#[unsafe(no_mangle)]
static FOLIO_XSAVE_SIZE: AtomicUsize = AtomicUsize::new(0);

/// Components of the vector state to save, and whether to save them compacted.
#[unsafe(no_mangle)]
static FOLIO_XSAVE_MASK: AtomicU64 = AtomicU64::new(0);

/// SSE, AVX, MPX bounds, AVX-512 (three) and AMX (two): what a function's arguments and results may be in, and what must be
/// preserved by a TLS descriptor call (*glibc sysdeps/x86/sysdep.h, TLSDESC_CALL_STATE_SAVE_MASK*).
const STATE_COMPONENTS: u64 = 0x6_00ee;

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

/// The processor that runs this, by the record of this boot where there is one that holds.
pub type Source = Recorded<'static, Cpuid>;

pub use record::{read as read_record, source};

/// Asks one processor after the other, of those that this thread may run on, for all that CPUID answers. The thread stays on
/// the last one. Where the kernel does not let it choose, it asks the one that it is on (*glibc elf/dl-iterate_cpu.h*).
pub fn dump_each(mut report: impl FnMut(Place, Dump) -> fmt::Result) -> fmt::Result {
    /// Bits for 8192 processors.
    type Mask = [u64; 128];
    let mut allowed: Mask = [0; 128];
    let arguments = [0, size_of::<Mask>(), allowed.as_mut_ptr().expose_provenance(), 0, 0, 0];
    // SAFETY: the calling thread's mask is written into `allowed`, which is of this size.
    let known = unsafe { syscall(__NR_sched_getaffinity, arguments) }.is_ok();
    let mut dump = |index, requested| {
        let (mut processor, mut node) = (0u32, 0u32);
        let pointers = [&raw mut processor, &raw mut node].map(|pointer| pointer.expose_provenance());
        // SAFETY: two numbers of 32 bits are written.
        let observed = unsafe { syscall(__NR_getcpu, [pointers[0], pointers[1], 0, 0, 0, 0]) }.is_ok();
        let has_xcr0 = Cpuid.cpuid(1, 0).ecx & OSXSAVE != 0;
        let place = Place { index, requested, observed: observed.then_some((processor, node)) };
        report(place, Dump::of(&mut Cpuid, has_xcr0))
    };
    if !known {
        return dump(0, None);
    }
    for (index, number) in (0..64 * allowed.len()).filter(|bit| allowed[bit / 64] >> (bit % 64) & 1 != 0).enumerate() {
        let mut mask: Mask = [0; 128];
        mask[number / 64] = 1 << (number % 64);
        let arguments = [0, 8 * (number / 64 + 1), mask.as_ptr().expose_provenance(), 0, 0, 0];
        // SAFETY: the mask is read.
        let moved = unsafe { syscall(__NR_sched_setaffinity, arguments) }.is_ok();
        if !moved && index > 0 {
            break;
        }
        dump(index as u32, Some(number as u32))?;
        if !moved {
            break;
        }
    }
    Ok(())
}

/// Bytes of a vector register that calls under the eyes of an auditor keep; 0, as 16, means `xmm` alone.
#[unsafe(no_mangle)]
static FOLIO_VECTOR_WIDTH: AtomicU32 = AtomicU32::new(0);

/// Tells [`folio_runtime::audited_call`] how wide the vector registers are that the operating system has enabled (Intel SDM
/// volume 1, *Detection of AVX Instructions*; XCR0).
pub fn describe_vector_width() {
    const AVX: u64 = 0x6;
    const AVX512: u64 = 0xe6;
    let mut processor = source();
    let state = if processor.cpuid(1, 0).ecx & OSXSAVE == 0 { 0 } else { processor.xgetbv() };
    let width = if state & AVX512 == AVX512 {
        64
    } else if state & AVX == AVX {
        32
    } else {
        16
    };
    FOLIO_VECTOR_WIDTH.store(width, Ordering::Relaxed);
}

/// Tells the trampolines how to save the vector state.
fn describe_vector_state(summary: &Summary) {
    let compacted = match summary.state_save {
        StateSave::Fxsave => return,
        StateSave::Xsave => 0,
        StateSave::Xsavec => COMPACTED,
    };
    FOLIO_XSAVE_MASK.store(STATE_COMPONENTS | compacted, Ordering::Relaxed);
    FOLIO_XSAVE_SIZE.store(summary.whole_state_size as usize, Ordering::Relaxed);
}

/// What the kernel said of the processor.
fn kernel(stack: &Stack) -> Kernel {
    Kernel {
        hwcap2: stack.auxiliary_value(AT_HWCAP2) as u64,
        minsigstksz: stack.auxiliary_value(AT_MINSIGSTKSZ) as u64,
    }
}

/// The symbol of libc's by which programs read any CPUID leaf of the structure.
pub const LEAF_READER: &[u8] = b"__x86_get_cpuid_feature_leaf";

/// Fills in the rest of `_dl_x86_cpu_features`, which libc itself does not read, and tells the trampolines how to save the
/// vector state: each CPUID is a way to the hypervisor and back, and few processes need either. Called before anything
/// refers to [`LEAF_READER`] or to such a trampoline.
pub fn complete(process: &Process) {
    static IS_COMPLETE: AtomicBool = AtomicBool::new(false);
    if IS_COMPLETE.swap(true, Ordering::Relaxed) {
        return;
    }
    let (layout, ro) = (process.layout, process.ro);
    let kernel = Kernel { hwcap2: ro.get(layout.global_ro.hwcap2), ..Kernel::default() };
    // SAFETY: tunables do not change after the start.
    let tunables = unsafe { process.tunables.get() };
    let mut whole = alloc::vec![0; usize::from(layout.cpu.size)];
    let summary = cpu::fill(layout, &mut Memo::new(source()), &kernel, tunables, Extent::Whole, &mut whole);
    describe_vector_state(&summary);
    // Other threads may be reading what is there already.
    let cpu = &layout.cpu;
    let size = usize::from(cpu.xsave_state_size)..usize::from(cpu.xsave_state_size) + 8;
    let full = usize::from(cpu.xsave_state_full_size)..usize::from(cpu.xsave_state_full_size) + 4;
    let leaves = usize::from(cpu.features)..usize::from(cpu.features) + 32 * usize::from(cpu.leaves);
    let written = own::change(process, || {
        for at in [size, full, leaves].into_iter().flat_map(|range| range.step_by(4)) {
            let word = u32::from_ne_bytes(core::array::from_fn(|byte| whole[at + byte]));
            ro.put(layout.global_ro.cpu_features + at as u16, word);
        }
    });
    if let Err(errno) = written {
        report::fatal(process.program, LOADING, &Error::new(b"", Problem::Protect(errno)));
    }
}

/// A reference is bound to `definition`: if it may be to [`LEAF_READER`], what that reads has to be there.
#[inline]
pub fn note_reference(process: &Process, definition: SymbolId) {
    // SAFETY: written before there is a second thread.
    let libc = unsafe { process.libc.get() };
    if Some(definition.index) == libc.leaf_reader {
        complete(process);
    }
}

/// Fills in `_dl_x86_cpu_features`, as far as `extent` goes, and what else follows from the processor.
pub fn fill_cpu_features(
    stack: &Stack,
    layout: &Layout,
    ro: Record,
    memo: &mut Memo<Source>,
    tunables: &mut Values,
    extent: Extent,
) -> Summary {
    let r = &layout.global_ro;
    // SAFETY: nobody else sees the structure before the process is published.
    let out = unsafe { ro.bytes_mut(r.cpu_features, usize::from(layout.cpu.size)) };
    let summary = cpu::fill(layout, memo, &kernel(stack), tunables, extent, out);
    tunables.write_back(&summary.tunables);
    ro.put(r.minsigstacksize, summary.minsigstacksize);
    ro.put(r.hwcap, summary.hwcap);
    let platform = match summary.platform {
        Some(platform) => {
            Some((crate::abi::link_map::leaked_string(platform.as_bytes()).expose_provenance(), platform.len()))
        }
        None => stack
            .auxiliary_string(AT_PLATFORM)
            .map(|platform| (platform.as_ptr().expose_provenance(), platform.count_bytes())),
    };
    if let Some((address, length)) = platform {
        ro.put(r.platform, address);
        ro.put(r.platformlen, length);
    }
    summary
}
