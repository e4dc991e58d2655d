//! Cache sizes as glibc measures them: each vendor's leaves, and how much of the last level a copy may count on.
//!
//! All values are C `long`s: 0 stands for "there is none" and -1 for "cannot be told", and both reach the structure.

mod amd;
mod descriptors;
mod deterministic;
mod sharing;

use super::Cpu;
use super::processor::{Memo, Processor, Vendor};
use super::rules::Rules;

/// One cache: bytes, associativity, bytes of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cache {
    pub size: i64,
    pub ways: i64,
    pub line: i64,
}

impl Cache {
    pub const NONE: Cache = Cache { size: 0, ways: 0, line: 0 };
    pub const UNKNOWN: Cache = Cache { size: -1, ways: -1, line: -1 };
}

/// Which cache a vendor's leaves are searched for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Level {
    L1Instruction,
    L1Data,
    L2,
    L3,
    L4,
}

/// The caches of the structure, and the two sizes that the thresholds are derived from.
#[derive(Clone, Debug)]
pub(super) struct Caches {
    pub level1i: Cache,
    pub level1d: Cache,
    pub level2: Cache,
    pub level3: Cache,
    pub level4_size: i64,
    /// The last level, and level 2 where it holds other lines.
    pub shared: i64,
    /// One thread's part of it.
    pub shared_per_thread: i64,
}

impl Caches {
    /// *glibc sysdeps/x86/dl-cacheinfo.h, dl_init_cacheinfo*, its first half.
    pub fn measure<P: Processor>(memo: &mut Memo<P>, cpu: &Cpu, rules: &Rules) -> Caches {
        use Level::*;
        let id = &cpu.identity;
        let mut caches = match id.vendor {
            Vendor::Intel => Caches::each(|level| descriptors::cache(memo, id, level)),
            Vendor::Zhaoxin => Caches::each(|level| match level {
                L4 => Cache::UNKNOWN,
                _ => deterministic::find(memo, level).unwrap_or(Cache::NONE),
            }),
            Vendor::Amd => Caches::each(|level| match level {
                L4 if rules.amd_cache_properties => Cache::NONE,
                L4 => Cache::UNKNOWN,
                _ if rules.amd_cache_properties => {
                    amd::properties(memo, id, level).unwrap_or_else(|| amd::legacy(memo, id, level, rules))
                }
                _ => amd::legacy(memo, id, level, rules),
            }),
            Vendor::Hygon => Caches::each(|level| match level {
                L4 => Cache::UNKNOWN,
                _ => amd::leaf(memo, level),
            }),
            Vendor::Other => Caches::each(|_| Cache::UNKNOWN),
        };
        match id.vendor {
            Vendor::Intel | Vendor::Zhaoxin => sharing::by_topology(memo, cpu, &mut caches),
            Vendor::Amd if rules.amd_cache_properties => {
                caches.share_amd(id.family);
                caches.shared_per_thread = caches.shared;
            }
            Vendor::Amd => sharing::amd_by_thread_count(memo, id, &mut caches),
            Vendor::Hygon | Vendor::Other => {}
        }
        caches
    }

    fn each(mut cache: impl FnMut(Level) -> Cache) -> Caches {
        let level3 = cache(Level::L3);
        Caches {
            level1i: cache(Level::L1Instruction),
            level1d: cache(Level::L1Data),
            level2: cache(Level::L2),
            level3,
            level4_size: cache(Level::L4).size,
            shared: level3.size,
            shared_per_thread: level3.size,
        }
    }

    /// AMD's last level is exclusive of level 2 before Zen; without a level 3, level 2 is the last.
    fn share_amd(&mut self, family: u32) {
        if self.shared <= 0 {
            self.shared = self.level2.size;
        } else if family < 0x17 {
            self.shared += self.level2.size;
        }
    }
}
