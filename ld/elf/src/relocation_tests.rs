use super::*;
use crate::{Image, ProgramHeader, real_files};

fn decoded(words: &[u64]) -> Vec<u64> {
    let bytes: &[u8] = words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>().leak();
    let header = ProgramHeader { p_type: 1, p_filesz: bytes.len() as u64, ..Default::default() };
    let image: Image = real_files::image_of(bytes, &[header]);
    relr(image.table(Vaddr(0), words.len() as u64).unwrap()).map(|place| place.0).collect()
}

#[test]
fn bitmaps_follow_addresses() {
    assert_eq!(decoded(&[]), []);
    assert_eq!(decoded(&[0x1000]), [0x1000]);
    // Bit 1 is the word after the address; bit 63 the last of 63.
    assert_eq!(decoded(&[0x1000, 0b11]), [0x1000, 0x1008]);
    assert_eq!(decoded(&[0x1000, 1 << 63 | 1]), [0x1000, 0x1000 + 8 * 63]);
    // A bitmap without bits moves on by 63 words.
    assert_eq!(decoded(&[0x1000, 1, 0b11]), [0x1000, 0x1008 + 8 * 63]);
    assert_eq!(decoded(&[0x1000, 0x2000, 0b101]), [0x1000, 0x2000, 0x2010]);
    // Addresses at the end of the address space wrap.
    assert_eq!(decoded(&[u64::MAX - 7, 0b11]), [u64::MAX - 7, 0]);
    assert_eq!(decoded(&[u64::MAX; 3]).len(), 63 * 3);
}

#[test]
fn packed_library_is_decoded_as_readelf_does() {
    let source = "static int x;
        struct { long number; void *pointer; } sparse[200] = { [0 ... 199] = { 7, &x } };
        void *dense[1000] = { [0 ... 700] = &x, [999] = &x };
        char gap[100000] = { 1 };
        void *last[3] = { &x, 0, &x };";
    let file = real_files::compile("packed", source, &["-Wl,-z,pack-relative-relocs"]);
    let extent = file.dynamic.relr;
    let table = file.image.table(extent.at, extent.size / 8).unwrap();
    let ours: Vec<u64> = relr(table).map(|place| place.0).collect();
    let theirs: Vec<u64> = file
        .readelf("--relocs")
        .iter()
        .filter_map(|line| (line.len() == 16).then(|| u64::from_str_radix(line, 16).ok())?)
        .collect();
    assert_eq!(ours, theirs);
    assert_eq!(ours.len(), 200 + 702 + 2);
}

#[test]
fn records_are_taken_apart_as_readelf_does() {
    for file in real_files::system() {
        let records: Vec<(u64, u64, i64)> = [file.dynamic.rela, file.dynamic.jmprel]
            .iter()
            .flat_map(|extent| file.image.table::<Rela>(extent.at, extent.size / 24).unwrap().iter())
            .map(Relocation::from)
            .map(|record| (record.offset.0, u64::from(record.symbol) << 32 | u64::from(record.kind), record.addend))
            .collect();
        let theirs: Vec<(u64, u64)> = file
            .readelf("--relocs")
            .iter()
            .map(|line| line.split_whitespace().take(3).collect::<Vec<_>>())
            .filter(|words| words.len() == 3 && words[2].starts_with("R_X86_64_"))
            .map(|words| (u64::from_str_radix(words[0], 16).unwrap(), u64::from_str_radix(words[1], 16).unwrap()))
            .collect();
        assert_eq!(records.iter().map(|record| (record.0, record.1)).collect::<Vec<_>>(), theirs);
        assert!(theirs.len() > 10);
    }
}
