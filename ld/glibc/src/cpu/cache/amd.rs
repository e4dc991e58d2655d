//! AMD's and Hygon's caches: leaf 0x8000001d, and leaves 0x80000005 and 0x80000006 of older processors
//! (*AMD APM volume 3, appendix E; glibc sysdeps/x86/dl-cacheinfo.h, handle_amd and handle_hygon*).

use super::super::processor::{Identity, Memo, Processor};
use super::super::rules::Rules;
use super::{Cache, Level};

const CACHE_PROPERTIES: u32 = 0x8000_001d;

/// The cache by leaf 0x8000001d, if the processor has that leaf and did not leave it empty, as some hypervisors do.
pub(super) fn properties<P: Processor>(memo: &mut Memo<P>, identity: &Identity, level: Level) -> Option<Cache> {
    let described =
        identity.has_extended(memo, CACHE_PROPERTIES) && memo.cpuid(CACHE_PROPERTIES, subleaf(level)).ecx != 0;
    described.then(|| leaf(memo, level))
}

/// The cache by leaf 0x8000001d, whatever it says: Hygon's rule.
pub(super) fn leaf<P: Processor>(memo: &mut Memo<P>, level: Level) -> Cache {
    let answer = memo.cpuid(CACHE_PROPERTIES, subleaf(level));
    let ways = ((answer.ebx >> 22) & 0x3ff) + 1;
    let line = (answer.ebx & 0xfff) + 1;
    let sets = answer.ecx.wrapping_add(1);
    Cache { size: ways.wrapping_mul(line).wrapping_mul(sets).into(), ways: ways.into(), line: line.into() }
}

fn subleaf(level: Level) -> u32 {
    match level {
        Level::L1Data => 0,
        Level::L1Instruction => 1,
        Level::L2 => 2,
        Level::L3 | Level::L4 => 3,
    }
}

/// How many threads share the last level, by leaf 0x8000001d.
pub(super) fn threads_per_complex<P: Processor>(memo: &mut Memo<P>) -> u32 {
    ((memo.cpuid(CACHE_PROPERTIES, 3).eax >> 14) & 0xfff) + 1
}

/// The cache by the leaves that came before.
pub(super) fn legacy<P: Processor>(memo: &mut Memo<P>, identity: &Identity, level: Level, rules: &Rules) -> Cache {
    let (leaf, first_level) = match level {
        Level::L1Instruction | Level::L1Data => (0x8000_0005, true),
        _ => (0x8000_0006, false),
    };
    if !identity.has_extended(memo, leaf) {
        return Cache::NONE;
    }
    let answer = memo.cpuid(leaf, 0);
    if first_level {
        let word = if level == Level::L1Data { answer.ecx } else { answer.edx };
        let ways = match (word >> 16) & 0xff {
            // Fully associative.
            0xff => (word >> 16 << 2) & 0x3fc00,
            ways => ways,
        };
        return Cache { size: ((word >> 14) & 0x3fc00).into(), ways: ways.into(), line: (word & 0xff).into() };
    }
    let word = if level == Level::L2 { answer.ecx } else { answer.edx };
    if word & 0xf000 == 0 {
        return Cache::NONE;
    }
    let size = if level == Level::L2 { (word >> 6) & 0x03ff_fc00 } else { (word & 0x3ffc_0000) << 1 };
    let line = word & 0xff;
    let ways = match (word >> 12) & 0xf {
        ways @ (1 | 2 | 4) => ways,
        6 => 8,
        8 => 16,
        10 => 32,
        11 => 48,
        12 => 64,
        13 => 96,
        14 => 128,
        // Fully associative; a line of no bytes would be a division trap in glibc.
        15 => size.checked_div(line).unwrap_or(0),
        _ => 0,
    };
    let size = if level == Level::L3 && rules.amd_cache_properties {
        share_of_complex(memo, identity, size)
    } else {
        size.into()
    };
    Cache { size, ways: ways.into(), line: line.into() }
}

/// Level 3 as leaf 0x80000006 gives it is the whole package's; what counts is one thread's part, on Zen times the
/// threads of a core complex.
fn share_of_complex<P: Processor>(memo: &mut Memo<P>, identity: &Identity, total: u32) -> i64 {
    let threads = if identity.has_extended(memo, 0x8000_0008) {
        (memo.cpuid(0x8000_0008, 0).ecx & 0xff) + 1
    } else {
        logical_processors(memo).unwrap_or(0)
    };
    let per_thread = i64::from(total.checked_div(threads).unwrap_or(0));
    if identity.family >= 0x17 { per_thread * i64::from(threads_per_complex(memo)) } else { per_thread }
}

/// The package's logical processors by leaf 1, if it says that there may be more than one.
pub(super) fn logical_processors<P: Processor>(memo: &mut Memo<P>) -> Option<u32> {
    let answer = memo.cpuid(1, 0);
    (answer.edx & 1 << 28 != 0).then_some((answer.ebx >> 16) & 0xff)
}
