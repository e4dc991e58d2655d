//! CPUID feature words: which the structure keeps, and which of their bits a program may use.
//!
//! For each leaf the structure holds the four registers twice: as the processor gave them, and the *active* ones, less
//! what the operating system does not support or the release does not know (*glibc sysdeps/x86/cpu-features.c,
//! update_active*). IFUNC resolvers read the active half only.

use super::processor::{CpuidResult, Identity, Memo, Processor, Vendor};
use super::rules::Rules;

/// A bit of one register of one kept leaf.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Feature {
    leaf: u8,
    register: u8,
    bit: u8,
}

/// The leaves in the structure's order (*glibc sysdeps/x86/bits/platform/x86.h*), as (leaf, subleaf).
const LEAVES: [(u32, u32); 10] = [
    (1, 0),
    (7, 0),
    (0x8000_0001, 0),
    (0xd, 1),
    (0x8000_0007, 0),
    (0x8000_0008, 0),
    (7, 1),
    (0x19, 0),
    (0x14, 0),
    (0x24, 0),
];
/// The last leaf is read only where leaf 7.1 announces AVX10.
const AVX10_LEAF: usize = 9;
/// libc's own code reads no leaf behind these, and the levels of the psABI depend on none; but Intel's tuning looks at 7.1.
pub(super) const LEAVES_OF_LIBC: usize = 3;
const INTELS_TUNING: usize = 6;

/// The features that a rule names, by Intel's and AMD's abbreviations; *Intel SDM volume 2, CPUID*, and *AMD APM volume
/// 3, appendix E*, say what they stand for.
#[allow(dead_code, reason = "a whole register's known bits are easier to check against the manuals than a selection")]
pub(super) mod feature {
    use super::Feature;

    macro_rules! features {
        ($($leaf:literal $register:literal: $($name:ident $bit:literal),+;)+) => {
            $($(pub const $name: Feature = Feature { leaf: $leaf, register: $register, bit: $bit };)+)+
        };
    }

    // Registers count eax, ebx, ecx, edx.
    features! {
        0 2: SSE3 0, PCLMULQDQ 1, SSSE3 9, FMA 12, CMPXCHG16B 13, SSE4_1 19, SSE4_2 20, MOVBE 22, POPCNT 23, AES 25,
             XSAVE 26, OSXSAVE 27, AVX 28, F16C 29, RDRAND 30;
        0 3: FPU 0, TSC 4, CX8 8, CMOV 15, CLFSH 19, MMX 23, FXSR 24, SSE 25, SSE2 26, HTT 28;
        1 1: FSGSBASE 0, BMI1 3, HLE 4, AVX2 5, BMI2 8, ERMS 9, RTM 11, AVX512F 16, AVX512DQ 17, RDSEED 18, ADX 19,
             AVX512_IFMA 21, CLFLUSHOPT 23, CLWB 24, TRACE 25, AVX512PF 26, AVX512ER 27, AVX512CD 28, SHA 29, AVX512BW 30,
             AVX512VL 31;
        1 2: PREFETCHWT1 0, AVX512_VBMI 1, PKU 3, OSPKE 4, WAITPKG 5, AVX512_VBMI2 6, SHSTK 7, GFNI 8, VAES 9,
             VPCLMULQDQ 10, AVX512_VNNI 11, AVX512_BITALG 12, AVX512_VPOPCNTDQ 14, RDPID 22, KL 23, CLDEMOTE 25,
             MOVDIRI 27, MOVDIR64B 28;
        1 3: AVX512_4VNNIW 2, AVX512_4FMAPS 3, FSRM 4, AVX512_VP2INTERSECT 8, RTM_ALWAYS_ABORT 11, SERIALIZE 14,
             TSXLDTRK 16, IBT 20, AMX_BF16 22, AVX512_FP16 23, AMX_TILE 24, AMX_INT8 25;
        2 2: LAHF64_SAHF64 0, LZCNT 5, SSE4A 6, PREFETCHW 8, XOP 11, FMA4 16, TBM 21;
        2 3: RDTSCP 27;
        3 0: XSAVEOPT 0, XSAVEC 1, XGETBV_ECX_1 2, XFD 4;
        5 1: WBNOINVD 9;
        6 0: RAO_INT 3, AVX_VNNI 4, AVX512_BF16 5, CMPCCXADD 7, FZLRM 10, FSRS 11, FSRCS 12, AMX_FP16 21, AVX_IFMA 23;
        6 3: AVX_VNNI_INT8 4, AVX_NE_CONVERT 5, AMX_COMPLEX 8, PREFETCHI 14, AVX10 19, APX_F 21;
        7 1: AESKLE 0, WIDE_KL 2;
        8 1: PTWRITE 4;
        9 1: AVX10_XMM 16, AVX10_YMM 17, AVX10_ZMM 18;
    }
}
use feature::*;

/// Usable wherever the processor has them.
const UNCONDITIONAL: &[Feature] = &[
    SSE3,
    PCLMULQDQ,
    SSSE3,
    CMPXCHG16B,
    SSE4_1,
    SSE4_2,
    MOVBE,
    POPCNT,
    AES,
    OSXSAVE,
    RDRAND,
    TSC,
    CX8,
    CMOV,
    CLFSH,
    MMX,
    FXSR,
    SSE,
    SSE2,
    HTT,
    BMI1,
    HLE,
    BMI2,
    ERMS,
    RDSEED,
    ADX,
    CLFLUSHOPT,
    CLWB,
    SHA,
    PREFETCHWT1,
    OSPKE,
    WAITPKG,
    GFNI,
    RDPID,
    CLDEMOTE,
    MOVDIRI,
    MOVDIR64B,
    FSRM,
    RTM_ALWAYS_ABORT,
    SERIALIZE,
    TSXLDTRK,
    LAHF64_SAHF64,
    LZCNT,
    SSE4A,
    PREFETCHW,
    TBM,
    RDTSCP,
    WBNOINVD,
    FZLRM,
    FSRS,
    FSRCS,
    PTWRITE,
];
const UNCONDITIONAL_2_38: &[Feature] = &[RAO_INT, CMPCCXADD, PREFETCHI];
/// Usable with AVX.
const WITH_AVX: &[Feature] = &[AVX2, AVX_VNNI, FMA, VAES, VPCLMULQDQ, XOP, F16C];
const WITH_AVX_2_38: &[Feature] = &[AVX_IFMA, AVX_NE_CONVERT, AVX_VNNI_INT8];
/// Usable with AVX512F.
const WITH_AVX512F: &[Feature] = &[
    AVX512CD,
    AVX512ER,
    AVX512PF,
    AVX512VL,
    AVX512DQ,
    AVX512BW,
    AVX512_4FMAPS,
    AVX512_4VNNIW,
    AVX512_BITALG,
    AVX512_IFMA,
    AVX512_VBMI,
    AVX512_VBMI2,
    AVX512_VNNI,
    AVX512_VPOPCNTDQ,
    AVX512_VP2INTERSECT,
    AVX512_BF16,
    AVX512_FP16,
];
const WITH_AMX: &[Feature] = &[AMX_BF16, AMX_TILE, AMX_INT8];
const WITH_AMX_2_38: &[Feature] = &[AMX_FP16, AMX_COMPLEX];
const WITH_OSXSAVE: &[Feature] = &[XSAVEOPT, XSAVEC, XGETBV_ECX_1, XFD];

/// State components of XCR0 (*Intel SDM volume 1, 13.1*).
const XCR0_SSE_AVX: u64 = 0b110;
const XCR0_AVX512: u64 = 0b1110_0000;
const XCR0_AMX: u64 = 0b11 << 17;
const XCR0_APX: u64 = 1 << 19;

/// `HWCAP2_FSGSBASE`: the kernel lets programs use these instructions.
const HWCAP2_FSGSBASE: u64 = 1 << 1;

/// `struct cpuid_feature_internal[]`.
pub(super) struct Features {
    cpuid: [[u32; 4]; LEAVES.len()],
    active: [[u32; 4]; LEAVES.len()],
}

impl Features {
    /// Reads the first `leaves` leaves, as far as the processor has them (*get_common_indices, get_extended_indices*).
    pub fn read<P: Processor>(memo: &mut Memo<P>, identity: &Identity, leaves: usize) -> Features {
        let mut features = Features { cpuid: [[0; 4]; LEAVES.len()], active: [[0; 4]; LEAVES.len()] };
        let is_wanted = |&(index, _): &(usize, _)| {
            index < leaves.min(AVX10_LEAF) || (index == INTELS_TUNING && identity.vendor == Vendor::Intel)
        };
        for (index, (leaf, subleaf)) in LEAVES.into_iter().enumerate().filter(is_wanted) {
            // A leaf or subleaf that the processor does not have is all zero (Intel SDM volume 2, CPUID): where leaf 7
            // says so, there is no need to ask.
            let supported = match (leaf, subleaf) {
                // Of a vendor that it does not know, glibc reads neither the signature nor extended leaves.
                (1, _) => identity.vendor != Vendor::Other,
                (7, 1) => features.cpuid[1][0] != 0,
                (0x14, _) => features.present(TRACE),
                (0x19, _) => features.present(KL),
                _ => true,
            };
            let exists = |memo: &mut Memo<P>| match leaf {
                0x8000_0000.. => identity.has_extended(memo, leaf),
                _ => leaf <= identity.max_leaf,
            };
            if supported && exists(memo) {
                features.record(index, memo.cpuid(leaf, subleaf));
            }
        }
        features
    }

    /// Finds the usable features; true when AVX2 is among them.
    pub fn activate<P: Processor>(
        &mut self,
        memo: &mut Memo<P>,
        identity: &Identity,
        rules: &Rules,
        hwcap2: u64,
    ) -> bool {
        self.enable(UNCONDITIONAL);
        if rules.features_of_2_38 {
            self.enable(UNCONDITIONAL_2_38);
        }
        if !self.present(RTM_ALWAYS_ABORT) {
            self.enable(&[RTM]);
        }
        if self.present(OSXSAVE) {
            self.activate_saved(memo, identity, rules);
        }
        if self.present(OSPKE) {
            self.set(PKU);
        }
        if self.present(AESKLE) {
            self.enable(&[AESKLE, KL, WIDE_KL]);
        }
        if rules.features_of_2_38 && hwcap2 & HWCAP2_FSGSBASE != 0 {
            self.enable(&[FSGSBASE]);
        }
        self.active(AVX2)
    }

    /// The features that need the system to save their registers.
    fn activate_saved<P: Processor>(&mut self, memo: &mut Memo<P>, identity: &Identity, rules: &Rules) {
        let xcr0 = memo.xcr0();
        let saved = |state| xcr0 & state == state;
        let mut vector_lengths: &[Feature] = &[AVX10_XMM];
        if saved(XCR0_SSE_AVX) {
            let avx = self.present(AVX);
            if avx {
                vector_lengths = &[AVX10_XMM, AVX10_YMM];
                self.enable(&[AVX]);
                self.enable(WITH_AVX);
                if rules.features_of_2_38 {
                    self.enable(WITH_AVX_2_38);
                }
            }
            if saved(XCR0_AVX512) {
                vector_lengths = if avx { &[AVX10_XMM, AVX10_YMM, AVX10_ZMM] } else { &[AVX10_XMM, AVX10_ZMM] };
                if self.present(AVX512F) {
                    self.enable(&[AVX512F]);
                    self.enable(WITH_AVX512F);
                }
            }
        }
        if rules.avx10 {
            self.enable(&[AVX10]);
            let (leaf, subleaf) = LEAVES[AVX10_LEAF];
            if self.present(AVX10) && identity.max_leaf >= leaf {
                self.record(AVX10_LEAF, memo.cpuid(leaf, subleaf));
                self.enable(vector_lengths);
            }
        }
        if saved(XCR0_AMX) {
            self.enable(WITH_AMX);
            if rules.features_of_2_38 {
                self.enable(WITH_AMX_2_38);
            }
        }
        if rules.features_of_2_38 && saved(XCR0_APX) {
            self.enable(&[APX_F]);
        }
        self.set(XSAVE);
        self.enable(WITH_OSXSAVE);
    }

    /// Takes away what needs XSAVE once XSAVE itself was taken away; true when it was.
    pub fn drop_unsaved(&mut self) -> bool {
        let xsave = self.active(OSXSAVE);
        if !xsave {
            self.disable(&[XSAVE]);
            self.disable(WITH_OSXSAVE);
        }
        if xsave && (self.active(XSAVE) || self.active(XSAVEC)) {
            return false;
        }
        self.disable(&[AVX, AVX512F, FMA4]);
        self.disable(WITH_AVX);
        self.disable(WITH_AVX512F);
        self.disable(WITH_AMX);
        true
    }

    fn record(&mut self, index: usize, answer: CpuidResult) {
        self.cpuid[index] = [answer.eax, answer.ebx, answer.ecx, answer.edx];
    }

    /// What the processor says.
    pub fn present(&self, f: Feature) -> bool {
        self.cpuid[usize::from(f.leaf)][usize::from(f.register)] & f.mask() != 0
    }

    /// What programs may use.
    pub fn active(&self, f: Feature) -> bool {
        self.active[usize::from(f.leaf)][usize::from(f.register)] & f.mask() != 0
    }

    /// Makes usable those that the processor has.
    pub fn enable(&mut self, features: &[Feature]) {
        for &f in features {
            let (leaf, register) = (usize::from(f.leaf), usize::from(f.register));
            self.active[leaf][register] |= self.cpuid[leaf][register] & f.mask();
        }
    }

    /// Makes one usable whatever the processor says.
    pub fn set(&mut self, f: Feature) {
        self.active[usize::from(f.leaf)][usize::from(f.register)] |= f.mask();
    }

    pub fn disable(&mut self, features: &[Feature]) {
        for &f in features {
            self.active[usize::from(f.leaf)][usize::from(f.register)] &= !f.mask();
        }
    }

    /// `ebx` of leaf 1 counts the logical processors of the package in bits 16 to 23.
    pub fn logical_processors(&self) -> u32 {
        (self.cpuid[0][1] >> 16) & 0xff
    }

    /// The first `leaves` records: the processor's registers, then the active ones.
    pub fn words(&self, leaves: usize) -> impl Iterator<Item = [u32; 8]> {
        self.cpuid.iter().zip(&self.active).take(leaves).map(|(cpuid, active)| {
            let mut words = [0; 8];
            words[..4].copy_from_slice(cpuid);
            words[4..].copy_from_slice(active);
            words
        })
    }
}

impl Feature {
    fn mask(self) -> u32 {
        1 << self.bit
    }
}
