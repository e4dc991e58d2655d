//! Leaf 2, Intel's cache descriptors: one byte a cache, which a table explains, or the byte that refers to leaf 4
//! (*Intel SDM volume 2, CPUID, table 3-12; glibc sysdeps/x86/dl-cacheinfo.h, intel_check_word*).

use super::super::processor::{Identity, Memo, Processor};
use super::deterministic;
use super::{Cache, Level, Level::*};

/// There is no level 2, or where there is one, no level 3.
const NO_FURTHER_LEVEL: u8 = 0x40;
/// Leaf 4 says it all.
const SEE_LEAF_4: u8 = 0xff;
/// Level 2 of most processors, but level 3 of family 15 model 6.
const LEVEL_2_OR_3: u8 = 0x49;

/// (descriptor, level, kibibytes, ways, line).
const DESCRIPTORS: &[(u8, Level, u32, u8, u8)] = &[
    (0x06, L1Instruction, 8, 4, 32),
    (0x08, L1Instruction, 16, 4, 32),
    (0x09, L1Instruction, 32, 4, 32),
    (0x0a, L1Data, 8, 2, 32),
    (0x0c, L1Data, 16, 4, 32),
    (0x0d, L1Data, 16, 4, 64),
    (0x0e, L1Data, 24, 6, 64),
    (0x21, L2, 256, 8, 64),
    (0x22, L3, 512, 4, 64),
    (0x23, L3, 1024, 8, 64),
    (0x25, L3, 2048, 8, 64),
    (0x29, L3, 4096, 8, 64),
    (0x2c, L1Data, 32, 8, 64),
    (0x30, L1Instruction, 32, 8, 64),
    (0x39, L2, 128, 4, 64),
    (0x3a, L2, 192, 6, 64),
    (0x3b, L2, 128, 2, 64),
    (0x3c, L2, 256, 4, 64),
    (0x3d, L2, 384, 6, 64),
    (0x3e, L2, 512, 4, 64),
    (0x3f, L2, 256, 2, 64),
    (0x41, L2, 128, 4, 32),
    (0x42, L2, 256, 4, 32),
    (0x43, L2, 512, 4, 32),
    (0x44, L2, 1024, 4, 32),
    (0x45, L2, 2048, 4, 32),
    (0x46, L3, 4096, 4, 64),
    (0x47, L3, 8192, 8, 64),
    (0x48, L2, 3072, 12, 64),
    (0x49, L2, 4096, 16, 64),
    (0x4a, L3, 6144, 12, 64),
    (0x4b, L3, 8192, 16, 64),
    (0x4c, L3, 12288, 12, 64),
    (0x4d, L3, 16384, 16, 64),
    (0x4e, L2, 6144, 24, 64),
    (0x60, L1Data, 16, 8, 64),
    (0x66, L1Data, 8, 4, 64),
    (0x67, L1Data, 16, 4, 64),
    (0x68, L1Data, 32, 4, 64),
    (0x78, L2, 1024, 8, 64),
    (0x79, L2, 128, 8, 64),
    (0x7a, L2, 256, 8, 64),
    (0x7b, L2, 512, 8, 64),
    (0x7c, L2, 1024, 8, 64),
    (0x7d, L2, 2048, 8, 64),
    (0x7f, L2, 512, 2, 64),
    (0x80, L2, 512, 8, 64),
    (0x82, L2, 256, 8, 32),
    (0x83, L2, 512, 8, 32),
    (0x84, L2, 1024, 8, 32),
    (0x85, L2, 2048, 8, 32),
    (0x86, L2, 512, 4, 64),
    (0x87, L2, 1024, 8, 64),
    (0xd0, L3, 512, 4, 64),
    (0xd1, L3, 1024, 4, 64),
    (0xd2, L3, 2048, 4, 64),
    (0xd6, L3, 1024, 8, 64),
    (0xd7, L3, 2048, 8, 64),
    (0xd8, L3, 4096, 8, 64),
    (0xdc, L3, 2048, 12, 64),
    (0xdd, L3, 4096, 12, 64),
    (0xde, L3, 8192, 12, 64),
    (0xe2, L3, 2048, 16, 64),
    (0xe3, L3, 4096, 16, 64),
    (0xe4, L3, 8192, 16, 64),
    (0xea, L3, 12288, 24, 64),
    (0xeb, L3, 18432, 24, 64),
    (0xec, L3, 24576, 24, 64),
];

/// The cache that an Intel processor's leaf 2 names, directly or by way of leaf 4.
pub(super) fn cache<P: Processor>(memo: &mut Memo<P>, identity: &Identity, level: Level) -> Cache {
    if identity.max_leaf < 2 {
        return Cache::UNKNOWN;
    }
    let by_leaf_4 = |memo| deterministic::find(memo, level).unwrap_or(Cache::UNKNOWN);
    let answer = memo.cpuid(2, 0);
    // The low byte tells how often to ask, and is 1 in all processors that mean this leaf seriously.
    if answer.eax & 0xff != 1 {
        return by_leaf_4(memo);
    }
    let mut no_further_level = false;
    for word in [answer.eax & !0xff, answer.ebx, answer.ecx, answer.edx] {
        if word & 1 << 31 != 0 {
            // The register holds no descriptors.
            continue;
        }
        for byte in significant(word) {
            match byte {
                NO_FURTHER_LEVEL => {
                    no_further_level = true;
                    if level == L3 {
                        break;
                    }
                }
                SEE_LEAF_4 => return by_leaf_4(memo),
                _ => {
                    if let Some(cache) = described(byte, identity, level) {
                        return cache;
                    }
                }
            }
        }
    }
    if no_further_level && matches!(level, L2 | L3) { Cache::UNKNOWN } else { Cache::NONE }
}

/// The bytes of a register from the low end, as long as there is something left above.
fn significant(word: u32) -> impl Iterator<Item = u8> {
    let bytes = 4 - word.leading_zeros() as usize / 8;
    word.to_le_bytes().into_iter().take(bytes)
}

fn described(byte: u8, identity: &Identity, level: Level) -> Option<Cache> {
    let index = DESCRIPTORS.binary_search_by_key(&byte, |&(descriptor, ..)| descriptor).ok()?;
    let (_, found, kibibytes, ways, line) = DESCRIPTORS[index];
    let meant_as_level_3 = byte == LEVEL_2_OR_3 && level == L3 && (identity.family, identity.model) == (15, 6);
    (found == level || meant_as_level_3).then_some(Cache {
        size: i64::from(kibibytes) * 1024,
        ways: ways.into(),
        line: line.into(),
    })
}
