//! What is known of one object, and the table of all.

use folio_elf::dynamic::Extent;
use folio_elf::{Addr, Vaddr};
use folio_link::object::directory_of;
use folio_link::{Kind, Objects, Problem};

use crate::builder::{BIAS, Builder, DATA, DATA_SIZE, TABLES, executable, shared_object};

#[test]
fn objects_answer_to_their_names() {
    let mut object = Builder { soname: Some("libx.so.1"), ..shared_object("/lib/libx.so.1.2", &[]) }.object();
    assert!(object.answers_to(b"libx.so.1"));
    assert!(!object.answers_to(b"libx.so") && !object.answers_to(b"/lib/libx.so.1.2") && !object.answers_to(b""));
    object.add_name(b"libx.so");
    object.add_name(b"libx.so");
    assert!(object.answers_to(b"libx.so"));
    assert_eq!(object.names.len(), 1);
    assert_eq!(object.origin, b"/lib");
    assert_eq!(object.display_name(b"./program"), b"/lib/libx.so.1.2");
    assert_eq!(executable(&[]).object().display_name(b"./program"), b"./program");
}

#[test]
fn directories_of_paths() {
    for (path, directory) in [("/a/b", "/a"), ("/a", "/"), ("a", ""), ("a/b/c", "a/b"), ("", ""), ("/", "/")] {
        assert_eq!(directory_of(path.as_bytes()), directory.as_bytes(), "{path}");
    }
}

#[test]
fn object_holds_its_segments_and_not_the_holes() {
    let object = shared_object("", &[]).object();
    assert_eq!(object.span(), (Addr(BIAS), Addr(BIAS + DATA + DATA_SIZE)));
    for (at, held) in [(TABLES, true), (TABLES - 1, true), (DATA - 1, false), (DATA, true), (DATA + DATA_SIZE, false)] {
        assert_eq!(object.holds(Addr(BIAS + at)), held, "{at:#x}");
    }
    assert!(!object.holds(Addr(DATA)) && !object.holds(Addr(u64::MAX)));
}

#[test]
fn dynamic_section_must_lie_in_the_object() {
    let (mut placement, image) = shared_object("", &[]).parts();
    placement.dynamic = placement.dynamic.map(|extent| folio_elf::dynamic::Extent { size: 1 << 40, ..extent });
    let error = folio_link::Object::decode(Kind::Library, b"x", placement, image).unwrap_err();
    assert_eq!(error, Problem::Dynamic);
    // A program that is linked statically has none, and nothing to decode.
    let (mut placement, image) = shared_object("", &[]).parts();
    placement.dynamic = None;
    let object = folio_link::Object::decode(Kind::Executable, b"", placement, image).unwrap();
    assert!(object.symbols.is_none() && object.soname().is_none() && object.flags_1() == 0);
}

#[test]
fn numbers_are_used_again() {
    let mut objects = Objects::new();
    let [a, b] = ["a", "b"].map(|path| objects.insert(shared_object(path, &[]).object()));
    assert_eq!(objects.remove(a).unwrap().path, b"a");
    assert!(objects.remove(a).is_none() && objects.get(a).is_none() && objects.get_mut(a).is_none());
    let c = objects.insert(shared_object("c", &[]).object());
    assert_eq!(c, a, "the free place");
    assert_eq!(objects.iter().map(|(id, _)| id).collect::<Vec<_>>(), [c, b]);
}

#[test]
fn notes_that_lie_upon_each_other_are_read_so_often_only() {
    let needed = |others: usize| {
        let (mut placement, image) = shared_object("", &[]).parts();
        // A note of glibc's name, and in it a property of four bytes: x86-64-v2 is needed.
        let note = [4u32, 16, 5, u32::from_le_bytes(*b"GNU\0"), 0xc000_8002, 4, 2, 0];
        for (word, at) in note.into_iter().zip((DATA..).step_by(4)) {
            image.store(Vaddr(at), word).unwrap();
        }
        let extent = |at, size| Extent { at: Vaddr(at), size };
        placement.property_notes = vec![extent(DATA, 32)];
        placement.property_notes.extend(vec![extent(DATA + 32, DATA_SIZE - 32); others]);
        folio_link::Object::decode(Kind::Library, b"x", placement, image).unwrap().properties.isa_needed
    };
    assert_eq!(needed(0), 2);
    assert_eq!(needed(100), 2);
    assert_eq!(needed(10_000), 0);
}
