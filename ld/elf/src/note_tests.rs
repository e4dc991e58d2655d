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
