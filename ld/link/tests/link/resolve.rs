//! Which definition a reference is bound to.

use folio_elf::hash;
use folio_elf::symbol::{
    STB_GNU_UNIQUE, STB_LOCAL, STB_WEAK, STT_COMMON, STT_GNU_IFUNC, STT_NOTYPE, STT_OBJECT, STT_TLS, STV_HIDDEN,
    STV_INTERNAL, STV_PROTECTED,
};
use folio_link::ObjectId;
use folio_link::bind::References;
use folio_link::resolve::{Class, Reference, Scope, find_in, lookup};
use folio_link::version::Version;

use crate::builder::{ABSOLUTE, Builder, HIDDEN, Sym, UNDEFINED, World, defined, executable, shared_object, undefined};

impl World {
    fn look_up(&mut self, reference: &Reference) -> Option<(ObjectId, u64)> {
        let found = lookup(&self.objects, [&self.scope], reference, None, &mut self.uniques, None);
        found.map(|found| (found.object, found.symbol.value().0))
    }

    fn named(&mut self, name: &'static str, class: Class) -> Option<(ObjectId, u64)> {
        self.look_up(&Reference::new(name.as_bytes(), None, class))
    }

    /// What the symbol `name` of `id`, built by `builder`, is bound to.
    fn bound(&mut self, id: ObjectId, builder: &Builder, name: &str, class: Class) -> Option<(ObjectId, u64)> {
        let scopes = [&self.scope];
        let references = References::new(&self.objects, id, &scopes).unwrap();
        let index = builder.index(name);
        let symbol = references.symbols.get(index).unwrap();
        let found = references.bind(index, &symbol, class, &mut self.uniques, &mut ())?.definition(&self.objects);
        found.map(|found| (found.object, found.symbol.value().0))
    }
}

fn version(name: &'static str) -> Version<'static> {
    Version { name: name.as_bytes(), hash: hash::sysv(name.as_bytes()), exact: false }
}

#[test]
fn first_object_of_the_scope_wins_weak_or_not() {
    for sysv_hash in [false, true] {
        let mut world = World::default();
        world.add(&Builder { sysv_hash, ..shared_object("none", &[undefined("f"), defined("g", 1)]) });
        let weak = Sym { binding: STB_WEAK, ..defined("f", 0x10) };
        let first = world.add(&Builder { sysv_hash, ..shared_object("weak", &[weak]) });
        let second = world.add(&Builder { sysv_hash, ..shared_object("strong", &[defined("f", 0x20)]) });
        assert_eq!(world.named("f", Class::Call), Some((first, 0x10)));
        assert_eq!(world.named("absent", Class::Call), None);
        world.scope.objects.reverse();
        assert_eq!(world.named("f", Class::Call), Some((second, 0x20)));
    }
}

#[test]
fn scopes_follow_each_other_and_next_skips_across_them() {
    let mut world = World::default();
    let ids: Vec<_> = (1..4).map(|n| world.add(&shared_object("", &[defined("f", n)]))).collect();
    let scopes = [Scope { objects: ids[..2].to_vec() }, Scope { objects: ids[2..].to_vec() }];
    let reference = Reference::new(b"f", None, Class::Call);
    let mut find =
        |skip| lookup(&world.objects, &scopes, &reference, skip, &mut world.uniques, None).map(|found| found.object);
    assert_eq!(find(None), Some(ids[0]));
    assert_eq!(find(Some(ids[0])), Some(ids[1]));
    assert_eq!(find(Some(ids[1])), Some(ids[2]));
    assert_eq!(find(Some(ids[2])), None);
    assert_eq!(find(Some(ObjectId(77))), None, "an object that no scope has");
}

#[test]
fn objects_that_are_gone_are_passed_over() {
    let mut world = World::default();
    let gone = world.add(&shared_object("", &[defined("f", 1)]));
    let left = world.add(&shared_object("", &[defined("f", 2)]));
    world.objects.remove(gone);
    assert_eq!(world.named("f", Class::Call), Some((left, 2)));
}

#[test]
fn symbols_of_an_object_alone_do_not_bind_others() {
    let alone: [fn(Sym) -> Sym; 4] = [
        |symbol| Sym { visibility: STV_HIDDEN, ..symbol },
        |symbol| Sym { visibility: STV_INTERNAL, ..symbol },
        |symbol| Sym { binding: STB_LOCAL, ..symbol },
        // Of no kind that is looked for: a section's symbol, as is a file's.
        |symbol| Sym { kind: 3, ..symbol },
    ];
    for change in alone {
        let mut world = World::default();
        world.add(&shared_object("own", &[change(defined("f", 1))]));
        let other = world.add(&shared_object("other", &[defined("f", 2)]));
        assert_eq!(world.named("f", Class::Call), Some((other, 2)));
    }
    let mut world = World::default();
    let id = world.add(&shared_object("own", &[Sym { visibility: STV_PROTECTED, ..defined("f", 1) }]));
    assert_eq!(world.named("f", Class::Call), Some((id, 1)));
}

#[test]
fn each_kind_of_definition_is_found() {
    for kind in [STT_NOTYPE, STT_OBJECT, STT_COMMON, STT_TLS, STT_GNU_IFUNC] {
        let mut world = World::default();
        let id = world.add(&shared_object("", &[Sym { kind, ..defined("f", 1) }]));
        assert_eq!(world.named("f", Class::Address), Some((id, 1)), "{kind}");
    }
}

#[test]
fn value_zero_defines_only_absolute_and_tls_symbols() {
    let cases = [
        (defined("f", 0), false),
        (Sym { section: ABSOLUTE, ..defined("f", 0) }, true),
        (Sym { kind: STT_TLS, ..defined("f", 0) }, true),
    ];
    for (symbol, counts) in cases {
        let mut world = World::default();
        world.add(&shared_object("", &[symbol]));
        assert_eq!(world.named("f", Class::Address).is_some(), counts, "{symbol:?}");
    }
}

#[test]
fn canonical_address_counts_for_addresses_and_not_for_calls() {
    let mut world = World::default();
    let program = executable(&[Sym { section: UNDEFINED, ..defined("f", 0x400) }]);
    let program = world.add(&program);
    let provider = world.add(&shared_object("", &[defined("f", 0x10)]));
    assert_eq!(world.named("f", Class::Address), Some((program, 0x400)));
    assert_eq!(world.named("f", Class::Call), Some((provider, 0x10)));
}

#[test]
fn copies_come_from_anywhere_but_the_executable() {
    let mut world = World::default();
    let program = world.add(&executable(&[Sym { kind: STT_OBJECT, ..defined("environ", 0x400) }]));
    let provider = world.add(&shared_object("", &[Sym { kind: STT_OBJECT, ..defined("environ", 0x10) }]));
    assert_eq!(world.named("environ", Class::Copy), Some((provider, 0x10)));
    assert_eq!(world.named("environ", Class::Address), Some((program, 0x400)));
}

#[test]
fn protected_symbols_are_their_objects_own() {
    let protected = shared_object("own", &[Sym { visibility: STV_PROTECTED, ..defined("f", 0x10) }]);
    // The executable defines the name: the library's own references do not see that.
    let mut world = World::default();
    let program = world.add(&executable(&[defined("f", 0x400)]));
    let own = world.add(&protected);
    for class in [Class::Call, Class::Address] {
        assert_eq!(world.bound(own, &protected, "f", class), Some((own, 0x10)));
    }
    assert_eq!(world.named("f", Class::Call), Some((program, 0x400)));
    // The executable holds the function's canonical address: all pointers to it must be equal.
    let mut world = World::default();
    let program = world.add(&executable(&[Sym { section: UNDEFINED, ..defined("f", 0x400) }]));
    let own = world.add(&protected);
    assert_eq!(world.bound(own, &protected, "f", Class::Call), Some((own, 0x10)));
    assert_eq!(world.bound(own, &protected, "f", Class::Address), Some((program, 0x400)));
    // Another library comes first.
    let mut world = World::default();
    world.add(&shared_object("other", &[defined("f", 0x20)]));
    let own = world.add(&protected);
    for class in [Class::Call, Class::Address] {
        assert_eq!(world.bound(own, &protected, "f", class), Some((own, 0x10)));
    }
}

/// Three definitions of one name: hidden V1, hidden V2 and default V3.
fn three_versions() -> Builder {
    let symbols = [(0x10, 2 | HIDDEN), (0x20, 3 | HIDDEN), (0x30, 4)];
    Builder {
        defines: vec![(1, "libv.so", 1), (2, "V1", 0), (3, "V2", 0), (4, "V3", 0)],
        ..shared_object("libv.so", &symbols.map(|(value, versym)| Sym { versym, ..defined("f", value) }))
    }
}

#[test]
fn versions_match_exactly() {
    let mut world = World::default();
    let id = world.add(&three_versions());
    for (name, value) in [("V1", Some(0x10)), ("V2", Some(0x20)), ("V3", Some(0x30)), ("V4", None)] {
        let version = version(name);
        let found = world.look_up(&Reference::new(b"f", Some(&version), Class::Call));
        assert_eq!(found, value.map(|value| (id, value)), "{name}");
    }
    // Equal hashes do not make equal names.
    let impostor = Version { name: b"other", ..version("V1") };
    assert_eq!(world.look_up(&Reference::new(b"f", Some(&impostor), Class::Call)), None);
}

#[test]
fn base_definitions_take_any_version_but_an_exact_one() {
    let wanted = version("V1");
    let exact = Version { exact: true, ..wanted };
    for (versym, plain, strict) in
        [(1, true, false), (0, true, false), (1 | HIDDEN, false, false), (2, true, true), (3, false, false)]
    {
        let mut world = World::default();
        let defines = vec![(1, "libv.so", 1), (2, "V1", 0), (3, "V2", 0)];
        world.add(&Builder { defines, ..shared_object("libv.so", &[Sym { versym, ..defined("f", 0x10) }]) });
        assert_eq!(world.look_up(&Reference::new(b"f", Some(&wanted), Class::Call)).is_some(), plain, "{versym:#x}");
        assert_eq!(world.look_up(&Reference::new(b"f", Some(&exact), Class::Call)).is_some(), strict, "{versym:#x}");
    }
    // An object without versions at all satisfies both.
    let mut world = World::default();
    world.add(&shared_object("libv.so", &[defined("f", 0x10)]));
    assert!(world.look_up(&Reference::new(b"f", Some(&exact), Class::Call)).is_some());
}

#[test]
fn reference_without_version_takes_the_oldest_or_the_only_one() {
    let found = |versyms: &[u16], newest: bool| {
        let mut world = World::default();
        let symbols: Vec<Sym> =
            versyms.iter().zip(1..).map(|(&versym, n)| Sym { versym, ..defined("f", 0x10 * n) }).collect();
        let defines = vec![(1, "libv.so", 1), (2, "V1", 0), (3, "V2", 0), (4, "V3", 0)];
        world.add(&Builder { defines, ..shared_object("libv.so", &symbols) });
        let reference = Reference { newest, ..Reference::new(b"f", None, Class::Call) };
        world.look_up(&reference).map(|(_, value)| value)
    };
    // The base version and the oldest, also when hidden.
    assert_eq!(found(&[1], false), Some(0x10));
    assert_eq!(found(&[4, 2 | HIDDEN], false), Some(0x20));
    assert_eq!(found(&[4, 2], false), Some(0x20));
    // One default definition of a newer version, and not two.
    assert_eq!(found(&[3], false), Some(0x10));
    assert_eq!(found(&[3 | HIDDEN, 4], false), Some(0x20));
    assert_eq!(found(&[3, 4], false), None);
    assert_eq!(found(&[3 | HIDDEN], false), None);
    // dlsym takes the default one, be it newer than the oldest.
    assert_eq!(found(&[2 | HIDDEN, 3 | HIDDEN, 4], true), Some(0x30));
    assert_eq!(found(&[2], true), Some(0x10));
    assert_eq!(found(&[2 | HIDDEN], true), None);
    assert_eq!(found(&[1], true), Some(0x10));
}

#[test]
fn references_carry_the_version_that_their_object_needs() {
    let mut world = World::default();
    let user = Builder {
        needs: vec![("libv.so", 2, "V2", 0), ("libv.so", 3, "V1", 0)],
        ..shared_object("user", &[Sym { versym: 2, ..undefined("f") }])
    };
    let id = world.add(&user);
    let provider = world.add(&three_versions());
    assert_eq!(world.bound(id, &user, "f", Class::Call), Some((provider, 0x20)));
}

#[test]
fn unique_names_have_one_definition_whatever_the_scope() {
    let unique = |value| Sym { binding: STB_GNU_UNIQUE, kind: STT_OBJECT, ..defined("u", value) };
    let mut world = World::default();
    let first = world.add(&shared_object("first", &[unique(0x10)]));
    let second = world.add(&shared_object("second", &[unique(0x20)]));
    assert_eq!(world.named("u", Class::Address), Some((first, 0x10)));
    world.scope.objects = vec![second];
    assert_eq!(world.named("u", Class::Address), Some((first, 0x10)), "settled by the first");
    assert_eq!(world.uniques.pinned().collect::<Vec<_>>(), [first]);
    world.uniques.forget(&[second]);
    world.uniques.forget(&[first]);
    assert_eq!(world.uniques.pinned().count(), 0);
    assert_eq!(world.named("u", Class::Address), Some((second, 0x20)));
}

#[test]
fn copy_of_a_unique_name_is_the_definition_from_then_on() {
    let unique = Sym { binding: STB_GNU_UNIQUE, kind: STT_OBJECT, ..defined("u", 0x10) };
    let program = executable(&[Sym { value: 0x400, ..unique }]);
    let mut world = World::default();
    let program_id = world.add(&program);
    let provider = world.add(&shared_object("", &[unique]));
    assert_eq!(world.bound(program_id, &program, "u", Class::Copy), Some((provider, 0x10)), "what is copied");
    world.scope.objects = vec![provider];
    assert_eq!(world.named("u", Class::Address), Some((program_id, 0x400)), "what it is copied to");
    // A second look for the source still finds the source.
    assert_eq!(world.bound(program_id, &program, "u", Class::Copy), Some((provider, 0x10)));
}

#[test]
fn hidden_definitions_are_not_candidates_of_an_object() {
    let mut world = World::default();
    let id = world.add(&shared_object("", &[Sym { visibility: STV_HIDDEN, ..defined("f", 1) }]));
    let object = &world.objects[id];
    assert!(find_in(object, &Reference::new(b"f", None, Class::Call)).is_none());
}
