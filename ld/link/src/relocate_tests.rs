use folio_elf::{Image, ProgramHeader, Segment};
use proptest::prelude::*;

use super::*;

/// Calls `look` with a table of relative relocations of these places.
fn with_table<R>(places: &[u64], look: impl FnOnce(Table<Rela>) -> R) -> R {
    let records = places.iter().flat_map(|&place| [place, u64::from(R_X86_64_RELATIVE), 0]);
    let file: Vec<u8> = records.flat_map(u64::to_le_bytes).collect();
    let header = ProgramHeader { p_type: 1, p_filesz: file.len() as u64, ..ProgramHeader::default() };
    let mut storage = [Segment { start: Vaddr(0), size: 0, memory: 0, writable: false }];
    let image = Image::of_file(&file, [header].into_iter(), &mut storage);
    look(image.table(Vaddr(0), places.len() as u64).unwrap())
}

/// All runs of a table, each a list of pages, and how many records they were found by.
fn runs(places: &[u64]) -> (Vec<Vec<u64>>, usize) {
    with_table(places, |table| {
        let (mut runs, mut done) = (Vec::new(), 0);
        while done < table.len() {
            let (count, run) = leading_run(table.skip(done));
            assert!(count > 0, "each look gets on");
            done += count;
            runs.extend(run.map(|(start, size)| (start.0 / PAGE..(start.0 + size) / PAGE).collect()));
        }
        (runs, done)
    })
}

#[test]
fn a_large_table_is_asked_for_in_pieces() {
    let places: Vec<u64> = (0..300 * 512).map(|word| 0x5000 + 8 * word).collect();
    let (runs, done) = runs(&places);
    assert_eq!(done, places.len());
    assert_eq!(runs.iter().map(Vec::len).collect::<Vec<_>>(), [128, 128, 44]);
    assert_eq!(runs.concat(), (5..305).collect::<Vec<_>>());
}

#[test]
fn few_pages_and_lone_places_are_not_asked_for() {
    let few: Vec<u64> = (0..7 * 512).map(|word| 8 * word).collect();
    assert!(runs(&few).0.is_empty());
    let lone: Vec<u64> = (0..500).map(|page| 2 * page * PAGE).collect();
    assert!(runs(&lone).0.is_empty());
    assert_eq!(runs(&[]).1, 0);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_page_is_asked_for_that_no_record_names(
        steps in prop::collection::vec(prop_oneof![8 => 0..64u64, 1 => 0..3 * PAGE, 1 => any::<u64>()], 0..6000),
    ) {
        let mut place = 0u64;
        let places: Vec<u64> = steps.iter().map(|step| { place = place.wrapping_add(*step); place }).collect();
        let (runs, done) = runs(&places);
        prop_assert_eq!(done, places.len());
        for page in runs.concat() {
            prop_assert!(places.iter().any(|place| place / PAGE == page));
        }
    }
}
