//! `struct cpu_features`, filled byte for byte as the glibc at hand would have filled it.
//!
//! libc's IFUNC resolvers, its string functions' thresholds and `sysconf` read this structure from `_rtld_global_ro`, and
//! take on trust that the loader filled it before the first resolver runs. The rules differ by vendor and by release;
//! there is one body of code, and what differs between releases is named in [`rules`]. The order of the steps is
//! *glibc sysdeps/x86/cpu-features.c, init_cpu_features*, for cache sizes are computed before the user's
//! `glibc.cpu.hwcaps` takes features away.
//!
//! The same facts choose the `glibc-hwcaps` directories, before it is known which libc will be loaded: [`isa_level`]
//! shares its [`Memo`] with [`fill`], so that no CPUID leaf is asked twice.

mod cache;
mod dump;
mod features;
mod hwcaps_tunable;
mod isa;
mod preferred;
mod processor;
pub mod record;
mod rules;
mod thresholds;
mod tunable;
mod xsave;

#[cfg(test)]
mod samples;
#[cfg(test)]
mod tests;

pub use dump::{Dump, Place};
pub use isa::Levels;
pub use preferred::preferred_names;
pub use processor::{CpuidResult, Memo, OSXSAVE, Processor};
pub use tunable::{CpuTunable, CpuTunables, NoTunables, TunableUpdate, TunableUpdates};
pub use xsave::StateSave;

use crate::layout::{CpuFeatures, Layout, Offset};
use cache::Caches;
use features::{Features, feature};
use preferred::Preferred;
use processor::{Identity, Vendor};
use rules::Rules;
use thresholds::Thresholds;
use xsave::XsaveArea;

/// What the kernel says in the auxiliary vector, less what the processor says itself.
#[derive(Clone, Copy, Debug, Default)]
pub struct Kernel {
    /// `AT_HWCAP2`: glibc 2.38 and later take the usability of FSGSBASE from it.
    pub hwcap2: u64,
    /// `AT_MINSIGSTKSZ`; 0 when the kernel did not send it.
    pub minsigstksz: u64,
}

/// What follows from the processor and belongs elsewhere than in `struct cpu_features`.
#[derive(Clone, Debug)]
pub struct Summary {
    /// `isa_1`: `GNU_PROPERTY_X86_ISA_1_*` bits of the processor, before tunables.
    pub isa_1: u32,
    /// The levels left after tunables: which `glibc-hwcaps` directories are searched.
    pub levels: Levels,
    /// `_dl_minsigstacksize`, in bytes.
    pub minsigstacksize: u64,
    /// `_dl_platform` where glibc replaces `AT_PLATFORM`.
    pub platform: Option<&'static str>,
    /// `_dl_hwcap`.
    pub hwcap: u64,
    /// Bytes of stack that a lazy-binding trampoline needs for the vector state; 0 when only FXSAVE can be used, and what
    /// follows is about the whole extent only.
    pub xsave_state_size: u64,
    /// The same for a dynamic TLS descriptor call, which saves the AMX state too.
    pub tlsdesc_state_size: u64,
    /// Bytes of the area for all state that arguments and results of functions may be in, AMX's too, whatever the release
    /// saves of it; 0 as above.
    pub whole_state_size: u64,
    pub state_save: StateSave,
    /// What glibc writes back into its `glibc.cpu.x86_*` tunables.
    pub tunables: TunableUpdates,
}

/// `_dl_hwcap` of every x86-64 processor (*glibc sysdeps/x86/dl-hwcap.h*).
const HWCAP_X86_64: u64 = 1 << 1;
const HWCAP_X86_AVX512_1: u64 = 1 << 2;

/// The processor as one glibc release sees it, between CPUID and the structure.
struct Cpu {
    identity: Identity,
    features: Features,
    preferred: Preferred,
    isa_1: u32,
    xsave: XsaveArea,
    /// Which part of the shared cache one copy may fill before it should bypass the cache.
    non_temporal_divisor: u64,
}

impl Cpu {
    /// Everything up to, and without, cache sizes and tunables (*init_cpu_features* up to *dl_init_cacheinfo*).
    fn detect<P: Processor>(memo: &mut Memo<P>, rules: &Rules, leaves: usize, kernel: &Kernel) -> Cpu {
        let identity = Identity::read(memo, rules);
        let mut features = Features::read(memo, &identity, leaves);
        let avx2 = features.activate(memo, &identity, rules, kernel.hwcap2);
        let isa_1 = isa::property(&features);
        let mut cpu = Cpu {
            identity,
            features,
            preferred: Preferred::empty(),
            isa_1,
            xsave: XsaveArea::default(),
            non_temporal_divisor: 4,
        };
        preferred::tune(&mut cpu, avx2, rules);
        cpu
    }

    /// What the user takes away, and what cannot stay without it.
    fn restrict(&mut self, tunables: &impl CpuTunables, rules: &Rules) {
        if let Some(list) = tunables.hwcaps() {
            hwcaps_tunable::apply(self, list, rules);
        }
        if rules.prefer_map_32bit_exec && tunables.prefer_map_32bit_exec() {
            self.preferred |= Preferred::PREFER_MAP_32BIT_EXEC;
        }
        if self.features.drop_unsaved() {
            self.xsave.state_size = 0;
        }
    }

    /// `_dl_platform` and `_dl_hwcap` (*init_cpu_features*, its last part).
    fn platform(&self) -> (Option<&'static str>, u64) {
        let usable = |wanted: &[_]| wanted.iter().all(|&f| self.features.active(f));
        let mut hwcap = HWCAP_X86_64;
        if self.identity.vendor != Vendor::Intel {
            return (None, hwcap);
        }
        let mut platform = None;
        if usable(&[feature::AVX512CD]) {
            if usable(&[feature::AVX512ER]) {
                platform = usable(&[feature::AVX512PF]).then_some("xeon_phi");
            } else if usable(&[feature::AVX512BW, feature::AVX512DQ, feature::AVX512VL]) {
                hwcap |= HWCAP_X86_AVX512_1;
            }
        }
        use feature::{AVX2, BMI1, BMI2, FMA, LZCNT, MOVBE, POPCNT};
        if platform.is_none() && usable(&[AVX2, FMA, BMI1, BMI2, LZCNT, MOVBE, POPCNT]) {
            platform = Some("haswell");
        }
        (platform, hwcap)
    }
}

/// How much of the structure is filled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// What the code of libc and its family reads: the leaves of its IFUNC resolvers, caches and thresholds.
    Libc,
    /// All that programs may ask for (`__x86_get_cpuid_feature_leaf`), and the size of the extended state, which only a
    /// loader needs.
    Whole,
}

/// Fills `out`, `layout.cpu.size` zeroed bytes, as glibc `layout.version` would.
///
/// Asks the processor for each CPUID leaf at most once, and only for those whose answer is in what is to be filled.
pub fn fill<P: Processor>(
    layout: &Layout,
    memo: &mut Memo<P>,
    kernel: &Kernel,
    tunables: &impl CpuTunables,
    extent: Extent,
    out: &mut [u8],
) -> Summary {
    let rules = Rules::of(layout.version);
    let leaves = match extent {
        Extent::Libc => features::LEAVES_OF_LIBC,
        Extent::Whole => usize::from(layout.cpu.leaves),
    };
    let mut cpu = Cpu::detect(memo, &rules, leaves, kernel);
    if extent == Extent::Whole {
        cpu.xsave = XsaveArea::measure(memo, &cpu.identity, &cpu.features, &rules);
    }
    let caches = Caches::measure(memo, &cpu, &rules);
    let (thresholds, updates) = Thresholds::choose(&cpu, &caches, tunables, &rules);
    cpu.restrict(tunables, &rules);

    Record { out }.write(&layout.cpu, &cpu, &caches, &thresholds, &rules);

    let (platform, hwcap) = cpu.platform();
    Summary {
        isa_1: cpu.isa_1,
        levels: Levels::of(&cpu.features),
        minsigstacksize: xsave::minsigstacksize(memo, &cpu.identity, &cpu.features, kernel.minsigstksz),
        platform,
        hwcap,
        xsave_state_size: cpu.xsave.state_size,
        tlsdesc_state_size: cpu.xsave.tlsdesc_size,
        whole_state_size: cpu.xsave.whole_size,
        state_save: StateSave::of(&cpu.xsave, &cpu.features),
        tunables: updates,
    }
}

/// The micro-architecture levels that programs may use, for the choice of `glibc-hwcaps` directories.
///
/// Usable before the libc is known: the rules that decide about the levels are the same in all supported releases
/// (*glibc sysdeps/x86_64/dl-hwcaps-subdirs.c*). Every leaf asked here is one that [`fill`] needs.
pub fn isa_level<P: Processor>(memo: &mut Memo<P>, tunables: &impl CpuTunables) -> Levels {
    // No level asks for AVX10, and fewer releases than have levels know its leaf.
    let rules = Rules { avx10: false, ..Rules::newest() };
    let mut cpu = Cpu::detect(memo, &rules, features::LEAVES_OF_LIBC, &Kernel::default());
    cpu.restrict(tunables, &rules);
    Levels::of(&cpu.features)
}

/// The structure's bytes, written in the machine's own order.
struct Record<'a> {
    out: &'a mut [u8],
}

impl Record<'_> {
    fn write(&mut self, at: &CpuFeatures, cpu: &Cpu, caches: &Caches, thresholds: &Thresholds, rules: &Rules) {
        let id = &cpu.identity;
        // `basic` opens the structure in every release.
        for (i, word) in [id.vendor.kind(rules), id.max_leaf, id.family, id.model, id.stepping].into_iter().enumerate()
        {
            self.u32(i * 4, word);
        }
        for (leaf, words) in cpu.features.words(usize::from(at.leaves)).enumerate() {
            for (i, word) in words.into_iter().enumerate() {
                self.u32(usize::from(at.features) + leaf * 32 + i * 4, word);
            }
        }
        self.u32(usize::from(at.preferred), cpu.preferred.word(rules));
        self.u32(usize::from(at.isa_1), cpu.isa_1);
        self.u64(at.xsave_state_size, cpu.xsave.state_size);
        self.u32(usize::from(at.xsave_state_full_size), cpu.xsave.full_size);

        self.u64(at.data_cache_size, thresholds.data);
        self.u64(at.shared_cache_size, thresholds.shared);
        self.u64(at.non_temporal_threshold, thresholds.non_temporal);
        self.optional(at.memset_non_temporal_threshold, thresholds.memset_non_temporal);
        self.u64(at.rep_movsb_threshold, thresholds.rep_movsb);
        self.u64(at.rep_movsb_stop_threshold, thresholds.rep_movsb_stop);
        self.u64(at.rep_stosb_threshold, thresholds.rep_stosb);

        self.u64(at.level1_icache_size, caches.level1i.size as u64);
        self.u64(at.level1_icache_linesize, caches.level1i.line as u64);
        self.u64(at.level1_dcache_size, caches.level1d.size as u64);
        self.u64(at.level1_dcache_assoc, caches.level1d.ways as u64);
        self.u64(at.level1_dcache_linesize, caches.level1d.line as u64);
        self.u64(at.level2_cache_size, caches.level2.size as u64);
        self.u64(at.level2_cache_assoc, caches.level2.ways as u64);
        self.u64(at.level2_cache_linesize, caches.level2.line as u64);
        self.u64(at.level3_cache_size, caches.level3.size as u64);
        self.u64(at.level3_cache_assoc, caches.level3.ways as u64);
        self.u64(at.level3_cache_linesize, caches.level3.line as u64);
        self.u64(at.level4_cache_size, caches.level4_size as u64);
        self.optional(at.cachesize_non_temporal_divisor, cpu.non_temporal_divisor);
    }

    fn u32(&mut self, at: usize, value: u32) {
        self.bytes(at, &value.to_ne_bytes());
    }

    fn u64(&mut self, at: Offset, value: u64) {
        self.bytes(usize::from(at), &value.to_ne_bytes());
    }

    fn optional(&mut self, at: Option<Offset>, value: u64) {
        if let Some(at) = at {
            self.u64(at, value);
        }
    }

    /// A field outside `out` means a caller that gave less than `layout.cpu.size` bytes; nothing is written then.
    fn bytes(&mut self, at: usize, bytes: &[u8]) {
        let slot = self.out.get_mut(at..at + bytes.len());
        debug_assert!(slot.is_some(), "cpu_features is shorter than its layout");
        if let Some(slot) = slot {
            slot.copy_from_slice(bytes);
        }
    }
}
