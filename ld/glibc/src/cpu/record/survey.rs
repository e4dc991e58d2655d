//! All questions that any start asks the processor: what a record holds is found by asking them.

use alloc::vec;
use alloc::vec::Vec;

use super::super::{CpuidResult, Extent, Kernel, Memo, NoTunables, OSXSAVE, Processor, fill, isa_level};
use super::Answer;
use crate::tables;

/// A processor whose answers are written down.
struct Minutes<P> {
    processor: P,
    answers: Vec<Answer>,
    xcr0: u64,
}

impl<P: Processor> Processor for &mut Minutes<P> {
    fn cpuid(&mut self, leaf: u32, subleaf: u32) -> CpuidResult {
        if let Some(known) = self.answers.iter().find(|answer| (answer.leaf, answer.subleaf) == (leaf, subleaf)) {
            return known.registers;
        }
        let registers = self.processor.cpuid(leaf, subleaf);
        self.answers.push(Answer { leaf, subleaf, registers });
        registers
    }

    fn xgetbv(&mut self) -> u64 {
        if self.xcr0 == 0 {
            self.xcr0 = self.processor.xgetbv();
        }
        self.xcr0
    }
}

/// What the processor answers to the rules of every supported glibc, in whole and in part, and XCR0, 0 where the system does not
/// let it be read. Tunables choose among answers; none makes another question be asked.
pub fn survey(processor: impl Processor) -> (Vec<Answer>, u64) {
    let mut minutes = Minutes { processor, answers: Vec::new(), xcr0: 0 };
    // How wide vector registers are is asked whatever the vendor.
    let mut asked = &mut minutes;
    if asked.cpuid(1, 0).ecx & OSXSAVE != 0 {
        asked.xgetbv();
    }
    isa_level(&mut Memo::new(&mut minutes), &NoTunables);
    for layout in &tables::ALL {
        for extent in [Extent::Libc, Extent::Whole] {
            let mut out = vec![0; usize::from(layout.cpu.size)];
            fill(layout, &mut Memo::new(&mut minutes), &Kernel::default(), &NoTunables, extent, &mut out);
        }
    }
    (minutes.answers, minutes.xcr0)
}
