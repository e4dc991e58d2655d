//! From which size on a string function uses which method: cached stores, `rep movsb`, stores that bypass the cache
//! (*glibc sysdeps/x86/dl-cacheinfo.h, dl_init_cacheinfo*, its second half).

use super::Cpu;
use super::cache::Caches;
use super::features::feature;
use super::preferred::Preferred;
use super::processor::Vendor;
use super::rules::Rules;
use super::tunable::{CpuTunable, CpuTunables, TunableUpdate, TunableUpdates};

/// The bounds of both non-temporal thresholds: room for one round of the four-page loop and its alignment; and no
/// overflow when memmove scales the value by 16.
const MIN_NON_TEMPORAL: u64 = 0x4040;
const MAX_NON_TEMPORAL: u64 = u64::MAX >> 4;
/// The threshold where the cache could not be measured.
const FALLBACK_NON_TEMPORAL: u64 = 64 << 20;
/// What `rep stosb` is worth from; the default of the tunable.
const REP_STOSB: u64 = 2048;

/// Sizes in bytes, as the structure holds them.
pub(super) struct Thresholds {
    pub data: u64,
    pub shared: u64,
    pub non_temporal: u64,
    pub memset_non_temporal: u64,
    pub rep_movsb: u64,
    pub rep_movsb_stop: u64,
    pub rep_stosb: u64,
}

impl Thresholds {
    /// Chooses by processor and user, and says what the tunables hold from now on.
    pub fn choose(
        cpu: &Cpu,
        caches: &Caches,
        tunables: &impl CpuTunables,
        rules: &Rules,
    ) -> (Thresholds, TunableUpdates) {
        let amd = cpu.identity.vendor == Vendor::Amd;
        let measured = non_temporal(cpu, caches, rules);
        let vector = vector_bytes(cpu);

        let mut rep_movsb = if vector == 16 { 2048 } else { 4096 * (vector / 16) };
        if cpu.features.active(feature::FSRM) {
            rep_movsb = 2112;
        }
        if amd && rules.amd_avoids_rep {
            rep_movsb = measured;
        }
        let min_rep_movsb = vector * 8;

        // A user's size of 0 means the measured one, and one out of bounds is passed over.
        let size = |tunable, otherwise| tunables.size(tunable).filter(|&size| size != 0).unwrap_or(otherwise);
        let within = |tunable, otherwise| {
            let allowed = |&size: &u64| size > MIN_NON_TEMPORAL && size <= MAX_NON_TEMPORAL;
            tunables.size(tunable).filter(allowed).unwrap_or(otherwise)
        };
        let data = size(CpuTunable::DataCacheSize, caches.level1d.size as u64);
        let shared = size(CpuTunable::SharedCacheSize, caches.shared as u64);
        let non_temporal = within(CpuTunable::NonTemporalThreshold, measured);
        let avoided = cpu.preferred.contains(Preferred::AVOID_NON_TEMPORAL_MEMSET);
        let memset_non_temporal =
            within(CpuTunable::MemsetNonTemporalThreshold, if avoided { u64::MAX } else { measured });
        let rep_movsb =
            tunables.size(CpuTunable::RepMovsbThreshold).filter(|&size| size > min_rep_movsb).unwrap_or(rep_movsb);
        let mut rep_stosb = tunables.size(CpuTunable::RepStosbThreshold).unwrap_or(if amd && rules.amd_avoids_rep {
            u64::MAX
        } else {
            REP_STOSB
        });
        // memset reaches its non-temporal loop by way of `rep stosb`'s threshold only.
        if cpu.preferred.contains(Preferred::AVOID_STOSB) {
            rep_stosb = memset_non_temporal;
        }
        let rep_movsb_stop = if amd && !rules.amd_avoids_rep { caches.level2.size as u64 } else { non_temporal };

        let update = |tunable, value, min, max| Some(TunableUpdate { tunable, value, min, max });
        let updates = TunableUpdates::new([
            update(CpuTunable::DataCacheSize, data, 0, u64::MAX),
            update(CpuTunable::SharedCacheSize, shared, 0, u64::MAX),
            update(CpuTunable::NonTemporalThreshold, non_temporal, MIN_NON_TEMPORAL, MAX_NON_TEMPORAL),
            update(CpuTunable::MemsetNonTemporalThreshold, memset_non_temporal, MIN_NON_TEMPORAL, u64::MAX)
                .filter(|_| rules.memset_non_temporal),
            update(CpuTunable::RepMovsbThreshold, rep_movsb, min_rep_movsb, u64::MAX),
            update(CpuTunable::RepStosbThreshold, rep_stosb, 1, u64::MAX),
        ]);
        let thresholds =
            Thresholds { data, shared, non_temporal, memset_non_temporal, rep_movsb, rep_movsb_stop, rep_stosb };
        (thresholds, updates)
    }
}

/// Where copies begin to bypass the cache, by what was measured.
fn non_temporal(cpu: &Cpu, caches: &Caches, rules: &Rules) -> u64 {
    // A cache of -1 bytes, an unknown one, is divided as a C long in old releases and as an unsigned one in new.
    let part = if rules.divisor_by_model {
        caches.shared as u64 / cpu.non_temporal_divisor
    } else {
        (caches.shared / 4) as u64
    };
    let own_share = (caches.shared_per_thread.wrapping_mul(3) / 4) as u64;
    // Without ERMS a thread keeps to its own share: ordinary stores give the cache no hint to spare other lines.
    let may_take_part =
        cpu.features.active(feature::ERMS) || rules.zhaoxin_2024 && cpu.identity.vendor == Vendor::Zhaoxin;
    let threshold = if may_take_part { part.max(own_share) } else { own_share };
    match threshold {
        ..MIN_NON_TEMPORAL if rules.generous_fallback => FALLBACK_NON_TEMPORAL,
        _ => threshold.clamp(MIN_NON_TEMPORAL, MAX_NON_TEMPORAL),
    }
}

/// The vectors that memmove will use.
fn vector_bytes(cpu: &Cpu) -> u64 {
    if cpu.features.active(feature::AVX512F) && !cpu.preferred.contains(Preferred::PREFER_NO_AVX512) {
        64
    } else if cpu.preferred.contains(Preferred::AVX_FAST_UNALIGNED_LOAD) {
        32
    } else {
        16
    }
}
