//! What differs between glibc releases, as named switches.
//!
//! A release is its branch's tip: fixes that change these rules were carried back to every release branch, and the
//! distributions whose layouts are included follow the branches.

use crate::layout::Version;

/// One switch a rule, named for what holds when it is on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    /// AMD caches are read from leaf 0x8000001d, and one thread's share of the last level is all of it.
    pub amd_cache_properties: bool,
    /// `Prefer_MAP_32BIT_EXEC` stands among the preferred bits, and is a tunable.
    pub prefer_map_32bit_exec: bool,
    /// The features that became known with 2.38: FSGSBASE by `AT_HWCAP2`, APX, the AVX-IFMA family.
    pub features_of_2_38: bool,
    /// The saved state leaves room for a TLS descriptor call's registers, and does without AMX.
    pub tlsdesc_save_area: bool,
    /// How much of the cache a copy may fill depends on the Intel micro-architecture.
    pub divisor_by_model: bool,
    /// A cache that could not be measured gives a threshold of 64 MiB, not of the least allowed.
    pub generous_fallback: bool,
    /// `glibc.cpu.hwcaps=SHSTK` can switch shadow stacks on.
    pub shstk_by_request: bool,
    /// AVX10 and leaf 0x24.
    pub avx10: bool,
    /// memset has a threshold of its own, and `Avoid_Non_Temporal_Memset`.
    pub memset_non_temporal: bool,
    /// AMD never uses `rep movsb` and `rep stosb` below the non-temporal threshold.
    pub amd_avoids_rep: bool,
    /// Intel's default tuning is for every family, not for family 6 alone; models named since then are known.
    pub intel_beyond_family_6: bool,
    /// Zhaoxin KH-40000 and KX-7000 are known, and ERMS does not matter for Zhaoxin's threshold.
    pub zhaoxin_2024: bool,
    /// Hygon is a kind of its own, no longer AMD's.
    pub hygon_apart: bool,
    /// `Avoid_STOSB` where ERMS is missing.
    pub avoid_stosb: bool,
    /// Hygon's models are told apart.
    pub hygon_models: bool,
}

impl Rules {
    pub fn of(version: Version) -> Rules {
        let since = |minor| version >= Version { major: 2, minor };
        Rules {
            amd_cache_properties: since(37),
            prefer_map_32bit_exec: since(38),
            features_of_2_38: since(38),
            tlsdesc_save_area: since(38),
            divisor_by_model: since(38),
            generous_fallback: since(38),
            shstk_by_request: since(38),
            avx10: since(39),
            memset_non_temporal: since(39),
            amd_avoids_rep: since(39),
            intel_beyond_family_6: since(39),
            zhaoxin_2024: since(40),
            hygon_apart: since(41),
            avoid_stosb: since(41),
            hygon_models: since(43),
        }
    }

    pub fn newest() -> Rules {
        Rules::of(Version { major: 2, minor: u16::MAX })
    }
}
