//! The `glibc.cpu` tunables that decide about `struct cpu_features`: what users may set, and what glibc writes back.

/// A `glibc.cpu` tunable that holds a size in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CpuTunable {
    DataCacheSize,
    SharedCacheSize,
    NonTemporalThreshold,
    /// From 2.39.
    MemsetNonTemporalThreshold,
    RepMovsbThreshold,
    RepStosbThreshold,
}

impl CpuTunable {
    /// The name that `GLIBC_TUNABLES` knows it by.
    pub const fn name(self) -> &'static str {
        match self {
            CpuTunable::DataCacheSize => "glibc.cpu.x86_data_cache_size",
            CpuTunable::SharedCacheSize => "glibc.cpu.x86_shared_cache_size",
            CpuTunable::NonTemporalThreshold => "glibc.cpu.x86_non_temporal_threshold",
            CpuTunable::MemsetNonTemporalThreshold => "glibc.cpu.x86_memset_non_temporal_threshold",
            CpuTunable::RepMovsbThreshold => "glibc.cpu.x86_rep_movsb_threshold",
            CpuTunable::RepStosbThreshold => "glibc.cpu.x86_rep_stosb_threshold",
        }
    }
}

/// What the user set. `glibc.cpu.x86_ibt` and `x86_shstk` are missing: they steer the loader's use of shadow stacks and
/// leave no trace in the structure.
pub trait CpuTunables {
    /// `glibc.cpu.hwcaps`: comma-separated features to use, or not to use with a leading `-`.
    fn hwcaps(&self) -> Option<&[u8]>;
    /// A size, only if the user set it, already within the bounds of glibc's own list.
    fn size(&self, tunable: CpuTunable) -> Option<u64>;
    /// `glibc.cpu.prefer_map_32bit_exec`, from 2.38.
    fn prefer_map_32bit_exec(&self) -> bool;
}

/// Nothing was set.
#[derive(Clone, Copy, Debug)]
pub struct NoTunables;

impl CpuTunables for NoTunables {
    fn hwcaps(&self) -> Option<&[u8]> {
        None
    }

    fn size(&self, _: CpuTunable) -> Option<u64> {
        None
    }

    fn prefer_map_32bit_exec(&self) -> bool {
        false
    }
}

/// A value that glibc stores into a tunable once it knows the processor, with the bounds that hold from then on. The
/// tunable counts as set afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TunableUpdate {
    pub tunable: CpuTunable,
    pub value: u64,
    pub min: u64,
    pub max: u64,
}

/// All of them, for one release.
#[derive(Clone, Debug, Default)]
pub struct TunableUpdates {
    updates: [Option<TunableUpdate>; 6],
}

impl TunableUpdates {
    pub(super) fn new(updates: [Option<TunableUpdate>; 6]) -> TunableUpdates {
        TunableUpdates { updates }
    }

    pub fn iter(&self) -> impl Iterator<Item = &TunableUpdate> {
        self.updates.iter().flatten()
    }
}
