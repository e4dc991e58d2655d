//! Leaf 4, deterministic cache parameters: Intel's since Prescott, and Zhaoxin's (*Intel SDM volume 2, CPUID*).

use super::super::processor::{CpuidResult, Memo, Processor};
use super::{Cache, Level};

/// A processor lists a handful of caches; a list that does not end is given up.
pub(super) const MAX_CACHES: u32 = 32;

const DATA: u32 = 1;
const INSTRUCTION: u32 = 2;

/// One subleaf.
pub(super) struct Parameters(CpuidResult);

impl Parameters {
    pub fn read<P: Processor>(memo: &mut Memo<P>, subleaf: u32) -> Parameters {
        Parameters(memo.cpuid(4, subleaf))
    }

    /// The list ends here.
    pub fn is_null(&self) -> bool {
        self.kind() == 0
    }

    fn kind(&self) -> u32 {
        self.0.eax & 0x1f
    }

    pub fn level(&self) -> u32 {
        (self.0.eax >> 5) & 7
    }

    /// The highest number among the logical processors that share the cache, counted from 0.
    pub fn sharing(&self) -> i32 {
        ((self.0.eax >> 14) & 0x3ff) as i32
    }

    /// Lower levels' lines are in this cache too.
    pub fn is_inclusive(&self) -> bool {
        self.0.edx & 2 != 0
    }

    fn is(&self, level: Level) -> bool {
        match level {
            Level::L1Instruction => self.level() == 1 && self.kind() == INSTRUCTION,
            Level::L1Data => self.level() == 1 && self.kind() == DATA,
            Level::L2 => self.level() == 2,
            Level::L3 => self.level() == 3,
            Level::L4 => self.level() == 4,
        }
    }

    fn cache(&self) -> Cache {
        let ebx = self.0.ebx;
        let (ways, partitions, line) = ((ebx >> 22) + 1, ((ebx >> 12) & 0x3ff) + 1, (ebx & 0xfff) + 1);
        let sets = self.0.ecx.wrapping_add(1);
        Cache {
            size: ways.wrapping_mul(partitions).wrapping_mul(line).wrapping_mul(sets).into(),
            ways: ways.into(),
            line: line.into(),
        }
    }
}

/// The first cache of the list that is the one looked for.
pub(super) fn find<P: Processor>(memo: &mut Memo<P>, level: Level) -> Option<Cache> {
    for subleaf in 0..MAX_CACHES {
        let parameters = Parameters::read(memo, subleaf);
        if parameters.is_null() {
            return None;
        }
        if parameters.is(level) {
            return Some(parameters.cache());
        }
    }
    None
}
