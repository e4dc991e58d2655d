//! How many threads share the last level of cache, and so what one of them may count on.

use super::super::Cpu;
use super::super::features::feature;
use super::super::processor::{Identity, Memo, Processor, Vendor};
use super::deterministic::{MAX_CACHES, Parameters};
use super::{Caches, amd};

/// Leaf 0xb: the levels of the processor's topology, threads of a core first.
const TOPOLOGY: u32 = 0xb;
const SMT: u32 = 1;
const CORE: u32 = 2;
/// Leaf 0xb has two levels in the processors that this rule was written for; more are not waited for.
const MAX_LEVELS: u32 = 16;

/// Intel's and Zhaoxin's rule: leaf 4 says who shares a cache, leaf 0xb how many of them exist
/// (*glibc sysdeps/x86/dl-cacheinfo.h, get_common_cache_info*).
pub(super) fn by_topology<P: Processor>(memo: &mut Memo<P>, cpu: &Cpu, caches: &mut Caches) {
    let core = caches.level2.size;
    let last_is_level3 = caches.shared > 0;
    if !last_is_level3 {
        caches.shared = core;
        caches.shared_per_thread = core;
    }
    let mut sharers = Sharers { level2: 0, level3: 0, level3_inclusive: true };
    if cpu.features.present(feature::HTT) {
        let threads = count_threads(memo, cpu, last_is_level3, &mut sharers)
            // Without that information all logical processors are taken to share it.
            .unwrap_or_else(|| cpu.features.logical_processors());
        if caches.shared_per_thread > 0 && threads > 0 {
            caches.shared_per_thread /= i64::from(threads);
        }
    }
    if !sharers.level3_inclusive {
        let share = if sharers.level2 > 0 { core / i64::from(sharers.level2) } else { core };
        caches.shared_per_thread += share;
        caches.shared += core;
    }
}

/// Threads that share level 2 and level 3: first the highest number of one, then their count; 0 when unknown.
struct Sharers {
    level2: i32,
    level3: i32,
    level3_inclusive: bool,
}

/// The threads that share the last level, 0 if that cannot be told; `None` where leaf 4 is missing or breaks off.
fn count_threads<P: Processor>(
    memo: &mut Memo<P>,
    cpu: &Cpu,
    last_is_level3: bool,
    sharers: &mut Sharers,
) -> Option<u32> {
    let id = &cpu.identity;
    if id.max_leaf < 4 {
        return None;
    }
    let (mut seek_level2, mut seek_level3) = (true, last_is_level3);
    for subleaf in 0..MAX_CACHES {
        if !(seek_level2 || seek_level3) {
            break;
        }
        let parameters = Parameters::read(memo, subleaf);
        // Some Pentium D stop short of the caches that they have.
        if id.vendor == Vendor::Intel && parameters.is_null() {
            return None;
        }
        match parameters.level() {
            2 if seek_level2 => {
                sharers.level2 = parameters.sharing();
                seek_level2 = false;
            }
            3 if seek_level3 => {
                sharers.level3 = parameters.sharing();
                sharers.level3_inclusive = parameters.is_inclusive();
                seek_level3 = false;
            }
            _ => {}
        }
    }
    // Leaf 4 counts numbers that may be assigned; leaf 0xb those that are. Zhaoxin's family 6 does not support that.
    if id.max_leaf >= TOPOLOGY && !(id.vendor == Vendor::Zhaoxin && id.family == 6) {
        count_existing(memo, last_is_level3, sharers);
    }
    for count in [&mut sharers.level2, &mut sharers.level3] {
        if *count > 0 {
            *count += 1;
        }
    }
    let threads = if last_is_level3 { sharers.level3 } else { sharers.level2 } as u32;
    // Silvermont's level 2 belongs to two cores, whatever leaf 4 says.
    let silvermont =
        id.vendor == Vendor::Intel && id.family == 6 && matches!(id.model, 0x37 | 0x4a | 0x4d | 0x5a | 0x5d);
    Some(if !last_is_level3 && silvermont { threads.min(2) } else { threads })
}

/// Replaces highest numbers by what leaf 0xb counts, within the bits that the numbers need.
fn count_existing<P: Processor>(memo: &mut Memo<P>, last_is_level3: bool, sharers: &mut Sharers) {
    let mut seek_smt = last_is_level3 && sharers.level2 > 0;
    let mut seek_core = if last_is_level3 { sharers.level3 > 0 } else { sharers.level2 > 0 };
    for subleaf in 0..MAX_LEVELS {
        if !(seek_smt || seek_core) {
            return;
        }
        let answer = memo.cpuid(TOPOLOGY, subleaf);
        let (shipped, kind) = ((answer.ebx & 0xff) as i32, (answer.ecx >> 8) & 0xff);
        let count = match (shipped, kind) {
            (0, _) | (_, 0) => return,
            (_, SMT) if core::mem::take(&mut seek_smt) => &mut sharers.level2,
            (_, CORE) if core::mem::take(&mut seek_core) => {
                if last_is_level3 {
                    &mut sharers.level3
                } else {
                    &mut sharers.level2
                }
            }
            _ => continue,
        };
        // As many low bits as the highest number has.
        let mask = i32::MAX >> count.leading_zeros().saturating_sub(1);
        *count = (shipped - 1) & mask;
    }
}

/// AMD's rule up to 2.36: the whole last level by the number of threads, on Zen times those of a core complex
/// (*dl_init_cacheinfo*).
pub(super) fn amd_by_thread_count<P: Processor>(memo: &mut Memo<P>, id: &Identity, caches: &mut Caches) {
    let core = caches.level2.size;
    if caches.shared <= 0 {
        caches.shared = core;
        caches.shared_per_thread = core;
        return;
    }
    // What leaf 0x80000008 says counts only where leaf 1 does not.
    let logical = amd::logical_processors(memo);
    let mut threads = logical.filter(|_| id.family >= 0x17).unwrap_or(0);
    if (logical.is_none() || id.family < 0x17) && id.has_extended(memo, 0x8000_0008) {
        threads = 1 << ((memo.cpuid(0x8000_0008, 0).ecx >> 12) & 0xf);
    }
    if threads == 0 {
        threads = logical.unwrap_or(0);
    }
    if threads > 0 {
        caches.shared_per_thread /= i64::from(threads);
    }
    if id.family >= 0x17 {
        caches.shared_per_thread *= i64::from(amd::threads_per_complex(memo));
    } else {
        caches.shared += core;
        caches.shared_per_thread += core;
    }
}
