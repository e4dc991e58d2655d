use super::*;

fn libc() -> Object {
    let path =
        ["/lib/x86_64-linux-gnu/libc.so.6", "/lib64/libc.so.6"].into_iter().find(|path| std::fs::exists(path).unwrap());
    Object::decode(&std::fs::read(path.expect("libc is installed")).unwrap()).unwrap()
}

#[test]
fn every_page_of_libc_has_one_kind() {
    let libc = libc();
    assert!(!libc.text_relocations);
    for pair in libc.segments.windows(2) {
        assert!(pair[0].pages.end <= pair[1].pages.start, "{pair:?}");
    }
    for kind in [Kind::Text, Kind::Constants, Kind::Relro, Kind::Data, Kind::Bss] {
        assert!(libc.segments.iter().any(|segment| segment.kind == kind), "{kind:?}: {:?}", libc.segments);
    }
}

#[test]
fn relocations_lie_where_data_is() {
    let libc = libc();
    let relocated: Vec<u64> = libc.slots.keys().copied().collect();
    assert!(!relocated.is_empty());
    for page in relocated {
        let segment = libc.segments.iter().find(|segment| segment.pages.contains(&page)).unwrap();
        assert!(segment.kind.is_data(), "page {page:#x} of {:?}", segment.kind);
        assert!(libc.relocations(page).values().sum::<u64>() > 0);
        assert!(libc.initial(page).is_some());
    }
}

#[test]
fn names_are_found() {
    let libc = libc();
    let stdout = libc.symbols.iter().find(|symbol| symbol.name == "_IO_2_1_stdout_").unwrap();
    assert!(libc.sections_at(stdout.address / PAGE).any(|section| section.name == ".data"));
    let inside = stdout.address + 8;
    assert_eq!(libc.symbols_at(inside..inside + 1).next(), Some(stdout));
}

#[test]
fn a_bias_is_found_for_each_segment() {
    let libc = libc();
    for load in &libc.loads {
        let bias = 0x7f00_0000_0000;
        let address = bias + load.address / PAGE * PAGE;
        let offset = load.offset / PAGE * PAGE;
        assert_eq!(libc.biases(address, offset, load.writable, load.executable)[0], bias);
        assert_eq!(libc.offset(load.address / PAGE), Some(offset));
    }
}

#[test]
fn damaged_files_are_no_objects() {
    let file = std::fs::read("/bin/sh").unwrap();
    assert!(Object::decode(b"#!/bin/sh\n").is_none());
    assert!(Object::decode(&[]).is_none());
    // Cut anywhere: no panic, whatever comes out.
    for length in (0..file.len()).step_by(977) {
        drop(Object::decode(&file[..length]));
    }
    // Headers full of ones wrap around.
    let mut wild = file.clone();
    wild[64..64 + 56 * 4].fill(0xff);
    drop(Object::decode(&wild));
}
