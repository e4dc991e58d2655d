//! The x86-64 micro-architecture levels of the psABI (chapter 3.1.1), by the features that are usable.

use super::features::{Feature, Features, feature::*};

/// `GNU_PROPERTY_X86_ISA_1_BASELINE`, `_V2`, `_V3` and `_V4`, each only with those below it
/// (*glibc sysdeps/x86/get-isa-level.h*).
pub(super) fn property(features: &Features) -> u32 {
    let usable = |wanted: &[Feature]| wanted.iter().all(|&f| features.active(f));
    // The baseline also wants an FPU, which has no usable bit of its own.
    if !(features.present(FPU) && usable(&[CMOV, CX8, FXSR, MMX, SSE, SSE2])) {
        0
    } else if !usable(&[CMPXCHG16B, LAHF64_SAHF64, POPCNT, SSE3, SSSE3, SSE4_1, SSE4_2]) {
        0b1
    } else if !usable(&[AVX, AVX2, BMI1, BMI2, F16C, FMA, LZCNT, MOVBE]) {
        0b11
    } else if !usable(&[AVX512F, AVX512BW, AVX512CD, AVX512DQ, AVX512VL]) {
        0b111
    } else {
        0b1111
    }
}

/// The highest level that may be used: 0 below the baseline, 1 for the baseline, up to 4 for x86-64-v4.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Levels(u8);

impl Levels {
    pub(super) fn of(features: &Features) -> Levels {
        Levels(property(features).count_ones() as u8)
    }

    pub fn highest(self) -> u8 {
        self.0
    }

    /// All subdirectories of `glibc-hwcaps` that there are for levels.
    pub const BEST_FIRST: [&str; 3] = ["x86-64-v4", "x86-64-v3", "x86-64-v2"];

    /// The subdirectories of `glibc-hwcaps` to search, best first.
    pub fn directories(self) -> &'static [&'static str] {
        &Self::BEST_FIRST[usize::from(4 - self.0.clamp(1, 4))..]
    }
}
