use super::*;

/// Two segments with a hole of 16 bytes between them: 0x1000, to be read only, and 0x1030, which may be written.
fn two_segments() -> Image<'static> {
    let constant: &'static [u8] = (0..32).collect::<Vec<u8>>().leak();
    let data: &'static mut [u8] = (100..132).collect::<Vec<u8>>().leak();
    let segments = vec![
        Segment {
            start: Vaddr(0x1000),
            size: 32,
            memory: constant.as_ptr().expose_provenance() as u64,
            writable: false,
        },
        Segment {
            start: Vaddr(0x1030),
            size: 32,
            memory: data.as_mut_ptr().expose_provenance() as u64,
            writable: true,
        },
    ];
    // SAFETY: both runs of bytes were leaked and are reached through this image alone.
    unsafe { Image::new(Bias(0x7000), segments.leak()) }
}

#[test]
fn reads_end_where_segments_do() {
    let image = two_segments();
    assert_eq!(image.read::<u8>(Vaddr(0x1000)), Some(0));
    assert_eq!(image.read::<u32>(Vaddr(0x1001)), Some(0x0403_0201));
    assert_eq!(image.read::<u64>(Vaddr(0x1018)), Some(u64::from_le_bytes([24, 25, 26, 27, 28, 29, 30, 31])));
    for outside in [0x1019, 0x101f, 0x1020, 0xfff, 0x102f, 0x1049, 0, u64::MAX, u64::MAX - 7] {
        assert_eq!(image.read::<u64>(Vaddr(outside)), None, "{outside:#x}");
    }
    assert_eq!(image.read::<u8>(Vaddr(0x104f)), Some(131));
}

#[test]
fn stores_go_to_writable_memory_only() {
    let image = two_segments();
    assert_eq!(image.store(Vaddr(0x1008), 1u64), None);
    assert_eq!(image.store(Vaddr(0x1049), 1u64), None);
    assert_eq!(image.store(Vaddr(0x1048), 0x1122_3344_5566_7788u64), Some(()));
    assert_eq!(image.read::<u8>(Vaddr(0x104f)), Some(0x11));
    let mut writer = image.writer();
    for _ in 0..2 {
        assert_eq!(writer.store(Vaddr(0x1030), 7u32), Some(()));
        assert_eq!(writer.store(Vaddr(0x104d), 7u32), None, "over the end of the segment of the last store");
        assert_eq!(writer.store(Vaddr(0x1000), 7u32), None, "not writable");
        assert_eq!(writer.read::<u32>(Vaddr(0x1000)), None, "not writable");
        assert_eq!(writer.store(Vaddr(0x1028), 7u32), None, "in the hole");
        assert_eq!(writer.store(Vaddr(u64::MAX), 7u32), None);
    }
    assert_eq!(image.read::<u32>(Vaddr(0x1030)), Some(7));
    assert_eq!(image.read::<u32>(Vaddr(0x1000)), Some(0x0302_0100));
}

#[test]
fn copies_need_both_ends() {
    let (target, source) = (two_segments(), two_segments());
    assert_eq!(target.copy_from(Vaddr(0x1030), &source, Vaddr(0x1000), 32), Some(()));
    assert_eq!(target.read::<u8>(Vaddr(0x104f)), Some(31));
    assert_eq!(target.copy_from(Vaddr(0x1030), &source, Vaddr(0x1001), 32), None);
    assert_eq!(target.copy_from(Vaddr(0x1031), &source, Vaddr(0x1000), 32), None);
    assert_eq!(target.copy_from(Vaddr(0x1000), &source, Vaddr(0x1030), 8), None, "target is constant");
    assert_eq!(target.copy_from(Vaddr(0x1030), &target, Vaddr(0x1038), 16), Some(()), "overlap");
    assert_eq!(target.read::<u8>(Vaddr(0x1030)), Some(8));
    assert_eq!(target.copy_from(Vaddr(0x1050), &source, Vaddr(0x1020), 0), Some(()), "nothing to copy");
}

#[test]
fn tables_are_whole_or_none() {
    let image = two_segments();
    assert_eq!(image.table::<u32>(Vaddr(0x1000), 8).unwrap().len(), 8);
    assert!(image.table::<u32>(Vaddr(0x1000), 9).is_none());
    assert!(image.table::<u64>(Vaddr(0x1000), u64::MAX / 8 + 2).is_none(), "size wraps to 8");
    assert!(image.table::<u32>(Vaddr(0x2000), 0).unwrap().is_empty());
    let rest = image.table_to_end::<u32>(Vaddr(0x1002)).unwrap();
    assert_eq!((rest.len(), rest.get(6), rest.get(7)), (7, Some(0x1d1c_1b1a), None));
    assert!(image.table_to_end::<u32>(Vaddr(0x1020)).is_none());
    assert_eq!(rest.skip(6).iter().collect::<Vec<_>>(), [0x1d1c_1b1a]);
    assert!(rest.skip(8).is_empty() && rest.skip(usize::MAX).is_empty());
    assert_eq!(rest.truncated(1).iter().collect::<Vec<_>>(), [0x0504_0302]);
    assert_eq!(rest.truncated(99).len(), 7);
}

#[test]
fn strings_end_inside_their_table() {
    let strings = Strings::new(b"\0one\0two");
    assert_eq!(strings.get(0), Some(b"".as_slice()));
    assert_eq!(strings.get(1), Some(b"one".as_slice()));
    assert_eq!(strings.get(3), Some(b"e".as_slice()));
    assert_eq!(strings.get(5), None, "no NUL");
    assert_eq!(strings.get(8), None);
    assert_eq!(strings.get(u64::MAX), None);
    assert!(strings.equals(1, b"one") && strings.equals(2, b"ne") && strings.equals(0, b""));
    assert!(!strings.equals(1, b"on") && !strings.equals(1, b"ones") && !strings.equals(5, b"two"));
    assert!(!strings.equals(u32::MAX, b"") && !strings.equals(8, b""));
}

#[test]
fn file_names_are_no_longer_than_paths() {
    let mut bytes = vec![b'x'; 4096];
    bytes.push(0);
    let strings = Strings::new(&bytes);
    assert_eq!(strings.get(0).unwrap().len(), 4096);
    assert_eq!(strings.file_name(0), None);
    assert_eq!(strings.file_name(1), strings.get(1));
    assert_eq!(strings.file_name(4096), Some(&b""[..]));
    assert_eq!([4097, u64::MAX].map(|offset| strings.file_name(offset)), [None; 2]);
    assert_eq!(strings.beginning(4094, 100), b"xx");
    assert_eq!(strings.beginning(4000, 3), b"xxx");
    assert_eq!(strings.beginning(5000, 3), b"");
}

#[test]
fn constant_bytes_are_of_constant_segments() {
    let image = two_segments();
    assert_eq!(image.constant_bytes(Vaddr(0x101e), 2), Some([30, 31].as_slice()));
    assert_eq!(image.constant_bytes(Vaddr(0x101e), 3), None);
    assert_eq!(image.constant_bytes(Vaddr(0x1030), 1), None);
}

#[test]
fn bias_wraps_both_ways() {
    let bias = two_segments().bias();
    assert_eq!(bias.apply(Vaddr(0x1000)).0, 0x8000);
    assert_eq!(bias.remove(crate::Addr(0x8000)), Vaddr(0x1000));
    assert_eq!(Bias(u64::MAX).apply(Vaddr(1)).0, 0);
    assert_eq!(Vaddr(u64::MAX).checked_add(1), None);
}

#[test]
fn segments_of_a_file_are_cut_to_it() {
    let load = |offset, vaddr, filesz| elf64::program_header::ProgramHeader {
        p_type: elf64::program_header::PT_LOAD,
        p_offset: offset,
        p_vaddr: vaddr,
        p_filesz: filesz,
        p_memsz: u64::MAX,
        ..Default::default()
    };
    let headers = [
        load(0, 0x1000, 4),
        load(6, 0x2000, u64::MAX),
        load(9, 0x3000, 1),
        load(u64::MAX, 0x4000, 1),
        elf64::program_header::ProgramHeader { p_type: 2, ..load(0, 0x5000, 4) },
        load(1, 0x6000, 1),
        load(2, 0x7000, 1),
    ];
    let file: &'static [u8] = b"01234567";
    let nothing = Segment { start: Vaddr(0), size: 0, memory: 0, writable: false };
    let image = Image::of_file(file, headers.into_iter(), vec![nothing; 3].leak());
    let sizes: Vec<_> = image.segments().iter().map(|segment| (segment.start.0, segment.size)).collect();
    assert_eq!(sizes, [(0x1000, 4), (0x2000, 2), (0x6000, 1)], "as many as there is room for");
    assert_eq!(image.read::<u8>(Vaddr(0x2001)), Some(b'7'));
    assert_eq!(image.read::<u8>(Vaddr(0x6000)), Some(b'1'));
    assert_eq!(image.store(Vaddr(0x1000), 0u8), None);
    assert_eq!(image.constant_bytes(Vaddr(0x1000), 4), Some(b"0123".as_slice()));
}

#[test]
fn segment_may_wrap_around() {
    let data: &'static mut [u8] = (0..32).collect::<Vec<u8>>().leak();
    let memory = data.as_mut_ptr().expose_provenance() as u64;
    let segments = vec![Segment { start: Vaddr(u64::MAX - 15), size: 32, memory, writable: true }];
    // SAFETY: the bytes were leaked and are reached through this image alone.
    let image = unsafe { Image::new(Bias(0), segments.leak()) };
    assert_eq!(image.read::<u8>(Vaddr(0)), Some(16));
    assert_eq!(image.read::<u16>(Vaddr(u64::MAX)), Some(0x100f));
    assert_eq!(image.writer().store(Vaddr(8), 1u64), Some(()));
    assert_eq!(image.store(Vaddr(9), 1u64), None);
    assert_eq!(image.table_to_end::<u64>(Vaddr(0)).unwrap().len(), 2);
}

#[test]
fn tables_reach_through_segments_that_follow_each_other() {
    let bytes: &'static mut [u8] = (0..96).collect::<Vec<u8>>().leak();
    let memory = bytes.as_mut_ptr().expose_provenance() as u64;
    let segment = |start: u64, size, memory, writable| Segment { start: Vaddr(0x1000 + start), size, memory, writable };
    let segments = vec![
        segment(0, 32, memory, true),
        segment(32, 0, memory + 32, true),
        segment(32, 16, memory + 32, false),
        segment(48, 16, memory + 48, true),
        // Next to the others in the object, and not in memory.
        segment(64, 16, memory + 80, true),
    ];
    // SAFETY: the bytes were leaked and are reached through this image alone.
    let image = unsafe { Image::new(Bias(0), segments.leak()) };
    assert_eq!(image.read::<u64>(Vaddr(0x101c)), Some(u64::from_le_bytes([28, 29, 30, 31, 32, 33, 34, 35])));
    let table = image.table::<u32>(Vaddr(0x1000), 16).unwrap();
    assert_eq!(table.get(15), Some(u32::from_le_bytes([60, 61, 62, 63])));
    assert!(image.table::<u32>(Vaddr(0x1000), 17).is_none());
    assert!(image.table::<u32>(Vaddr(0x1000), u64::MAX / 4).is_none());
    assert_eq!(image.table_to_end::<u32>(Vaddr(0x1004)).unwrap().len(), 15);
    assert!(image.strings(Vaddr(0x1010), 48).is_some() && image.strings(Vaddr(0x1010), 49).is_none());
    assert_eq!(image.store(Vaddr(0x101c), 0u64), None, "its second half may not be written");
    assert_eq!(image.constant_bytes(Vaddr(0x1020), 16).map(<[u8]>::len), Some(16));
    assert_eq!(image.constant_bytes(Vaddr(0x1010), 32), None, "its first half may be written");
}

#[test]
fn equal_words_are_told_by_their_places() {
    let words = std::array::from_fn(|place| (place as u32 % 3) << 28 | place as u32);
    let expected = |value: u32| (0..16).filter(|place| place % 3 == value).fold(0, |bits, place| bits | 1 << place);
    for value in 0..3 {
        assert_eq!(words_equal(&words, 0xf000_0000, value << 28), expected(value));
    }
    assert_eq!(words_equal(&words, u32::MAX, 1 << 28 | 4), 1 << 4);
    assert_eq!(words_equal(&words, 0, 0), 0xffff);
    assert_eq!(words_equal(&words, 0, 1), 0);
}

proptest::proptest! {
    #![proptest_config(proptest::test_runner::Config { failure_persistence: None, ..Default::default() })]

    /// Words are marked in the middle of a segment, at its ends, and outside, where it ends.
    #[test]
    fn packed_words_are_those_that_the_table_marks(
        start in 0x2000u64 - 64 * 8..0x2000 + 130 * 8,
        bitmaps in proptest::collection::vec(proptest::num::u64::ANY, 0..3),
    ) {
        let words = [start & !7].into_iter().chain(bitmaps.iter().map(|bitmap| bitmap | 1)).collect::<Vec<u64>>();
        let bytes: &[u8] = words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<_>>().leak();
        let (one, other) = (vec![0u64; 128].leak(), vec![0u64; 128].leak());
        let memory = [&mut *one, &mut *other].map(|words| words.as_mut_ptr().expose_provenance() as u64);
        let [added, expected] = memory.map(|memory| {
            let table = Segment { start: Vaddr(0x100), size: bytes.len() as u64, memory: bytes.as_ptr().expose_provenance() as u64, writable: false };
            let data = Segment { start: Vaddr(0x2000), size: 128 * 8, memory, writable: true };
            // SAFETY: both are leaked.
            unsafe { Image::new(Bias(0), vec![table, data].leak()) }
        });
        let table = added.table::<u64>(Vaddr(0x100), words.len() as u64).unwrap();
        let all = added.writer().add_packed(table, 5);
        let mut writer = expected.writer();
        let each = crate::relocation::relr(table).try_for_each(|place| writer.add(place, 5));
        proptest::prop_assert_eq!(all, each);
        proptest::prop_assert_eq!(&*one, &*other);
    }
}
