//! Which of several usable code paths is the faster one, by vendor and model; and features that a model has but should
//! not be used (*glibc sysdeps/x86/cpu-features.c, init_cpu_features*).

use super::Cpu;
use super::features::feature;
use super::processor::Vendor;
use super::rules::Rules;
use crate::layout::Version;

bitflags::bitflags! {
    /// `preferred[0]`, numbered as 2.41 and later do (*cpu-features-preferred_feature_index_1.def*).
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(super) struct Preferred: u32 {
        const FAST_REP_STRING = 1 << 0;
        const FAST_COPY_BACKWARD = 1 << 1;
        const SLOW_BSF = 1 << 2;
        const FAST_UNALIGNED_LOAD = 1 << 3;
        const PREFER_PMINUB_FOR_STRINGOP = 1 << 4;
        const FAST_UNALIGNED_COPY = 1 << 5;
        const I586 = 1 << 6;
        const I686 = 1 << 7;
        const SLOW_SSE4_2 = 1 << 8;
        const AVX_FAST_UNALIGNED_LOAD = 1 << 9;
        const PREFER_MAP_32BIT_EXEC = 1 << 10;
        const PREFER_NO_VZEROUPPER = 1 << 11;
        const PREFER_ERMS = 1 << 12;
        const PREFER_NO_AVX512 = 1 << 13;
        const MATHVEC_PREFER_NO_AVX512 = 1 << 14;
        const PREFER_FSRM = 1 << 15;
        const AVOID_SHORT_DISTANCE_REP_MOVSB = 1 << 16;
        const AVOID_NON_TEMPORAL_MEMSET = 1 << 17;
        const AVOID_STOSB = 1 << 18;
    }
}

/// What the bits of `preferred[0]` are called, from the lowest on, in a release
/// (*cpu-features-preferred_feature_index_1.def*).
pub fn preferred_names(version: Version) -> impl Iterator<Item = &'static str> {
    const NAMES: &str = "\
        Fast_Rep_String Fast_Copy_Backward Slow_BSF Fast_Unaligned_Load Prefer_PMINUB_for_stringop Fast_Unaligned_Copy \
        I586 I686 Slow_SSE4_2 AVX_Fast_Unaligned_Load Prefer_MAP_32BIT_EXEC Prefer_No_VZEROUPPER Prefer_ERMS \
        Prefer_No_AVX512 MathVec_Prefer_No_AVX512 Prefer_FSRM Avoid_Short_Distance_REP_MOVSB Avoid_Non_Temporal_Memset \
        Avoid_STOSB";
    let since = |name: &str| match name {
        "Prefer_MAP_32BIT_EXEC" => 38,
        "Avoid_Non_Temporal_Memset" => 40,
        "Avoid_STOSB" => 41,
        _ => 0,
    };
    NAMES.split(' ').filter(move |name| version.minor >= since(name))
}

impl Preferred {
    /// The word as the release numbers it: before 2.38 there was no `Prefer_MAP_32BIT_EXEC`, and what follows it
    /// stood one bit lower.
    pub fn word(self, rules: &Rules) -> u32 {
        if rules.prefer_map_32bit_exec {
            return self.bits();
        }
        let before = Preferred::PREFER_MAP_32BIT_EXEC.bits() - 1;
        (self.bits() & before) | (self.bits() >> 1 & !before)
    }
}

/// Unaligned accesses are fast: what Silvermont brought to Atom.
const UNALIGNED: Preferred =
    Preferred::FAST_UNALIGNED_LOAD.union(Preferred::FAST_UNALIGNED_COPY).union(Preferred::PREFER_PMINUB_FOR_STRINGOP);
/// What Nehalem and all later Core processors have.
const CORE: Preferred = UNALIGNED.union(Preferred::FAST_REP_STRING);

/// Intel micro-architectures, as far as they are tuned differently.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Intel {
    /// Bonnell and Saltwell.
    Bonnell,
    /// Silvermont, Airmont, Goldmont, Goldmont Plus; Knights Landing has the same core.
    Silvermont,
    Tremont,
    /// Nehalem and Westmere: fast strings without AVX.
    Nehalem,
    /// Sandy Bridge to Broadwell.
    SandyBridge,
    /// Skylake servers and Cannon Lake.
    SkylakeServer,
    /// Skylake and later, and hybrids.
    Skylake,
    Unknown,
}

impl Intel {
    fn of(family: u32, model: u32, rules: &Rules) -> Intel {
        match (family, model) {
            (6, 0x1c | 0x26) => Intel::Bonnell,
            (6, 0x27 | 0x35 | 0x36) if rules.divisor_by_model => Intel::Bonnell,
            (6, 0x37 | 0x4a | 0x4c | 0x4d | 0x57 | 0x5a | 0x5c | 0x5d | 0x5f | 0x75 | 0x7a) => Intel::Silvermont,
            (6, 0x86 | 0x96 | 0x9c) => Intel::Tremont,
            (6, 0x1a | 0x1e | 0x1f | 0x25 | 0x2c | 0x2e | 0x2f) => Intel::Nehalem,
            (6, 0x2a | 0x2d | 0x3a | 0x3c | 0x3d | 0x3e | 0x3f | 0x45 | 0x46 | 0x47 | 0x4f | 0x56) => {
                Intel::SandyBridge
            }
            (6, 0x55 | 0x66) => Intel::SkylakeServer,
            // Skylake, Kaby Lake, Comet Lake, Ice Lake, Tiger Lake, Rocket Lake.
            (6, 0x4e | 0x5e | 0x8e | 0x9e | 0xa5 | 0xa6 | 0x6a | 0x6c | 0x7d | 0x7e | 0x9d | 0x8c | 0x8d | 0xa7)
            // Lakefield, Alder Lake, Raptor Lake, Meteor Lake, Lunar Lake, Arrow Lake.
            | (6, 0x8a | 0x97 | 0x9a | 0xbe | 0xb7 | 0xba | 0xbf | 0xaa | 0xac | 0xbd | 0xc6)
            // Sapphire Rapids, Emerald Rapids, Granite Rapids.
            | (6, 0x8f | 0xcf | 0xad | 0xae) => Intel::Skylake,
            // More of Arrow Lake, Panther Lake, Wildcat Lake; Nova Lake; Diamond Rapids.
            (6, 0xb5 | 0xc5 | 0xcc | 0xd5) | (18, 0x01 | 0x03) | (19, 0x01) if rules.intel_beyond_family_6 => {
                Intel::Skylake
            }
            _ => Intel::Unknown,
        }
    }
}

/// Sets the preferred bits and the divisor of the non-temporal threshold, and withdraws features that a model's
/// errata or its speed speak against.
pub(super) fn tune(cpu: &mut Cpu, avx2: bool, rules: &Rules) {
    if avx2 {
        cpu.preferred |= Preferred::AVX_FAST_UNALIGNED_LOAD;
    }
    if rules.memset_non_temporal && matches!(cpu.identity.vendor, Vendor::Zhaoxin | Vendor::Other) {
        cpu.preferred |= Preferred::AVOID_NON_TEMPORAL_MEMSET;
    }
    match cpu.identity.vendor {
        Vendor::Intel => tune_intel(cpu, rules),
        Vendor::Amd => tune_amd(cpu),
        Vendor::Zhaoxin => tune_zhaoxin(cpu, rules),
        Vendor::Hygon => tune_hygon(cpu, rules),
        Vendor::Other => {}
    }
    if cpu.features.present(feature::CX8) {
        cpu.preferred |= Preferred::I586;
    }
    if cpu.features.present(feature::CMOV) {
        cpu.preferred |= Preferred::I686;
    }
    if rules.avoid_stosb && !cpu.features.active(feature::ERMS) {
        cpu.preferred |= Preferred::AVOID_STOSB;
    }
}

fn tune_intel(cpu: &mut Cpu, rules: &Rules) {
    let (family, model) = (cpu.identity.family, cpu.identity.model);
    let tuned = family == 6 || rules.intel_beyond_family_6;
    let microarchitecture = Intel::of(family, model, rules);
    let with_avx = if cpu.features.present(feature::AVX) { CORE } else { Preferred::empty() };
    cpu.preferred |= match microarchitecture {
        _ if !tuned => Preferred::empty(),
        Intel::Bonnell => Preferred::SLOW_BSF,
        Intel::Silvermont => UNALIGNED | Preferred::SLOW_SSE4_2,
        Intel::Tremont => CORE | Preferred::SLOW_SSE4_2,
        Intel::Nehalem => CORE,
        Intel::SkylakeServer if rules.memset_non_temporal => with_avx | Preferred::AVOID_NON_TEMPORAL_MEMSET,
        _ => with_avx,
    };
    if rules.divisor_by_model {
        cpu.non_temporal_divisor = match microarchitecture {
            Intel::Nehalem | Intel::SandyBridge => 8,
            Intel::SkylakeServer | Intel::Skylake => 2,
            _ => 4,
        };
    }
    if family == 6 {
        withdraw_tsx(cpu);
    }

    // Only Xeon Phi has AVX512ER, and it has no penalty to avoid. Others lower their clock for 512-bit moves, until
    // the generation that has AVX-VNNI.
    if cpu.features.present(feature::AVX512ER) {
        cpu.preferred |= Preferred::PREFER_NO_VZEROUPPER;
    } else {
        if !cpu.features.present(feature::AVX_VNNI) {
            cpu.preferred |= Preferred::PREFER_NO_AVX512;
        }
        // VZEROUPPER aborts a transaction.
        if cpu.features.active(feature::RTM) {
            cpu.preferred |= Preferred::PREFER_NO_VZEROUPPER;
        }
    }
    if cpu.features.present(feature::FSRM) {
        cpu.preferred |= Preferred::AVOID_SHORT_DISTANCE_REP_MOVSB;
    }
}

/// Transactional memory is broken in these, whether or not their microcode says so.
fn withdraw_tsx(cpu: &mut Cpu) {
    match (cpu.identity.model, cpu.identity.stepping) {
        (0x55, 0..=5) | (0x8e | 0x9e, 0..=0xc) | (0x4e | 0x5e, _) => {
            cpu.features.disable(&[feature::HLE, feature::RTM]);
            cpu.features.set(feature::RTM_ALWAYS_ABORT);
        }
        (0x3f, 0..=3) | (0x3c | 0x45 | 0x46, _) => cpu.features.disable(&[feature::RTM]),
        _ => {}
    }
}

fn tune_amd(cpu: &mut Cpu) {
    if cpu.features.active(feature::AVX) {
        cpu.features.enable(&[feature::FMA4]);
    }
    // Excavator.
    if cpu.identity.family == 0x15 && (0x60..=0x7f).contains(&cpu.identity.model) {
        cpu.preferred |= Preferred::FAST_UNALIGNED_LOAD | Preferred::FAST_COPY_BACKWARD;
        cpu.preferred -= Preferred::AVX_FAST_UNALIGNED_LOAD;
    }
}

fn tune_zhaoxin(cpu: &mut Cpu, rules: &Rules) {
    let (avx_is_slow, sse42_is_slow) = match (cpu.identity.family, cpu.identity.model) {
        (6, 0xf | 0x19) | (7, 0x1b) => (true, true),
        (7, 0x3b) => (true, false),
        (7, model @ (0x5b | 0x6b)) if rules.zhaoxin_2024 => {
            if model == 0x5b {
                cpu.non_temporal_divisor = 2;
            }
            cpu.preferred -= Preferred::AVX_FAST_UNALIGNED_LOAD;
            cpu.preferred |= Preferred::PREFER_NO_VZEROUPPER | Preferred::FAST_UNALIGNED_LOAD;
            return;
        }
        _ => return,
    };
    if avx_is_slow {
        cpu.features.disable(&[feature::AVX, feature::AVX2]);
        cpu.preferred -= Preferred::AVX_FAST_UNALIGNED_LOAD;
    }
    if sse42_is_slow {
        cpu.preferred |= Preferred::SLOW_SSE4_2;
    }
}

fn tune_hygon(cpu: &mut Cpu, rules: &Rules) {
    if !rules.hygon_models {
        return;
    }
    match cpu.identity.model {
        0..4 => cpu.preferred -= Preferred::AVX_FAST_UNALIGNED_LOAD,
        7 => cpu.preferred |= Preferred::PREFER_NO_AVX512,
        _ => {}
    }
}
