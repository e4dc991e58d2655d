//! Where segments go, and which program headers cannot be followed.

use folio_elf::header::ProgramHeader;
use folio_elf::{FileHeader, Vaddr};
use folio_link::placement::{PAGE, PF_R, PF_W, PF_X, Placement, PlacementError};
use proptest::prelude::*;

const FILE: u64 = 0x10000;

fn load(offset: u64, vaddr: u64, filesz: u64, memsz: u64) -> ProgramHeader {
    ProgramHeader {
        p_type: 1,
        p_flags: PF_R | PF_W,
        p_offset: offset,
        p_vaddr: vaddr,
        p_filesz: filesz,
        p_memsz: memsz,
        p_align: PAGE,
        ..Default::default()
    }
}

fn other(kind: u32, vaddr: u64, memsz: u64) -> ProgramHeader {
    ProgramHeader { p_type: kind, ..load(vaddr, vaddr, memsz, memsz) }
}

fn dynamic() -> ProgramHeader {
    other(2, 0x100, 0x20)
}

fn plan_as(position_independent: bool, headers: &[ProgramHeader]) -> Result<Placement, PlacementError> {
    let header = FileHeader { position_independent, entry: Vaddr(0x40), phoff: 64, phnum: headers.len() as u16 };
    Placement::plan(&header, headers.iter().copied(), FILE)
}

fn plan(headers: &[ProgramHeader]) -> Result<Placement, PlacementError> {
    plan_as(true, &[headers, &[dynamic()]].concat())
}

fn refused(headers: &[ProgramHeader]) -> PlacementError {
    plan(headers).unwrap_err()
}

#[test]
fn segments_are_whole_pages_in_file_and_memory() {
    let placement = plan(&[load(0, 0, 0x1800, 0x1800), load(0x1df0, 0x2df0, 0x300, 0x2000)]).unwrap();
    let rows: Vec<[u64; 4]> = placement.segments.iter().map(|s| [s.start.0, s.data_end.0, s.end.0, s.offset]).collect();
    assert_eq!(rows, [[0, 0x1800, 0x1800, 0], [0x2000, 0x30f0, 0x4df0, 0x1000]]);
    let last = placement.segments[1];
    assert_eq!((last.file_pages_end().0, last.pages_end().0, last.has_file_part()), (0x4000, 0x5000, true));
    assert_eq!((placement.start().0, placement.end().0, placement.span()), (0, 0x4df0, 0x5000));
    assert!(placement.is_contiguous());
}

#[test]
fn holes_between_segments_are_allowed() {
    let placement = plan(&[load(0, 0, 0x1000, 0x1000), load(0x1000, 0x20_1000, 0x10, 0x10)]).unwrap();
    assert!(!placement.is_contiguous());
    assert_eq!(placement.span(), 0x20_2000);
}

#[test]
fn objects_may_start_anywhere() {
    let placement = plan_as(false, &[load(0, 0x40_0000, 0x1000, 0x1000)]).unwrap();
    assert_eq!((placement.start().0, placement.span(), placement.position_independent), (0x40_0000, 0x1000, false));
    assert!(placement.dynamic.is_none(), "a program needs no dynamic section");
}

#[test]
fn segment_without_file_part_is_zeros() {
    let placement = plan(&[load(0, 0, 0x1000, 0x1000), load(u64::MAX - 0xfff, 0x2000, 0, 0x1800)]).unwrap();
    let zeros = placement.segments[1];
    assert_eq!((zeros.has_file_part(), zeros.start.0, zeros.end.0), (false, 0x2000, 0x3800));
    // A segment that takes no memory is none.
    assert_eq!(plan(&[load(0, 0, 0x1000, 0x1000), load(1, 0, 0, 0)]).unwrap().segments.len(), 1);
}

#[test]
fn largest_alignment_counts() {
    let aligned = |align| ProgramHeader { p_align: align, ..load(0, 0, 0x1000, 0x1000) };
    for (align, expected) in
        [(0, PAGE), (1, PAGE), (PAGE, PAGE), (0x20_0000, 0x20_0000), (0x3000, PAGE), (u64::MAX, PAGE), (1 << 63, PAGE)]
    {
        assert_eq!(plan(&[aligned(align)]).unwrap().align, expected, "{align:#x}");
    }
}

#[test]
fn damaged_segments_are_refused() {
    use PlacementError::*;
    let first = load(0, 0, 0x1000, 0x1000);
    let cases = [
        ("offset differs within a page", load(0x10, 0, 0x10, 0x10), Misaligned),
        ("file part larger than memory", load(0x1000, 0x1000, 0x11, 0x10), Size),
        ("end wraps around", load(0x1000, u64::MAX - 0xfff, 0x10, 0x2000), Size),
        ("end beyond user space", load(0x1000, (1 << 47) - 0x1000, 0x10, 0x1001), Size),
        ("memory of the whole address space", load(0x1000, 0x1000, 0x10, u64::MAX), Size),
        ("file part past the end", load(0x1000, 0x1000, FILE, FILE), Truncated),
        ("offset wraps around", load(u64::MAX - 0xfff, 0x1000, 0x2000, 0x2000), Truncated),
        ("same page as the last", load(0x800, 0x800, 0x10, 0x10), Overlap),
        ("before the last", load(0, 0, 0x10, 0x10), Overlap),
    ];
    for (what, second, error) in cases {
        assert_eq!(refused(&[first, second]), error, "{what}");
    }
    assert!(plan(&[first, load(0x1000, (1 << 47) - 0x1000, 0x10, 0x1000)]).is_ok(), "the last page of user space");
    assert!(plan(&[first, load(0x1000, 0x1000, FILE - 0x1000, FILE)]).is_ok(), "to the end of the file");
    assert_eq!(refused(&[]), NoSegments);
    assert_eq!(refused(&[load(0, 0, 0, 0)]), NoSegments);
}

#[test]
fn libraries_need_a_dynamic_section() {
    let segment = load(0, 0, 0x1000, 0x1000);
    assert_eq!(plan_as(true, &[segment]).unwrap_err(), PlacementError::NoDynamicSection);
    // Files of debugging information have it without contents.
    let emptied = ProgramHeader { p_filesz: 0, ..dynamic() };
    assert_eq!(plan_as(true, &[segment, emptied]).unwrap_err(), PlacementError::NoDynamicSection);
    let read_only = ProgramHeader { p_flags: PF_R, ..dynamic() };
    assert!(plan(&[segment]).unwrap().dynamic_writable);
    assert!(!plan_as(true, &[segment, read_only]).unwrap().dynamic_writable);
}

#[test]
fn headers_are_found_without_their_own_header() {
    let named = plan(&[load(0, 0, 0x1000, 0x1000), other(6, 0x40, 0x100)]).unwrap();
    assert_eq!(named.headers, Some(Vaddr(0x40)));
    let first = plan(&[load(0, 0x5000, 0x1000, 0x1000)]).unwrap();
    assert_eq!(first.headers, Some(Vaddr(0x5040)));
    let cut = plan(&[load(0, 0x5000, 64 + 55, 0x1000)]).unwrap();
    assert_eq!(cut.headers, None, "only a part of them is in memory");
    let elsewhere = plan(&[load(0x1000, 0x1000, 0x1000, 0x1000)]).unwrap();
    assert_eq!(elsewhere.headers, None);
}

#[test]
fn relro_is_rounded_down_at_both_ends() {
    let relro = |at, size| {
        let segments = [load(0, 0, 0x1000, 0x1000), load(0x1000, 0x2000, 0x3000, 0x3800)];
        plan(&[&segments[..], &[other(0x6474_e552, at, size)]].concat())
            .unwrap()
            .relro_pages()
            .map(|(start, end)| (start.0, end.0))
    };
    assert_eq!(relro(0x2000, 0x1000), Some((0x2000, 0x3000)));
    assert_eq!(relro(0x2df0, 0x1210), Some((0x2000, 0x4000)));
    assert_eq!(relro(0x2df0, 0x1209), Some((0x2000, 0x3000)));
    assert_eq!(relro(0x2000, 0xfff), None, "not a whole page");
    assert_eq!(relro(0x2000, 0x10_0000), Some((0x2000, 0x6000)), "cut to its segment");
    assert_eq!(relro(0x2000, u64::MAX), None, "wraps around");
    assert_eq!(relro(0x9000, 0x1000), None, "in no segment");
    assert_eq!(plan(&[load(0, 0, 0x1000, 0x1000)]).unwrap().relro_pages(), None);
}

#[test]
fn other_headers_are_noted() {
    let tls = ProgramHeader { p_filesz: 0x10, p_align: 0, ..other(7, 0x200, 0x30) };
    let stack = ProgramHeader { p_flags: PF_R | PF_W | PF_X, ..other(0x6474_e551, 0, 0) };
    let headers = [
        load(0, 0, 0x1000, 0x1000),
        tls,
        stack,
        other(3, 0x300, 0x1c),
        other(4, 0x320, 0x20),
        other(4, 0x340, 0x24),
        other(0x6474_e550, 0x400, 0x40),
        other(0x7000_0001, 1, 1),
    ];
    let placement = plan(&headers).unwrap();
    let tls = placement.tls.unwrap();
    assert_eq!((tls.image.0, tls.file_size, tls.size, tls.align), (0x200, 0x10, 0x30, 1));
    assert_eq!(placement.stack_flags, Some(PF_R | PF_W | PF_X));
    assert_eq!(placement.interpreter.unwrap().at.0, 0x300);
    assert_eq!(placement.notes.iter().map(|note| note.at.0).collect::<Vec<_>>(), [0x320, 0x340]);
    assert_eq!(placement.eh_frame_header, Some(Vaddr(0x400)));
    assert_eq!(plan(&headers[..1]).unwrap().stack_flags, None);
    assert!(plan(&[headers[0], other(7, 0, 0)]).unwrap().tls.is_none(), "empty");
}

fn edge() -> impl Strategy<Value = u64> {
    prop_oneof![
        0..0x20u64,
        (0..0x20u64).prop_map(|page| page * PAGE),
        (0..64u32).prop_map(|bit| 1 << bit),
        any::<u64>()
    ]
}

fn header() -> impl Strategy<Value = ProgramHeader> {
    let kind = prop_oneof![4 => Just(1u32), 1 => Just(2), 1 => Just(6), 1 => Just(7), 1 => Just(0x6474_e552)];
    (kind, edge(), edge(), edge(), edge(), edge()).prop_map(|(kind, offset, vaddr, filesz, memsz, align)| {
        ProgramHeader { p_type: kind, p_align: align, ..load(offset, vaddr, filesz, memsz) }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(4000) })]

    #[test]
    fn whatever_is_planned_can_be_mapped(headers in prop::collection::vec(header(), 0..8), phoff in edge(), independent: bool) {
        let header = FileHeader { position_independent: independent, entry: Vaddr(0), phoff, phnum: headers.len() as u16 };
        let Ok(placement) = Placement::plan(&header, headers.into_iter(), FILE) else { return Ok(()) };
        prop_assert!(placement.align.is_power_of_two());
        for pair in placement.segments.windows(2) {
            prop_assert!(pair[0].pages_end() <= pair[1].start);
        }
        for segment in &placement.segments {
            prop_assert!(segment.start.0 % PAGE == 0 && segment.offset % PAGE == 0);
            prop_assert!(segment.start <= segment.data_end && segment.data_end <= segment.end && segment.start < segment.end);
            prop_assert!(segment.pages_end().0 <= 1 << 47);
            let file_end = segment.offset + (segment.data_end.0 - segment.start.0);
            prop_assert!(!segment.has_file_part() || file_end <= FILE);
        }
        prop_assert_eq!(placement.start().0 + placement.span(), placement.segments.last().unwrap().pages_end().0);
        if let Some((start, end)) = placement.relro_pages() {
            let inside = |segment: &folio_link::placement::LoadSegment| segment.start <= start && end <= segment.pages_end();
            prop_assert!(start < end && placement.segments.iter().any(inside));
        }
    }
}
