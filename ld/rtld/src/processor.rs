//! The processor, asked directly, and what the assembly of the runtime needs to know of it.
#![allow(unsafe_code)]

use core::arch::x86_64::{__cpuid_count, _xgetbv};
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use folio_glibc::cpu::{CpuidResult, Processor, StateSave, Summary};
use folio_runtime::vector_state::COMPACTED;

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
        let result = __cpuid_count(leaf, subleaf);
        CpuidResult { eax: result.eax, ebx: result.ebx, ecx: result.ecx, edx: result.edx }
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

/// Tells the trampolines how to save the vector state.
pub fn describe_vector_state(summary: &Summary) {
    let compacted = match summary.state_save {
        StateSave::Fxsave => return,
        StateSave::Xsave => 0,
        StateSave::Xsavec => COMPACTED,
    };
    FOLIO_XSAVE_MASK.store(STATE_COMPONENTS | compacted, Ordering::Relaxed);
    FOLIO_XSAVE_SIZE.store(summary.tlsdesc_state_size as usize, Ordering::Relaxed);
}
