use super::*;
use crate::real_files;

#[test]
fn build_ids_are_what_readelf_reads() {
    let mut found = 0;
    for file in real_files::system() {
        let ours = file
            .headers
            .iter()
            .filter(|header| header.p_type == goblin::elf64::program_header::PT_NOTE)
            .find_map(|header| build_id(&file.bytes[header.p_offset as usize..][..header.p_filesz as usize]))
            .map(|id| id.iter().map(|byte| format!("{byte:02x}")).collect::<String>());
        let lines = file.readelf("--notes");
        let theirs = lines.iter().find_map(|line| line.trim().split("Build ID: ").nth(1)).map(str::to_owned);
        assert_eq!(ours, theirs, "{}", file.path.display());
        found += usize::from(ours.is_some());
    }
    assert!(found > 0);
}

fn note(namesz: u32, descsz: u32, kind: u32, rest: &[u8]) -> Vec<u8> {
    [&namesz.to_le_bytes(), &descsz.to_le_bytes(), &kind.to_le_bytes(), rest].concat()
}

#[test]
fn other_notes_are_passed_over() {
    let id = note(4, 3, 3, b"GNU\0abc\0");
    assert_eq!(build_id(&id), Some(b"abc".as_slice()));
    let stapsdt = note(8, 5, 3, b"stapsdt\0abcde\0\0\0");
    assert_eq!(build_id(&[stapsdt, id.clone()].concat()), Some(b"abc".as_slice()));
    assert_eq!(build_id(&[note(4, 0, 1, b"GNU\0"), id].concat()), Some(b"abc".as_slice()));
}

#[test]
fn notes_that_promise_too_much_are_none() {
    assert_eq!(build_id(&[]), None);
    assert_eq!(build_id(&note(4, 4, 3, b"GNU\0abc")), None);
    assert_eq!(build_id(&note(u32::MAX, 0, 3, b"GNU\0")), None);
    assert_eq!(build_id(&note(4, u32::MAX, 3, b"GNU\0")), None);
    // The last description may lack its padding.
    assert_eq!(build_id(&note(4, 3, 3, b"GNU\0abc")), Some(b"abc".as_slice()));
}

fn property(kind: u32, value: &[u32]) -> Vec<u8> {
    let mut bytes = [kind.to_le_bytes(), (4 * value.len() as u32).to_le_bytes()].concat();
    bytes.extend(value.iter().flat_map(|word| word.to_le_bytes()));
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    bytes
}

fn properties(all: &[Vec<u8>]) -> Vec<u8> {
    let description = all.concat();
    note(4, description.len() as u32, 5, &[b"GNU\0".as_slice(), &description].concat())
}

fn isa_needed(notes: &[u8]) -> Option<u32> {
    super::properties(notes).map(|properties| properties.isa_needed)
}

#[test]
fn a_seal_is_a_property_without_a_value() {
    let seals = |all: &[Vec<u8>]| super::properties(&properties(all)).map(|properties| properties.memory_seal);
    let (seal, feature) = (property(3, &[]), property(0xc000_0002, &[3]));
    assert_eq!(seals(&[]), Some(false));
    assert_eq!(seals(std::slice::from_ref(&seal)), Some(true));
    assert_eq!(seals(&[property(1, &[0, 1]), seal.clone(), feature.clone()]), Some(true));
    assert_eq!(seals(&[seal.clone(), property(0xc000_8002, &[1])]), Some(true));
    assert_eq!(seals(&[feature, seal]), Some(false), "out of order");
    assert_eq!(seals(&[property(3, &[1])]), Some(false), "of another size");
}

#[test]
fn the_processor_that_is_needed_is_read_from_properties() {
    let feature = property(0xc000_0002, &[3]);
    let needed = property(0xc000_8002, &[0b1011]);
    assert_eq!(isa_needed(&properties(&[feature.clone(), needed.clone()])), Some(0b1011));
    assert_eq!(isa_needed(&properties(&[needed.clone(), property(0xc001_0002, &[1])])), Some(0b1011));
    assert_eq!(isa_needed(&properties(std::slice::from_ref(&feature))), Some(0), "it needs nothing");
    assert_eq!(isa_needed(&properties(&[])), Some(0));
    let other = note(4, 0, 1, b"GNU\0");
    assert_eq!(isa_needed(&other), None);
    assert_eq!(isa_needed(&[other, properties(std::slice::from_ref(&needed))].concat()), Some(0b1011));
    // What glibc does not follow either.
    assert_eq!(isa_needed(&properties(&[property(0xc001_0002, &[1]), needed.clone()])), Some(0), "out of order");
    assert_eq!(isa_needed(&properties(&[property(0xc000_8002, &[1, 2])])), Some(0), "of another size");
    let twice = [properties(std::slice::from_ref(&needed)), properties(std::slice::from_ref(&needed))].concat();
    assert_eq!(isa_needed(&twice), Some(0), "two notes");
    let whole = properties(&[feature, needed]);
    for length in 0..whole.len() {
        let cut = isa_needed(&whole[..length]);
        assert!(cut.is_none(), "{length}: {cut:?}");
        for byte in [0xff, 0x80, 0] {
            let mut damaged = whole.clone();
            damaged[length] = byte;
            let _ = isa_needed(&damaged);
        }
    }
}

#[test]
fn system_files_need_what_readelf_says() {
    let mut with_levels = 0;
    for file in real_files::system() {
        let ours = file
            .headers
            .iter()
            .filter(|header| header.p_type == goblin::elf64::program_header::PT_NOTE && header.p_align == 8)
            .find_map(|header| isa_needed(&file.bytes[header.p_offset as usize..][..header.p_filesz as usize]));
        let lines = file.readelf("--notes");
        let theirs = lines.iter().find_map(|line| line.trim().split("x86 ISA needed: ").nth(1)).map(|levels| {
            levels.split(", ").fold(0, |bits, level| match level.trim() {
                "x86-64-baseline" => bits | 1,
                "x86-64-v2" => bits | 2,
                "x86-64-v3" => bits | 4,
                "x86-64-v4" => bits | 8,
                other => panic!("{other}"),
            })
        });
        assert_eq!(ours.unwrap_or(0), theirs.unwrap_or(0), "{}", file.path.display());
        with_levels += usize::from(theirs.is_some());
    }
    println!("{with_levels} files with levels");
}
