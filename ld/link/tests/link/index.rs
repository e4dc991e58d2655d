//! A scope's index lets nothing be missed.

use folio_elf::symbol::{STB_GLOBAL, STB_GNU_UNIQUE, STB_WEAK};
use folio_link::ObjectId;
use folio_link::bind::References;
use folio_link::index::ScopeIndex;
use folio_link::resolve::{Class, Definition, Reference, Scope, Uniques, Watch, lookup, lookup_indexed};
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
        let index = ScopeIndex::build_if_worthwhile(&world.objects, &world.scope, u64::MAX, |_| {}).unwrap();
        let (mut plain, mut indexed) = (Uniques::new(), Uniques::new());
        let place = |found: Option<Definition>| found.map(|found| (found.object, found.index));
        for name in NAMES {
            for class in [Class::Address, Class::Call, Class::Copy] {
                let reference = Reference::new(name.as_bytes(), None, class);
                let walked = lookup(&world.objects, [&world.scope], &reference, None, &mut plain, None);
                let looked_up = lookup_indexed(&world.objects, &[&world.scope], &index, &reference, &mut indexed, None, &mut ());
                prop_assert_eq!(place(walked), place(looked_up), "{} {:?}", name, class);
            }
        }
    }
}

/// Wants to see everything, so that no reference takes a shorter way.
struct Slowly;

impl Watch for Slowly {}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

    #[test]
    fn the_shortest_way_leads_to_the_same_definition(builders in objects(), symbolic in any::<bool>()) {
        let mut world = World::default();
        let unambiguous = builders.into_iter().map(|mut builder| {
            // No link editor writes a name twice.
            let mut names = Vec::new();
            builder.symbols.retain(|symbol| !names.contains(&symbol.name) && { names.push(symbol.name); true });
            builder
        });
        let ids: Vec<ObjectId> = unambiguous.map(|builder| world.add(&builder)).collect();
        let index = ScopeIndex::build_if_worthwhile(&world.objects, &world.scope, u64::MAX, |_| {}).unwrap();
        for id in ids {
            let itself = Scope { objects: vec![id] };
            let scopes = [&itself, &world.scope];
            let scopes = if symbolic { &scopes[..] } else { &scopes[1..] };
            let references = References::new(&world.objects, id, scopes).unwrap();
            let indexed = References::indexed(&world.objects, id, scopes, Some(&index)).unwrap();
            for number in 1..references.symbols.table.len().min(5) as u32 {
                let symbol = references.symbols.get(number).unwrap();
                for class in [Class::Address, Class::Call, Class::Copy] {
                    let slowly = references.bind(number, &symbol, class, &mut Uniques::new(), &mut Slowly);
                    for quickly in [&references, &indexed] {
                        let found = quickly.bind(number, &symbol, class, &mut Uniques::new(), &mut ());
                        prop_assert_eq!(found, slowly, "{} {:?} {:?}", number, class, symbol);
                    }
                }
            }
        }
    }
}

/// Buckets may name what is in no chain: numbers are given to what chains hold, not to what buckets promise.
#[test]
fn a_bucket_that_leads_nowhere_takes_no_memory() {
    let mut world = World::default();
    for stray_bucket in [None, Some(u32::MAX), Some(u32::MAX - 1), Some(1 << 31)] {
        let mut builder = shared_object("", &[defined("f", 1), defined("g", 2)]);
        builder.stray_bucket = stray_bucket;
        world.add(&builder);
    }
    world.add(&shared_object("", &[defined("last", 1)]));
    let index = ScopeIndex::build_if_worthwhile(&world.objects, &world.scope, u64::MAX, |slots| {
        assert!(size_of_val(slots) < 1 << 20, "{}", size_of_val(slots));
    });
    let reference = Reference::new(b"last", None, Class::Call);
    let (scopes, index) = ([&world.scope], index.unwrap());
    let found = lookup_indexed(&world.objects, &scopes, &index, &reference, &mut Uniques::new(), None, &mut ());
    assert_eq!(found.map(|found| found.object), world.scope.objects.last().copied());
}

/// What many objects define finds no room in the index: all are asked then, and the first has it.
#[test]
fn a_name_that_more_objects_define_than_there_are_slots_is_found_in_the_first() {
    let mut world = World::default();
    world.add(&shared_object("", &[defined("other", 1)]));
    for _ in 0..500 {
        world.add(&shared_object("", &[defined("crowd", 1)]));
    }
    world.add(&shared_object("", &[defined("last", 1)]));
    let index = ScopeIndex::build_if_worthwhile(&world.objects, &world.scope, u64::MAX, |_| {}).unwrap();
    for (name, place) in [("crowd", 1), ("other", 0), ("last", 501)] {
        let reference = Reference::new(name.as_bytes(), None, Class::Call);
        let scopes = [&world.scope];
        let found = lookup_indexed(&world.objects, &scopes, &index, &reference, &mut Uniques::new(), None, &mut ());
        assert_eq!(found.map(|found| found.object), Some(world.scope.objects[place]), "{name}");
    }
}

#[test]
fn small_scopes_and_few_references_are_not_worth_an_index() {
    let mut world = World::default();
    let worthwhile = |world: &World, references| {
        ScopeIndex::build_if_worthwhile(&world.objects, &world.scope, references, |_| {}).is_some()
    };
    assert!(!worthwhile(&world, u64::MAX), "an empty scope");
    for _ in 0..8 {
        world.add(&shared_object("", &[defined("f", 1)]));
    }
    assert!(worthwhile(&world, u64::MAX));
    assert!(!worthwhile(&world, 1));
}
