//! CPUID sets of processors that the test machine is not: put together from the vendors' manuals and from published
//! dumps, as far as the rules look at them.

use std::collections::BTreeMap;

use super::{CpuidResult, Processor};

/// A processor by its answers; every leaf that is not listed is zero. Asking one leaf twice is an error.
#[derive(Clone)]
pub(super) struct Sample {
    answers: BTreeMap<(u32, u32), [u32; 4]>,
    xcr0: u64,
    asked: Vec<(u32, u32)>,
}

impl Sample {
    /// `vendor` is the twelve letters of leaf 0.
    pub fn new(vendor: &[u8; 12], max_leaf: u32, max_extended: u32) -> Sample {
        let word = |at: usize| u32::from_le_bytes(vendor[at..at + 4].try_into().unwrap());
        Sample { answers: BTreeMap::new(), xcr0: 0, asked: Vec::new() }
            .leaf(0, 0, [max_leaf, word(0), word(8), word(4)])
            .leaf(0x8000_0000, 0, [max_extended, 0, 0, 0])
    }

    pub fn leaf(mut self, leaf: u32, subleaf: u32, registers: [u32; 4]) -> Sample {
        self.answers.insert((leaf, subleaf), registers);
        self
    }

    /// Leaf 1 with family, model and stepping as they are known to people.
    pub fn signature(self, family: u32, model: u32, stepping: u32, ebx: u32, ecx: u32, edx: u32) -> Sample {
        let base = family.min(0xf);
        let eax = (family - base) << 20 | (model >> 4) << 16 | base << 8 | (model & 0xf) << 4 | stepping;
        self.leaf(1, 0, [eax, ebx, ecx, edx])
    }

    pub fn xcr0(mut self, xcr0: u64) -> Sample {
        self.xcr0 = xcr0;
        self
    }

    /// A subleaf of leaf 4: cache type, level, highest number that shares it, its geometry, and whether it is inclusive.
    pub fn cache(
        self,
        subleaf: u32,
        kind: u32,
        level: u32,
        shared_to: u32,
        [ways, line, sets]: [u32; 3],
        inclusive: bool,
    ) -> Sample {
        let eax = kind | level << 5 | shared_to << 14;
        self.leaf(4, subleaf, [eax, (ways - 1) << 22 | (line - 1), sets - 1, u32::from(inclusive) << 1])
    }
}

impl Processor for Sample {
    fn cpuid(&mut self, leaf: u32, subleaf: u32) -> CpuidResult {
        assert!(!self.asked.contains(&(leaf, subleaf)), "{leaf:#x}.{subleaf:#x} was asked twice");
        self.asked.push((leaf, subleaf));
        let [eax, ebx, ecx, edx] = self.answers.get(&(leaf, subleaf)).copied().unwrap_or_default();
        CpuidResult { eax, ebx, ecx, edx }
    }

    fn xgetbv(&mut self) -> u64 {
        self.xcr0
    }
}

const MIB: u32 = 1 << 20;
/// Leaf 1 of a processor with everything up to AVX, and hyper-threading.
const AVX_ECX: u32 = 0x7ffa_fbff;
const EDX: u32 = 0xbfeb_fbff;
/// The extended leaves of Intel processors with LAHF, LZCNT and PREFETCHW.
const INTEL_EXTENDED: [u32; 4] = [0, 0, 0x121, 0x2c10_0800];

/// The state leaf of a processor with AVX-512: standard and compacted sizes.
fn with_avx512_state(sample: Sample, extra_states: u32, standard: u32) -> Sample {
    sample
        .leaf(0xd, 0, [0xe7 | extra_states, standard, standard, 0])
        .leaf(0xd, 1, [0xf, 0, 0, 0])
        .leaf(0xd, 2, [256, 576, 0, 0])
        .leaf(0xd, 5, [64, 1088, 0, 0])
        .leaf(0xd, 6, [512, 1152, 0, 0])
        .leaf(0xd, 7, [1024, 1664, 0, 0])
}

/// Core i9-7900X: ten cores with two threads each, 13.75 MiB of level 3 that does not include level 2.
pub(super) fn skylake_x() -> Sample {
    let sample = Sample::new(b"GenuineIntel", 0x16, 0x8000_0008)
        .signature(6, 0x55, 4, 20 << 16, AVX_ECX, EDX)
        .leaf(2, 0, [0x7603_6301, 0x00f0_b5ff, 0, 0x00c3_0000])
        .cache(0, 1, 1, 1, [8, 64, 64], false)
        .cache(1, 2, 1, 1, [8, 64, 64], false)
        .cache(2, 3, 2, 1, [16, 64, 1024], false)
        .cache(3, 3, 3, 31, [11, 64, 20480], false)
        // FSGSBASE BMI1 HLE AVX2 BMI2 ERMS RTM, AVX512 F DQ CD BW VL, RDSEED ADX CLFLUSHOPT CLWB.
        .leaf(7, 0, [0, 0xd19f_4fbb, 0, 0])
        .leaf(0xb, 0, [1, 2, 0x100, 0])
        .leaf(0xb, 1, [5, 20, 0x201, 0])
        .leaf(0x8000_0001, 0, INTEL_EXTENDED)
        .xcr0(0xe7);
    with_avx512_state(sample, 0, 2696)
}

/// Xeon Gold 6330: Ice Lake, 28 cores with two threads each, 42 MiB; fast short `rep movsb`.
pub(super) fn ice_lake_server() -> Sample {
    let sample = Sample::new(b"GenuineIntel", 0x1b, 0x8000_0008)
        .signature(6, 0x6a, 6, 56 << 16, AVX_ECX, EDX)
        .leaf(2, 0, [0x00fe_ff01, 0xf0, 0, 0])
        .cache(0, 1, 1, 1, [12, 64, 64], false)
        .cache(1, 2, 1, 1, [8, 64, 64], false)
        .cache(2, 3, 2, 1, [20, 64, 1024], false)
        .cache(3, 3, 3, 63, [12, 64, 57344], false)
        .leaf(7, 0, [0, 0xd39f_4fab, 1 << 8 | 1 << 9, 1 << 4])
        .leaf(0xb, 0, [1, 2, 0x100, 0])
        .leaf(0xb, 1, [6, 56, 0x201, 0])
        .leaf(0x8000_0001, 0, INTEL_EXTENDED)
        .xcr0(0xe7);
    with_avx512_state(sample, 0, 2696)
}

/// Sapphire Rapids with the AMX state enabled, and the AVX-VNNI that lifts the ban on 512-bit moves.
pub(super) fn sapphire_rapids() -> Sample {
    let sample = ice_lake_server()
        .signature(6, 0x8f, 8, 56 << 16, AVX_ECX, EDX)
        .leaf(7, 0, [2, 0xd39f_47ab, 1 << 8 | 1 << 9, 1 << 4 | 1 << 22 | 1 << 24 | 1 << 25])
        .leaf(7, 1, [1 << 4 | 1 << 5 | 1 << 21, 0, 0, 1 << 8])
        .xcr0(0x600e7);
    with_avx512_state(sample, 0x60000, 11008).leaf(0xd, 17, [64, 2752, 2, 0]).leaf(0xd, 18, [8192, 2816, 6, 0])
}

/// Xeon 6 (Granite Rapids), which has AVX10 and its leaf, as far as it differs from Sapphire Rapids by it.
pub(super) fn granite_rapids() -> Sample {
    let [max_leaf, vendor @ ..] = sapphire_rapids().answers[&(0, 0)];
    sapphire_rapids()
        .leaf(0, 0, [max_leaf.max(0x24), vendor[0], vendor[1], vendor[2]])
        .signature(6, 0xad, 1, 56 << 16, AVX_ECX, EDX)
        .leaf(7, 1, [1 << 4 | 1 << 5 | 1 << 21, 0, 0, 1 << 8 | 1 << 19])
        .leaf(0x24, 0, [0, 1 | 7 << 16, 0, 0])
}

/// Core 2 Duo E6600: leaf 2 by descriptors, 4 MiB of level 2 for two cores, no level 3, no XSAVE.
pub(super) fn core_2() -> Sample {
    Sample::new(b"GenuineIntel", 0xa, 0x8000_0008)
        .signature(6, 0xf, 6, 2 << 16, 0xe3bd, EDX)
        .leaf(2, 0, [0x05b0_b101, 0x0056_57f0, 0, 0x2cb4_3049])
        .cache(0, 1, 1, 0, [8, 64, 64], false)
        .cache(1, 2, 1, 0, [8, 64, 64], false)
        .cache(2, 3, 2, 1, [16, 64, 4096], false)
        .leaf(0x8000_0001, 0, [0, 0, 1, 0x2010_0800])
}

/// Xeon 7100 (Tulsa): descriptor 0x49 stands for level 3 in family 15 model 6 alone.
pub(super) fn tulsa() -> Sample {
    Sample::new(b"GenuineIntel", 6, 0x8000_0008)
        .signature(15, 6, 8, 4 << 16, 0xe43d, EDX)
        .leaf(2, 0, [0x605b_5001, 0, 0, 0x007d_7049])
        .leaf(0x8000_0001, 0, [0, 0, 1, 0x2010_0800])
}

/// EPYC 7302 (Zen 2): 16 MiB of level 3 for the eight threads of a core complex, 128 MiB in the package.
pub(super) fn zen_2() -> Sample {
    amd_caches(Sample::new(b"AuthenticAMD", 0x10, 0x8000_0020), 7)
        .signature(0x17, 0x31, 0, 32 << 16, 0x7ed8_320b, 0x178b_fbff)
        .leaf(7, 0, [0, 0x219c_91a9, 0, 0])
        .leaf(0x8000_0001, 0, [0, 0, 0x35c2_33ff, 0x2fd3_fbff])
        .leaf(0x8000_0008, 0, [0, 0, 0x501f, 0])
        .xcr0(7)
        .leaf(0xd, 0, [7, 832, 832, 0])
        .leaf(0xd, 1, [0xf, 832, 0, 0])
        .leaf(0xd, 2, [256, 576, 0, 0])
}

/// A18 Excavator: AVX2, FMA4 and XOP; unaligned AVX loads are slow; no level 3.
pub(super) fn excavator() -> Sample {
    Sample::new(b"AuthenticAMD", 0xd, 0x8000_001e)
        .signature(0x15, 0x65, 1, 4 << 16, 0x7ed8_320b, 0x178b_fbff)
        .leaf(7, 0, [0, 0x1a9, 0, 0])
        .leaf(0x8000_0001, 0, [0, 0, 0x2fab_bfff, 0x2fd3_fbff])
        .leaf(0x8000_0005, 0, [0, 0, 0x2008_0140, 0x6003_0140])
        .leaf(0x8000_0006, 0, [0, 0, 0x0400_8140, 0])
        .leaf(0x8000_001d, 0, [0, 7 << 22 | 63, 63, 0])
        .leaf(0x8000_001d, 1, [0, 2 << 22 | 63, 511, 0])
        .leaf(0x8000_001d, 2, [0, 15 << 22 | 63, 1023, 0])
        .xcr0(7)
        .leaf(0xd, 0, [7, 832, 832, 0])
        .leaf(0xd, 1, [1, 0, 0, 0])
}

/// Hygon C86 7185, a Zen 1 under its own name; `model` tells generations apart.
pub(super) fn hygon(model: u32) -> Sample {
    amd_caches(Sample::new(b"HygonGenuine", 0xd, 0x8000_001f), 7)
        .signature(0x18, model, 1, 32 << 16, 0x7ed8_320b, 0x178b_fbff)
        .leaf(7, 0, [0, 0x209c_01a9, 0, 0])
        .leaf(0x8000_0001, 0, [0, 0, 0x35c2_33ff, 0x2fd3_fbff])
        .leaf(0x8000_0008, 0, [0, 0, 0x501f, 0])
        .xcr0(7)
        .leaf(0xd, 0, [7, 832, 832, 0])
        .leaf(0xd, 1, [0xf, 832, 0, 0])
        .leaf(0xd, 2, [256, 576, 0, 0])
}

/// 32 KiB of each level 1, 512 KiB of level 2, 16 MiB of level 3 for `shared_to` + 1 threads, 128 MiB in the package.
fn amd_caches(sample: Sample, shared_to: u32) -> Sample {
    let level3 = 128 * MIB / (512 * 1024);
    sample
        .leaf(0x8000_0005, 0, [0, 0, 32 << 24 | 8 << 16 | 0x0140, 32 << 24 | 8 << 16 | 0x0140])
        .leaf(0x8000_0006, 0, [0, 0, 512 << 16 | 0x6140, level3 << 18 | 0x9140])
        .leaf(0x8000_001d, 0, [0x121, 7 << 22 | 63, 63, 0])
        .leaf(0x8000_001d, 1, [0x122, 7 << 22 | 63, 63, 0])
        .leaf(0x8000_001d, 2, [0x143, 7 << 22 | 63, 1023, 0])
        .leaf(0x8000_001d, 3, [0x163 | shared_to << 14, 15 << 22 | 63, 16383, 0])
}

/// KaiXian KX-6000 (0x3b) and its successors: Zhaoxin reads leaf 4 and, from family 7 on, leaf 0xb.
pub(super) fn zhaoxin(model: u32) -> Sample {
    Sample::new(b"  Shanghai  ", 0xd, 0x8000_0008)
        .signature(7, model, 3, 8 << 16, 0x7ffa_f38f, EDX)
        .cache(0, 1, 1, 0, [8, 64, 64], false)
        .cache(1, 2, 1, 0, [8, 64, 64], false)
        .cache(2, 3, 2, 3, [16, 64, 4096], false)
        .cache(3, 3, 3, 7, [16, 64, 8192], true)
        .leaf(7, 0, [0, 0x128, 0, 0])
        .leaf(0xb, 0, [0, 1, 0x100, 0])
        .leaf(0xb, 1, [3, 8, 0x201, 0])
        .leaf(0x8000_0001, 0, INTEL_EXTENDED)
        .xcr0(7)
        .leaf(0xd, 0, [7, 832, 832, 0])
}

/// A vendor that no glibc knows, with all that makes x86-64-v3.
pub(super) fn stranger() -> Sample {
    let mut sample = skylake_x();
    sample = sample.leaf(0, 0, [0x16, u32::from_le_bytes(*b"Geni"), 0, 0]);
    sample
}

/// One of each kind.
pub(super) fn all() -> [Sample; 12] {
    [
        skylake_x(),
        ice_lake_server(),
        sapphire_rapids(),
        granite_rapids(),
        core_2(),
        tulsa(),
        zen_2(),
        excavator(),
        hygon(1),
        zhaoxin(0x3b),
        zhaoxin(0x5b),
        stranger(),
    ]
}
