//! The rules on processors that the test machine is not: values worked out by hand from each release's rules.

use proptest::prelude::*;

use super::features::LEAVES_OF_LIBC;
use super::samples::{self, Sample};
use super::{CpuTunable, CpuTunables, CpuidResult, Extent, Kernel, Memo, NoTunables, Processor, StateSave, Summary};
use super::{fill, isa_level};
use crate::layout::{Layout, Offset};
use crate::tables;

/// The structure that release 2.`minor` fills.
struct Filled {
    layout: &'static Layout,
    bytes: Vec<u8>,
    summary: Summary,
}

impl Filled {
    fn new(minor: u16, sample: Sample) -> Filled {
        Filled::with(minor, sample, &NoTunables)
    }

    fn with(minor: u16, sample: impl Processor, tunables: &impl CpuTunables) -> Filled {
        let layout = tables::ALL.iter().find(|layout| layout.version.minor == minor).unwrap();
        let mut bytes = vec![0; usize::from(layout.cpu.size)];
        let summary = fill(layout, &mut Memo::new(sample), &Kernel::default(), tunables, Extent::Whole, &mut bytes);
        Filled { layout, bytes, summary }
    }

    fn u32(&self, at: usize) -> u32 {
        u32::from_ne_bytes(self.bytes[at..at + 4].try_into().unwrap())
    }

    fn u64(&self, at: Offset) -> u64 {
        let at = usize::from(at);
        u64::from_ne_bytes(self.bytes[at..at + 8].try_into().unwrap())
    }

    /// kind, family, model, stepping.
    fn basic(&self) -> [u32; 4] {
        [self.u32(0), self.u32(8), self.u32(12), self.u32(16)]
    }

    /// A register's active word: by the leaf's place in the structure, and eax 0 to edx 3.
    fn active(&self, leaf: usize, register: usize) -> u32 {
        self.u32(usize::from(self.layout.cpu.features) + leaf * 32 + 16 + register * 4)
    }

    fn preferred(&self) -> u32 {
        self.u32(self.layout.cpu.preferred.into())
    }

    /// data, shared, non_temporal, rep_movsb, rep_movsb_stop, rep_stosb.
    fn thresholds(&self) -> [u64; 6] {
        let at = &self.layout.cpu;
        [
            at.data_cache_size,
            at.shared_cache_size,
            at.non_temporal_threshold,
            at.rep_movsb_threshold,
            at.rep_movsb_stop_threshold,
            at.rep_stosb_threshold,
        ]
        .map(|at| self.u64(at))
    }

    fn memset_non_temporal(&self) -> u64 {
        self.u64(self.layout.cpu.memset_non_temporal_threshold.unwrap())
    }

    /// Sizes of L1i, L1d, L2, L3, L4.
    fn sizes(&self) -> [u64; 5] {
        let at = &self.layout.cpu;
        [at.level1_icache_size, at.level1_dcache_size, at.level2_cache_size, at.level3_cache_size, at.level4_cache_size]
            .map(|at| self.u64(at))
    }
}

const UNKNOWN: u64 = u64::MAX;
const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

#[test]
fn skylake_server_shuns_512_bit_moves_and_tsx() {
    let old = Filled::new(36, samples::skylake_x());
    assert_eq!(old.basic(), [1, 6, 0x55, 4]);
    // Fast_Rep_String, three of unaligned access, I586, I686, AVX_Fast_Unaligned_Load, Prefer_No_AVX512.
    assert_eq!(old.preferred(), 0x12f9);
    assert_eq!(old.active(1, 1) & (1 << 4 | 1 << 11), 0, "HLE and RTM");
    assert_eq!(old.active(1, 3), 1 << 11, "RTM_ALWAYS_ABORT, whatever CPUID says");
    // Level 3 does not include level 2: its size is added, and a core's share of it.
    let shared = 14_417_920 + MIB;
    assert_eq!(old.thresholds(), [32 * KIB, shared, shared / 4, 8192, shared / 4, 2048]);
    assert_eq!(old.sizes(), [32 * KIB, 32 * KIB, MIB, 14_417_920, UNKNOWN]);
    assert_eq!((old.summary.isa_1, old.summary.levels.highest()), (0b1111, 4));
    assert_eq!(old.summary.levels.directories(), ["x86-64-v4", "x86-64-v3", "x86-64-v2"]);
    assert_eq!((old.summary.platform, old.summary.hwcap), (Some("haswell"), 0b110));
    assert_eq!(old.summary.minsigstacksize, 512 + 2696 + 4);
    assert_eq!((old.summary.xsave_state_size, old.summary.state_save), (2496, StateSave::Xsavec));

    // The numbering of 2.38 put Prefer_MAP_32BIT_EXEC in between, and the divisor became the model's.
    let middle = Filled::new(38, samples::skylake_x());
    assert_eq!(middle.preferred(), 0x22f9);
    assert_eq!(middle.thresholds()[2], shared / 2);

    let new = Filled::new(41, samples::skylake_x());
    assert_eq!(new.preferred(), 0x222f9, "and Avoid_Non_Temporal_Memset");
    assert_eq!(new.memset_non_temporal(), UNKNOWN);
    assert_eq!(new.thresholds()[5], 2048);
    assert_eq!(new.summary.xsave_state_size, 2560, "room for a TLS descriptor call");
}

#[test]
fn tsx_is_withdrawn_by_stepping() {
    // Steppings 6 and 7 are Cascade Lake, which keeps it.
    let sample = samples::skylake_x().signature(6, 0x55, 7, 20 << 16, 0x7ffa_fbff, 0xbfeb_fbff);
    let cascade_lake = Filled::new(36, sample);
    assert_eq!(cascade_lake.active(1, 1) & (1 << 4 | 1 << 11), 1 << 4 | 1 << 11);
    assert_eq!(cascade_lake.preferred(), 0x12f9 | 1 << 10, "VZEROUPPER would abort transactions");
}

#[test]
fn fast_short_rep_movsb() {
    let shared = 44_040_192 + 20 * 64 * 1024;
    let old = Filled::new(36, samples::ice_lake_server());
    assert_eq!(old.preferred(), 0x96f9);
    assert_eq!(old.thresholds(), [48 * KIB, shared, shared / 4, 2112, shared / 4, 2048]);
    let new = Filled::new(43, samples::ice_lake_server());
    assert_eq!(new.preferred(), 0x1_2af9);
    assert_eq!(new.thresholds(), [48 * KIB, shared, shared / 2, 2112, shared / 2, 2048]);
    assert_eq!(new.memset_non_temporal(), shared / 2);
}

#[test]
fn amx_is_saved_for_tls_descriptors_alone() {
    let old = Filled::new(36, samples::sapphire_rapids());
    assert_eq!(old.preferred() & 1 << 12, 0, "AVX-VNNI lifts Prefer_No_AVX512");
    assert_eq!((old.summary.xsave_state_size, old.summary.tlsdesc_state_size), (2496, 2496));
    // Folio's own trampolines save AMX's state under each release: 576 bytes, AVX, AVX-512, and the tiles' 64 and 8192.
    assert_eq!(old.summary.whole_state_size, 576 + 256 + 64 + 512 + 1024 + 64 + 8192);
    assert_eq!(old.active(6, 0), 1 << 4 | 1 << 5, "2.36 does not know AMX_FP16");
    let new = Filled::new(43, samples::sapphire_rapids());
    assert_eq!((new.summary.xsave_state_size, new.summary.tlsdesc_state_size), (2560, 10816));
    assert_eq!(new.summary.whole_state_size, old.summary.whole_state_size);
    assert_eq!(new.active(6, 0), 1 << 4 | 1 << 5 | 1 << 21);
    assert_eq!(new.active(6, 3), 1 << 8, "AMX_COMPLEX");
    let movsb = new.summary.tunables.iter().find(|u| u.tunable == CpuTunable::RepMovsbThreshold).unwrap();
    assert_eq!((movsb.value, movsb.min), (2112, 512), "eight 64-byte vectors");
    // A hypervisor that keeps AMX from its guest, and tells the sizes of its state all the same.
    let hidden = samples::sapphire_rapids().xcr0(0xe7).leaf(0xd, 0, [0xe7, 2688, 2696, 0]);
    assert_eq!(Filled::new(43, hidden).summary.tlsdesc_state_size, 10816);
}

#[test]
fn core_2_by_descriptors() {
    let old = Filled::new(36, samples::core_2());
    assert_eq!(old.sizes(), [32 * KIB, 32 * KIB, 4 * MIB, 0, 0]);
    assert_eq!(old.u64(old.layout.cpu.level2_cache_assoc), 16);
    // Without level 3, level 2 is shared by two cores; without ERMS a thread keeps to its own share.
    let own = 2 * MIB * 3 / 4;
    assert_eq!(old.thresholds(), [32 * KIB, 4 * MIB, own, 2048, own, 2048]);
    assert_eq!(old.preferred(), 0x10c0);
    assert_eq!((old.summary.isa_1, old.summary.levels.highest()), (1, 1));
    assert!(old.summary.levels.directories().is_empty());
    assert_eq!((old.summary.xsave_state_size, old.summary.state_save), (0, StateSave::Fxsave));
    assert_eq!((old.summary.minsigstacksize, old.summary.platform), (2048, None));

    // Without ERMS memset goes from its vector loop to the non-temporal one at once.
    let new = Filled::new(41, samples::core_2());
    assert_eq!(new.preferred(), 0x420c0);
    assert_eq!((new.memset_non_temporal(), new.thresholds()[5]), (own, own));
}

#[test]
fn one_descriptor_of_two_meanings() {
    let tulsa = Filled::new(36, samples::tulsa());
    assert_eq!(tulsa.basic(), [1, 15, 6, 8]);
    assert_eq!(tulsa.sizes()[3], 4 * MIB);
    // Leaf 4 says nothing: all four logical processors are taken to share it.
    assert_eq!(tulsa.thresholds()[2], MIB * 3 / 4);
}

#[test]
fn zen_2_by_old_and_new_leaves() {
    let old = Filled::new(36, samples::zen_2());
    assert_eq!(old.basic(), [2, 0x17, 0x31, 0]);
    assert_eq!(old.sizes(), [32 * KIB, 32 * KIB, 512 * KIB, 128 * MIB, UNKNOWN]);
    // 4 MiB a thread, eight threads a complex; no ERMS.
    assert_eq!(old.thresholds(), [32 * KIB, 128 * MIB, 24 * MIB, 8192, 512 * KIB, 2048]);
    assert_eq!(old.preferred(), 0x2c0);
    assert_eq!((old.summary.platform, old.summary.hwcap), (None, 2));

    let middle = Filled::new(37, samples::zen_2());
    assert_eq!(middle.sizes(), [32 * KIB, 32 * KIB, 512 * KIB, 16 * MIB, 0]);
    assert_eq!(middle.thresholds(), [32 * KIB, 16 * MIB, 12 * MIB, 8192, 512 * KIB, 2048]);

    let new = Filled::new(41, samples::zen_2());
    assert_eq!(new.thresholds(), [32 * KIB, 16 * MIB, 12 * MIB, 12 * MIB, 12 * MIB, 12 * MIB]);
    assert_eq!(Filled::new(40, samples::zen_2()).thresholds()[5], UNKNOWN, "2.40: never `rep stosb`");
    assert_eq!(new.summary.xsave_state_size, 960);
}

#[test]
fn a_hypervisor_that_hides_the_cache_properties() {
    let hidden = (0..4).fold(samples::zen_2(), |sample, i| sample.leaf(0x8000_001d, i, [0; 4]));
    let filled = Filled::new(41, hidden);
    // 128 MiB for the 32 numbers that an APIC id can have, in complexes of one thread.
    assert_eq!(filled.sizes(), [32 * KIB, 32 * KIB, 512 * KIB, 4 * MIB, 0]);
}

#[test]
fn excavator_prefers_sse() {
    for minor in [36, 38] {
        let filled = Filled::new(minor, samples::excavator());
        assert_eq!(filled.preferred(), 0xca);
        assert_eq!(filled.active(2, 2) & (1 << 11 | 1 << 16), 1 << 11 | 1 << 16, "XOP and FMA4");
        assert_eq!(filled.sizes()[..4], [96 * KIB, 32 * KIB, MIB, 0]);
        assert_eq!(filled.thresholds()[1..3], [MIB, MIB * 3 / 4]);
    }
}

#[test]
fn hygon_parts_from_amd() {
    let amd = Filled::new(40, samples::hygon(1));
    assert_eq!((amd.basic()[0], amd.sizes()[4]), (2, 0));
    assert_eq!(amd.thresholds(), [32 * KIB, 16 * MIB, 12 * MIB, 12 * MIB, 12 * MIB, UNKNOWN]);
    let apart = Filled::new(41, samples::hygon(1));
    assert_eq!((apart.basic()[0], apart.sizes()[4]), (4, UNKNOWN));
    assert_eq!(apart.preferred(), 0x402c0);
    assert_eq!(apart.thresholds(), [32 * KIB, 16 * MIB, 12 * MIB, 8192, 12 * MIB, 12 * MIB]);
    let slow_avx = Filled::new(43, samples::hygon(1));
    assert_eq!((slow_avx.preferred(), slow_avx.thresholds()[3]), (0x400c0, 2048));
    assert_eq!(Filled::new(43, samples::hygon(7)).preferred(), 0x422c0);
}

#[test]
fn zhaoxin_with_slow_avx() {
    let old = Filled::new(36, samples::zhaoxin(0x3b));
    assert_eq!(old.basic(), [3, 7, 0x3b, 0], "the stepping is lost in glibc");
    assert_eq!(old.active(0, 2) & 1 << 28, 0);
    assert_eq!(old.active(1, 1) & 1 << 5, 0);
    // The recorded level is older than the withdrawal, the search for libraries younger.
    assert_eq!((old.summary.isa_1, old.summary.levels.highest()), (0b111, 2));
    assert_eq!(old.sizes(), [32 * KIB, 32 * KIB, 4 * MIB, 8 * MIB, UNKNOWN]);
    assert_eq!(old.thresholds(), [32 * KIB, 8 * MIB, 768 * KIB, 2048, 768 * KIB, 2048]);
    assert_eq!(old.preferred(), 0xc0);

    let new = Filled::new(41, samples::zhaoxin(0x3b));
    assert_eq!(new.preferred(), 0x600c0);
    assert_eq!(new.thresholds()[2..], [2 * MIB, 2048, 2 * MIB, UNKNOWN]);
}

#[test]
fn zhaoxin_of_2024() {
    let before = Filled::new(39, samples::zhaoxin(0x5b));
    assert_eq!((before.preferred(), before.thresholds()[2]), (0x202c0, 768 * KIB));
    let known = Filled::new(40, samples::zhaoxin(0x5b));
    assert_eq!((known.preferred(), known.thresholds()[2]), (0x208c8, 4 * MIB));
    assert_eq!(known.u64(known.layout.cpu.cachesize_non_temporal_divisor.unwrap()), 2);
    assert_ne!(known.active(0, 2) & 1 << 28, 0, "AVX stays");
}

#[test]
fn a_stranger_gets_the_baseline() {
    let old = Filled::new(36, samples::stranger());
    assert_eq!(old.basic(), [4, 0, 0, 0]);
    assert_eq!(old.sizes(), [UNKNOWN; 5]);
    assert_eq!(old.thresholds(), [UNKNOWN, UNKNOWN, 0x4040, 2048, 0x4040, 2048]);
    assert_eq!((old.preferred(), old.summary.isa_1, old.active(0, 2)), (0, 0, 0));
    let new = Filled::new(41, samples::stranger());
    assert_eq!((new.basic()[0], new.preferred()), (5, 0x20000));
    assert_eq!(new.thresholds()[2], u64::MAX >> 4);
    // Without ERMS there is no share to keep to.
    let without_erms = samples::stranger().leaf(7, 0, [0; 4]);
    assert_eq!(Filled::new(41, without_erms).thresholds()[2], 64 * MIB);
}

#[test]
fn atom_is_tuned_by_generation() {
    let preferred = |minor, model| {
        let sample = samples::core_2().signature(6, model, 0, 2 << 16, 0xe3bd, 0xbfeb_fbff);
        Filled::new(minor, sample).preferred()
    };
    assert_eq!(preferred(36, 0x1c), 0x10c4, "Bonnell: Slow_BSF");
    assert_eq!((preferred(36, 0x36), preferred(38, 0x36)), (0x10c0, 0x20c4), "Saltwell, known since 2.38");
    assert_eq!(preferred(36, 0x37), 0x11f8, "Silvermont: unaligned access, Slow_SSE4_2");
    assert_eq!(preferred(36, 0x86), 0x11f9, "Tremont: fast strings too");
    assert_eq!(preferred(36, 0x1a), 0x10f9, "Nehalem: without AVX");
}

#[test]
fn silvermont_shares_level_2_in_pairs() {
    let sample = samples::core_2().signature(6, 0x37, 0, 8 << 16, 0xe3bd, 0xbfeb_fbff);
    let eight = sample.cache(2, 3, 2, 7, [16, 64, 4096], false);
    assert_eq!(Filled::new(36, eight).thresholds()[2], 2 * MIB * 3 / 4);
}

/// AMD's processor of all features, in a system that saves the state components of `xcr0`.
struct Everything {
    xcr0: u64,
}

impl Processor for Everything {
    fn cpuid(&mut self, leaf: u32, subleaf: u32) -> CpuidResult {
        let ones = u32::MAX;
        match (leaf, subleaf) {
            (0, _) => samples::zen_2().leaf(0, 0, [0x24, 0x6874_7541, 0x444d_4163, 0x6974_6e65]).cpuid(0, 0),
            (0xd, 2..) => CpuidResult::default(),
            _ => CpuidResult { eax: ones, ebx: ones, ecx: ones, edx: ones },
        }
    }

    fn xgetbv(&mut self) -> u64 {
        self.xcr0
    }
}

/// The active words, from each release's feature list.
#[test]
fn every_feature_that_a_release_knows() {
    let active = |minor, xcr0| {
        let layout = tables::ALL.iter().find(|layout| layout.version.minor == minor).unwrap();
        let mut bytes = vec![0; usize::from(layout.cpu.size)];
        let kernel = Kernel { hwcap2: 1 << 1, minsigstksz: 4096 };
        let summary =
            fill(layout, &mut Memo::new(Everything { xcr0 }), &kernel, &NoTunables, Extent::Whole, &mut bytes);
        assert_eq!(summary.minsigstacksize, 4096, "what the kernel says");
        let filled = Filled { layout, bytes, summary };
        (0..usize::from(layout.cpu.leaves)).map(|leaf| [0, 1, 2, 3].map(|r| filled.active(leaf, r))).collect::<Vec<_>>()
    };
    let mut expected = vec![
        [0, 0, 0x7ed8_3203, 0x1788_8110],
        [0, 0xfdaf_0338, 0x1ac0_5f7b, 0x03c1_491c],
        [0, 0, 0x0021_0961, 0x0800_0000],
        [0x17, 0, 0, 0],
        [0; 4],
        [0, 0x200, 0, 0],
        [0x1c30, 0, 0, 0],
        [0, 5, 0, 0],
        [0, 0x10, 0, 0],
    ];
    assert_eq!(active(36, u64::MAX), expected);
    expected[1][1] |= 1;
    expected[6] = [0x00a0_1cb8, 0, 0, 0x0020_4130];
    assert_eq!(active(38, u64::MAX), expected);
    expected[6][3] |= 1 << 19;
    expected.push([0, 0x7_0000, 0, 0]);
    assert_eq!(active(41, u64::MAX), expected);

    // Without the state nothing that needs it is usable: AVX, FMA and F16C; AVX2 and the AVX512 features; XOP and FMA4;
    // AMX; and of AVX10 no more than its least vector length.
    expected[0][2] &= !(1 << 28 | 1 << 12 | 1 << 29);
    expected[1] = [0, 0x218c_0319, 0x1ac0_0131 | 1 << 3, 0x0001_4810];
    expected[2][2] &= !(1 << 11 | 1 << 16);
    expected[6] = [1 << 3 | 1 << 7 | 0x1c00, 0, 0, 1 << 14 | 1 << 19];
    expected[9][1] = 1 << 16;
    assert_eq!(active(41, 0), expected);
}

/// Tunables by hand.
pub(super) struct Set {
    pub hwcaps: Option<&'static [u8]>,
    pub sizes: &'static [(CpuTunable, u64)],
}

impl CpuTunables for Set {
    fn hwcaps(&self) -> Option<&[u8]> {
        self.hwcaps
    }

    fn size(&self, tunable: CpuTunable) -> Option<u64> {
        self.sizes.iter().find(|(name, _)| *name == tunable).map(|&(_, size)| size)
    }

    fn prefer_map_32bit_exec(&self) -> bool {
        true
    }
}

#[test]
fn tunables_move_thresholds_within_their_bounds() {
    use CpuTunable::*;
    let sizes =
        &[(RepMovsbThreshold, 256), (NonTemporalThreshold, 0x4040), (SharedCacheSize, 0), (DataCacheSize, 4096)];
    let filled = Filled::with(36, samples::skylake_x(), &Set { hwcaps: None, sizes });
    let shared = 14_417_920 + MIB;
    assert_eq!(filled.thresholds(), [4096, shared, shared / 4, 8192, shared / 4, 2048]);
    assert_eq!(filled.preferred(), 0x12f9, "2.36 has no Prefer_MAP_32BIT_EXEC");
    assert_eq!(filled.summary.tunables.iter().count(), 5);

    let sizes = &[(RepMovsbThreshold, 257), (NonTemporalThreshold, 0x4041), (MemsetNonTemporalThreshold, 1 << 20)];
    let filled = Filled::with(41, samples::skylake_x(), &Set { hwcaps: None, sizes });
    assert_eq!(filled.thresholds()[2..], [0x4041, 257, 0x4041, 2048]);
    assert_eq!(filled.memset_non_temporal(), MIB);
    assert_eq!(filled.preferred(), 0x226f9);
    assert_eq!(filled.summary.tunables.iter().count(), 6);
}

#[test]
fn hwcaps_withdraw_but_never_grant() {
    let set = |hwcaps: &'static [u8]| Set { hwcaps: Some(hwcaps), sizes: &[] };
    let without = Filled::with(36, samples::skylake_x(), &set(b"-AVX2,-AVX512F,Prefer_No_VZEROUPPER,,-,-avx,SSE4A"));
    assert_eq!(without.active(1, 1) & (1 << 5 | 1 << 16), 0);
    assert_eq!(without.summary.isa_1, 0b1111, "the level is recorded before");
    assert_eq!(without.summary.levels.highest(), 2);
    assert_eq!(without.preferred(), 0x12f9 | 1 << 10);
    assert_eq!(without.summary.platform, None);
    assert_eq!(without.thresholds()[3], 8192, "thresholds are chosen before");

    let core_2 = Filled::with(36, samples::core_2(), &set(b"AVX,Prefer_No_VZEROUPPER,Slow_SSE4_2"));
    assert_eq!((core_2.active(0, 2) & 1 << 28, core_2.preferred()), (0, 0x10c0));

    let standard = Filled::with(41, samples::sapphire_rapids(), &set(b"-XSAVEC"));
    assert_eq!(standard.summary.state_save, StateSave::Xsave);
    assert_eq!((standard.summary.xsave_state_size, standard.summary.tlsdesc_state_size), (11136, 11136));
    let none = Filled::with(41, samples::sapphire_rapids(), &set(b"-OSXSAVE"));
    assert_eq!((none.summary.state_save, none.summary.levels.highest()), (StateSave::Fxsave, 2));
    assert_eq!((none.active(1, 1) & 1 << 16, none.active(1, 3) & 1 << 24), (0, 0));
}

#[test]
fn levels_before_and_after_the_libc_is_known_are_the_same() {
    let processors = samples::all();
    for (processor, layout) in processors.iter().flat_map(|p| tables::ALL.iter().map(move |l| (p, l))) {
        // The sample itself objects to a second question for one leaf.
        let mut memo = Memo::new(processor.clone());
        let levels = isa_level(&mut memo, &NoTunables);
        let mut bytes = vec![0; usize::from(layout.cpu.size)];
        let summary = fill(layout, &mut memo, &Kernel::default(), &NoTunables, Extent::Whole, &mut bytes);
        assert_eq!(levels, summary.levels);
        libc_needs_less(processor, layout, &bytes, memo.asked());
    }
}

/// What is filled for libc is what the whole has, but for the later leaves and the size of the state; with fewer questions.
fn libc_needs_less(processor: &Sample, layout: &Layout, whole: &[u8], asked: usize) {
    let mut memo = Memo::new(processor.clone());
    let mut part = vec![0; whole.len()];
    fill(layout, &mut memo, &Kernel::default(), &NoTunables, Extent::Libc, &mut part);
    assert!(memo.asked() <= asked);
    let mut before = Memo::new(processor.clone());
    isa_level(&mut before, &NoTunables);
    fill(layout, &mut before, &Kernel::default(), &NoTunables, Extent::Libc, &mut vec![0; whole.len()]);
    assert_eq!(before.asked(), memo.asked(), "the levels need no leaf that libc does not need");
    let cpu = &layout.cpu;
    let leaves =
        usize::from(cpu.features) + 32 * LEAVES_OF_LIBC..usize::from(cpu.features) + 32 * usize::from(cpu.leaves);
    let size = usize::from(cpu.xsave_state_size)..usize::from(cpu.xsave_state_size) + 8;
    let full = usize::from(cpu.xsave_state_full_size)..usize::from(cpu.xsave_state_full_size) + 4;
    // Leaves that libc does not read may be there all the same.
    let is_later = |at: &usize| [&leaves, &size, &full].iter().any(|range| range.contains(at));
    for at in (0..whole.len()).filter(|at| !is_later(at)) {
        assert_eq!(part[at], whole[at], "byte {at} of glibc 2.{}", layout.version.minor);
    }
}

/// Answers without any sense, but always the same.
struct Nonsense {
    seed: u64,
    vendor: Option<[u32; 3]>,
}

impl Nonsense {
    fn word(&self, leaf: u32, subleaf: u32, register: u32) -> u32 {
        let mut x = self.seed ^ (u64::from(leaf) << 32 | u64::from(subleaf) << 3 | u64::from(register));
        for _ in 0..3 {
            x = (x ^ x >> 31).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        }
        (x >> 32) as u32
    }
}

impl Processor for Nonsense {
    fn cpuid(&mut self, leaf: u32, subleaf: u32) -> CpuidResult {
        let [eax, ebx, ecx, edx] = [0, 1, 2, 3].map(|register| self.word(leaf, subleaf, register));
        match (leaf, self.vendor) {
            (0, Some([ebx, ecx, edx])) => CpuidResult { eax: eax & 0x3f, ebx, ecx, edx },
            (0x8000_0000, _) => CpuidResult { eax: 0x8000_0000 | eax & 0x3f, ebx, ecx, edx },
            // One in two leaves 2 is the kind that lists descriptors.
            (2, _) => CpuidResult { eax: if eax & 0x100 == 0 { eax & !0xff | 1 } else { eax }, ebx, ecx, edx },
            _ => CpuidResult { eax, ebx, ecx, edx },
        }
    }

    fn xgetbv(&mut self) -> u64 {
        u64::from(self.word(u32::MAX, 0, 0))
    }
}

proptest! {
    /// Whatever a hypervisor makes up, the thresholds keep memcpy's loops sound, and nothing panics or hangs.
    #[test]
    fn nonsense_gives_sound_thresholds(seed: u64, vendor in 0..5usize, release in 0..tables::ALL.len()) {
        let name = |text: &[u8; 12]| {
            let word = |at: usize| u32::from_le_bytes(text[at..at + 4].try_into().unwrap());
            [word(0), word(8), word(4)]
        };
        let names = [b"GenuineIntel", b"AuthenticAMD", b"HygonGenuine", b"CentaurHauls"];
        let processor = Nonsense { seed, vendor: names.get(vendor).map(|text| name(text)) };
        let filled = Filled::with(tables::ALL[release].version.minor, processor, &NoTunables);
        let [_, _, non_temporal, rep_movsb, _, rep_stosb] = filled.thresholds();
        prop_assert!((0x4040..=u64::MAX >> 4).contains(&non_temporal));
        prop_assert!(rep_movsb >= 2048 && rep_stosb >= 2048);
        prop_assert_ne!(filled.basic()[0], 0, "a kind of 0 would mean that nothing was filled");
    }
}
