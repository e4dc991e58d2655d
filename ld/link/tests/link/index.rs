//! A scope's index lets nothing be missed.

use folio_elf::symbol::{STB_GLOBAL, STB_GNU_UNIQUE, STB_WEAK};
use folio_link::ObjectId;
use folio_link::index::ScopeIndex;
use folio_link::resolve::{Class, Definition, Reference, Uniques, lookup, lookup_indexed};
use proptest::prelude::*;

use crate::builder::{Builder, Sym, World, defined, shared_object, undefined};

const NAMES: [&str; 12] = ["a", "b", "c", "d", "e", "f", "g", "h", "memcpy", "_ZN3fooC2Ev", "x", ""];

fn symbol() -> impl Strategy<Value = Sym> + Clone {
    let name = prop::sample::select(&NAMES[..]);
    let binding = prop_oneof![4 => Just(STB_GLOBAL), 1 => Just(STB_WEAK), 1 => Just(STB_GNU_UNIQUE)];
    (name, 0..4u64, binding, 0..4u8).prop_map(|(name, value, binding, visibility)| Sym {
        binding,
        visibility,
        ..if value == 0 { undefined(name) } else { defined(name, value) }
    })
}

fn objects() -> impl Strategy<Value = Vec<Builder>> {
    let object = (prop::collection::vec(symbol(), 0..4), any::<bool>())
        .prop_map(|(symbols, sysv_hash)| Builder { sysv_hash, ..shared_object("", &symbols) });
    // More objects than a word of the index has bits, at times.
    prop_oneof![3 => prop::collection::vec(object.clone(), 8..20), 1 => prop::collection::vec(object, 60..140)]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

    #[test]
    fn indexed_lookups_find_what_others_find(builders in objects(), gone in prop::collection::vec(any::<prop::sample::Index>(), 0..3)) {
        let mut world = World::default();
        let ids: Vec<ObjectId> = builders.iter().map(|builder| world.add(builder)).collect();
        for index in gone {
            world.objects.remove(*index.get(&ids));
        }
        let index = ScopeIndex::build_if_worthwhile(&world.objects, &world.scope, u64::MAX).unwrap();
        let (mut plain, mut indexed) = (Uniques::new(), Uniques::new());
        let place = |found: Option<Definition>| found.map(|found| (found.object, found.index));
        for name in NAMES {
            for class in [Class::Address, Class::Call, Class::Copy] {
                let reference = Reference::new(name.as_bytes(), None, class);
                let walked = lookup(&world.objects, [&world.scope], &reference, None, &mut plain, None);
                let looked_up = lookup_indexed(&world.objects, &index, &reference, &mut indexed, None, &mut ());
                prop_assert_eq!(place(walked), place(looked_up), "{} {:?}", name, class);
            }
        }
    }
}

#[test]
fn small_scopes_and_few_references_are_not_worth_an_index() {
    let mut world = World::default();
    let worthwhile =
        |world: &World, references| ScopeIndex::build_if_worthwhile(&world.objects, &world.scope, references).is_some();
    assert!(!worthwhile(&world, u64::MAX), "an empty scope");
    for _ in 0..8 {
        world.add(&shared_object("", &[defined("f", 1)]));
    }
    assert!(worthwhile(&world, u64::MAX));
    assert!(!worthwhile(&world, 1));
}
