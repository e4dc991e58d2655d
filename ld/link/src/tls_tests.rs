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

/// Modules of real programs under glibc 2.36: size, alignment, address, and the offset that glibc gave. The first number says
/// how many modules came with the start; the others were opened, and need static TLS.
type Fact = (usize, &'static [(u64, u64, u64, u64)]);
const FACTS: &[Fact] = &[
    (
        7,
        &[
            (1, 64, 12416, 64),
            (300, 4, 12368, 364),
            (17, 128, 16000, 384),
            (8, 2, 12368, 8),
            (17, 256, 15872, 512),
            (100, 16, 12368, 624),
            (144, 8, 1898704, 768),
        ],
    ),
    (
        5,
        &[
            (300, 256, 12544, 512),
            (3, 8, 16112, 8),
            (40, 128, 16000, 128),
            (40, 8, 16112, 168),
            (144, 8, 1898704, 656),
            (100, 128, 16000, 768),
            (8, 2, 12368, 776),
        ],
    ),
    (
        6,
        &[
            (200, 128, 12416, 256),
            (40, 16, 16064, 48),
            (17, 4, 16092, 276),
            (300, 8, 16112, 576),
            (200, 1, 15912, 776),
            (144, 8, 1898704, 920),
            (8, 2, 16104, 928),
        ],
    ),
    (
        5,
        &[
            (300, 16, 15808, 304),
            (3, 256, 15872, 512),
            (40, 8, 16112, 344),
            (3, 256, 15872, 768),
            (144, 8, 1898704, 656),
            (8, 64, 16064, 832),
        ],
    ),
    (
        7,
        &[
            (40, 64, 16064, 64),
            (3, 16, 16112, 16),
            (300, 1, 16112, 364),
            (100, 2, 16012, 464),
            (3, 8, 12368, 24),
            (8, 32, 12384, 480),
            (144, 8, 1898704, 624),
        ],
    ),
    (
        6,
        &[
            (200, 256, 15872, 256),
            (8, 1, 16104, 8),
            (8, 256, 15872, 512),
            (17, 2, 12368, 274),
            (300, 1, 12368, 812),
            (144, 8, 1898704, 424),
            (1, 64, 12416, 832),
        ],
    ),
    (
        1,
        &[
            (144, 8, 1898704, 144),
            (300, 32, 16096, 448),
            (300, 16, 12368, 752),
            (40, 1, 16112, 792),
            (8, 2, 16112, 800),
        ],
    ),
    (
        1,
        &[
            (144, 8, 1898704, 144),
            (100, 1, 16012, 244),
            (200, 64, 12416, 448),
            (200, 64, 16064, 704),
            (100, 2, 12368, 804),
        ],
    ),
    (
        1,
        &[
            (144, 8, 1898704, 144),
            (3, 8, 12368, 152),
            (100, 1, 16112, 252),
            (200, 1, 15912, 452),
            (1, 1, 16112, 453),
            (3, 1, 12368, 456),
        ],
    ),
    (
        3,
        &[
            (300, 32, 16096, 320),
            (300, 1, 12368, 620),
            (144, 8, 1898704, 768),
            (1, 1, 16111, 769),
            (3, 1, 16112, 772),
            (3, 8, 12368, 776),
            (8, 1, 12368, 784),
        ],
    ),
    (
        1,
        &[
            (144, 8, 1898704, 144),
            (17, 2, 12368, 162),
            (200, 2, 15912, 362),
            (100, 1, 16012, 462),
            (300, 16, 15808, 768),
            (40, 4, 16112, 808),
            (17, 8, 16112, 832),
        ],
    ),
    (
        4,
        &[
            (3, 32, 16096, 32),
            (300, 4, 15812, 332),
            (300, 4, 12368, 632),
            (144, 8, 1898704, 776),
            (100, 4, 16012, 876),
            (100, 1, 12368, 976),
            (300, 8, 15808, 1280),
        ],
    ),
];

#[test]
fn offsets_are_those_of_glibc() {
    for &(initial, modules) in FACTS {
        let mut layout = StaticLayout::default();
        let (start, opened) = modules.split_at(initial);
        for &(size, align, vaddr, offset) in start {
            assert_eq!(layout.place(&module(size, align, vaddr)), Ok(offset), "{modules:?}");
        }
        let mut block = layout.finish(1664, 512).unwrap();
        for &(size, align, vaddr, offset) in opened {
            assert_eq!(block.take(&module(size, align, vaddr), Demand::Required), Some(offset), "{modules:?}");
        }
    }
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

#[test]
fn places_that_are_given_back_are_taken_again() {
    let module = |size| Module { size, align: 16, vaddr: 0 };
    let mut block = StaticLayout::default().finish(256, 0).unwrap();
    let [first, second, third] = [80, 48, 96].map(|size| block.take(&module(size), Demand::Required).unwrap());
    assert_eq!((first, second, third, block.used()), (80, 128, 224, 224));
    assert_eq!(block.take(&module(64), Demand::Required), None);
    // Below a place that is still taken nothing is free.
    block.give_back(second);
    assert_eq!(block.used(), 224);
    block.give_back(third);
    assert_eq!(block.used(), 80);
    assert_eq!(block.take(&module(144), Demand::Required), Some(224));
    block.give_back(224);
    block.give_back(first);
    assert_eq!(block, StaticLayout::default().finish(256, 0).unwrap());
}

#[test]
fn block_of_a_lone_thread_grows_up_to_its_limit() {
    let module = |size: u64, align: u64| Module { size, align, vaddr: 0 };
    let mut block = StaticLayout::default().finish(1664, 512).unwrap();
    let small = block.size();
    let limit = small + 64 * 1024;
    assert_eq!(block.take(&module(4096, 16), Demand::Required), None);
    assert_eq!(block.take_within(limit, &module(4096, 16), Demand::Required), Some(4096));
    assert!(block.size() >= 4096 + 1664, "later threads have glibc's surplus again");
    assert_eq!(block.size() % block.align(), 0);
    let grown = block.clone();
    assert_eq!(block.take_within(limit, &module(64 * 1024, 16), Demand::Required), None, "more than the limit");
    assert_eq!(
        block.take_within(limit, &module(8192, 1 << 20), Demand::Required),
        None,
        "aligned better than any block is"
    );
    assert_eq!(block.take_within(limit, &module(8192, 16), Demand::Optional), None);
    assert_eq!(block, grown, "a failure changes nothing");
    let rest = limit - block.used();
    assert_eq!(block.take_within(limit, &module(rest / 16 * 16, 16), Demand::Required), Some(limit / 16 * 16));
    assert_eq!(block.size(), limit);
    assert_eq!(block.take_within(u64::MAX, &module(u64::MAX - 64, 16), Demand::Required), None);
}
