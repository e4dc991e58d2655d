//! Which `glibc-hwcaps` folders this processor may use.

use std::arch::is_x86_feature_detected;
use std::arch::x86_64::__cpuid_count;

use folio_glibc::cpu::{self, CpuidResult, Levels, Memo, NoTunables, Processor};

/// The processor that runs this.
pub struct Cpuid;

impl Processor for Cpuid {
    fn cpuid(&mut self, leaf: u32, subleaf: u32) -> CpuidResult {
        let result = __cpuid_count(leaf, subleaf);
        CpuidResult { eax: result.eax, ebx: result.ebx, ecx: result.ecx, edx: result.edx }
    }

    /// The components that the levels ask for, as the standard library found them enabled (Intel SDM volume 1, *XSAVE*):
    /// x87 and SSE always, AVX, and the three of AVX-512 together.
    fn xgetbv(&mut self) -> u64 {
        let avx = if is_x86_feature_detected!("avx") { 0b100 } else { 0 };
        let avx512 = if is_x86_feature_detected!("avx512f") { 0b1110_0000 } else { 0 };
        0b11 | avx | avx512
    }
}

/// The levels of this processor, by the rules of the loader.
pub fn levels() -> Levels {
    cpu::isa_level(&mut Memo::new(Cpuid), &NoTunables)
}
