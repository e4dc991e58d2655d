use proptest::prelude::*;

use super::*;

fn module(size: u64, align: u64, vaddr: u64) -> Module {
    Module { size, align, vaddr }
}

#[test]
fn surplus_is_the_historic_value() {
    assert_eq!(surplus(4, 512), Ok(1664));
    assert_eq!(surplus(1, 0), Ok(288));
    assert_eq!(surplus(u64::MAX, 0), Err(Error::Size));
}

#[test]
fn segment_that_starts_unaligned_keeps_its_congruence() {
    let mut layout = StaticLayout::default();
    assert_eq!(layout.place(&module(4, 4, 0x3df8)), Ok(4));
    // p_vaddr is 8 modulo 64, so the offset is 56 modulo 64.
    assert_eq!(layout.place(&module(8, 64, 0x1008)), Ok(56));
    let block = layout.finish(1664, 512).unwrap();
    assert_eq!((block.used(), block.size(), block.align()), (56, 1728, 64));
}

#[test]
fn later_modules_fill_holes() {
    let mut layout = StaticLayout::default();
    assert_eq!(layout.place(&module(1, 1, 0)), Ok(1));
    assert_eq!(layout.place(&module(16, 64, 0)), Ok(64));
    // Offsets 1 to 48 are free: the block of the second module spans 48 to 64.
    assert_eq!(layout.place(&module(32, 16, 0)), Ok(48));
    assert_eq!(layout.place(&module(8, 8, 0)), Ok(72));
}

#[test]
fn rseq_area_lies_behind_the_last_module() {
    let mut layout = StaticLayout::default();
    layout.place(&module(0x88, 8, 0)).unwrap();
    assert_eq!(layout.place_rseq(RseqArea::new(28, 32).unwrap()), Ok(0xa0 + 32));
    assert_eq!(RseqArea::new(0, 0), Ok(RseqArea::MINIMAL));
    assert_eq!(RseqArea::new(40, 64), Ok(RseqArea { size: 64, align: 64 }));
    assert_eq!(RseqArea::new(33, 48), Err(Error::Alignment));
}

#[test]
fn surplus_runs_out() {
    let mut layout = StaticLayout::default();
    layout.place(&module(100, 4, 0)).unwrap();
    let mut block = layout.finish(156, 64).unwrap();
    assert_eq!(block.size(), 256);
    assert_eq!(block.take(&module(64, 128, 0), Demand::Required), None);
    assert_eq!(block.take(&module(60, 4, 0), Demand::Optional), Some(160));
    assert_eq!(block.optional(), 4);
    assert_eq!(block.take(&module(8, 8, 0), Demand::Optional), None);
    assert_eq!(block.take(&module(8, 8, 0), Demand::Required), Some(168));
    assert_eq!(block.take(&module(89, 1, 0), Demand::Required), None);
    assert_eq!(block.take(&module(88, 1, 0), Demand::Required), Some(256));
    assert_eq!(block.take(&module(u64::MAX, 1, 0), Demand::Required), None);
}

#[test]
fn senseless_segments_are_errors() {
    let mut layout = StaticLayout::default();
    assert_eq!(layout.place(&module(8, 24, 0)), Err(Error::Alignment));
    assert_eq!(layout.place(&module(8, 0, 0)), Ok(8));
    assert_eq!(layout.place(&module(u64::MAX - 4, 1, 0)), Err(Error::Size));
    assert_eq!(layout.finish(u64::MAX, 0), Err(Error::Size));
}

proptest! {
    #[test]
    fn blocks_are_congruent_and_disjoint(
        modules in prop::collection::vec((0u64..300, 0u32..9, any::<u64>()), 0..20),
        opened in prop::collection::vec((0u64..300, 0u32..9, any::<u64>()), 0..20),
    ) {
        let mut layout = StaticLayout::default();
        let mut blocks = Vec::new();
        for (size, log, vaddr) in modules {
            let module = module(size, 1 << log, vaddr);
            blocks.push((layout.place(&module).unwrap(), module));
        }
        let rseq = layout.place_rseq(RseqArea::MINIMAL).unwrap();
        blocks.push((rseq, module(32, 32, 0)));
        let mut block = layout.finish(1664, 512).unwrap();
        for (size, log, vaddr) in opened {
            let module = module(size, 1 << log, vaddr);
            blocks.extend(block.take(&module, Demand::Required).map(|offset| (offset, module)));
        }
        prop_assert_eq!(block.size() % block.align(), 0);
        for (offset, module) in &blocks {
            prop_assert!(*offset >= module.size && *offset <= block.size());
            prop_assert_eq!(offset.wrapping_neg() % module.align, module.vaddr % module.align);
        }
        blocks.retain(|(_, module)| module.size > 0);
        blocks.sort_by_key(|(offset, _)| *offset);
        for pair in blocks.windows(2) {
            prop_assert!(pair[1].0 - pair[1].1.size >= pair[0].0);
        }
    }

    #[test]
    fn nothing_overflows(size: u64, align: u64, vaddr: u64, surplus: u64) {
        let mut layout = StaticLayout::default();
        let module = module(size, align, vaddr);
        let _ = layout.place(&module);
        let _ = layout.place(&module);
        if let Ok(mut block) = layout.finish(surplus, surplus) {
            let _ = block.take(&module, Demand::Optional);
            prop_assert!(block.used() <= block.size());
        }
    }
}
