//! No table of relocations makes linking panic or touch what it may not.

use folio_elf::Vaddr;
use folio_elf::symbol::{STB_GLOBAL, STB_GNU_UNIQUE, STB_LOCAL, STB_WEAK};
use proptest::prelude::*;

use crate::builder::{Builder, DATA, DATA_SIZE, FILL, Rela, Sym, TABLES, World, defined, executable, shared_object};
use crate::relocate::Fake;

fn symbol() -> impl Strategy<Value = Sym> {
    let name = prop_oneof![Just("a"), Just("b"), Just("c")];
    let binding = prop_oneof![Just(STB_GLOBAL), Just(STB_WEAK), Just(STB_LOCAL), Just(STB_GNU_UNIQUE), 0..16u8];
    let section = prop_oneof![3 => Just(1u16), 2 => Just(0), 1 => Just(0xfff1)];
    (name, place(), 0..300u64, prop_oneof![0..3u8, Just(6), Just(10), 0..16u8], binding, 0..4u8, section, any::<u16>())
        .prop_map(|(name, value, size, kind, binding, visibility, section, versym)| Sym {
            name,
            value,
            size,
            kind,
            binding,
            visibility,
            section,
            versym,
        })
}

/// Addresses in and about the segments.
fn place() -> impl Strategy<Value = u64> {
    prop_oneof![
        6 => DATA - 16..DATA + DATA_SIZE + 16,
        2 => TABLES - 16..TABLES + 1024,
        1 => any::<u64>(),
        1 => u64::MAX - 16..u64::MAX,
    ]
}

fn rela() -> impl Strategy<Value = Rela> {
    let addend = prop_oneof![-64..64i64, any::<i64>()];
    let symbol = prop_oneof![9 => 0..8u32, 1 => any::<u32>()];
    (place(), prop_oneof![9 => 0..43u32, 1 => any::<u32>()], symbol, addend)
        .prop_map(|(place, kind, symbol, addend)| Rela { place, kind, symbol, addend })
}

prop_compose! {
    fn object()(
        symbols in prop::collection::vec(symbol(), 0..6),
        rela in prop::collection::vec(rela(), 0..24),
        jmprel in prop::collection::vec(rela(), 0..6),
        relr in prop::collection::vec(prop_oneof![place(), any::<u64>()], 0..6),
        relacount in prop_oneof![0..24u64, any::<u64>()],
        jmprel_in_rela: bool,
        sysv_hash: bool,
        versions in prop::collection::vec((any::<u16>(), prop_oneof![Just("V1"), Just("V2")], 0..4u16), 0..4),
    ) -> Builder {
        let needs = versions.iter().map(|&(index, name, flags)| ("libb.so", index, name, flags)).collect();
        Builder { rela, jmprel, relr, relacount, jmprel_in_rela, sysv_hash, needs, defines: versions, ..shared_object("", &symbols) }
    }
}

/// The bytes of an object's segments.
fn bytes(world: &World, id: folio_link::ObjectId) -> [Vec<u8>; 2] {
    let image = world.objects[id].image;
    [0, 1].map(|index| {
        let segment = image.segments()[index];
        (0..segment.size).map(|at| image.read(Vaddr(segment.start.0 + at)).unwrap()).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(3000) })]

    #[test]
    fn relocation_writes_its_own_data_only(builder in object(), other in object(), stubs: bool, first: bool) {
        let mut world = World::default();
        let bystander = world.add(&executable(&[defined("a", DATA)]));
        let mut ids = [&builder, &other].map(|builder| world.add(builder));
        if first {
            world.scope.objects.reverse();
            ids.reverse();
        }
        let [id, other] = ids;
        let before = [bystander, other, id].map(|id| bytes(&world, id));
        prop_assert!(before[2][1].iter().all(|&byte| byte == FILL));
        let mut process = Fake { stubs, ..Fake::default() };
        let errors = world.relocate(id, &mut process);
        let after = [bystander, other, id].map(|id| bytes(&world, id));
        prop_assert_eq!(&before[..2], &after[..2]);
        prop_assert_eq!(&before[2][0], &after[2][0], "tables are read only");
        // Each relocation fails at most once, but for an indirect one, which is seen twice.
        prop_assert!(errors.len() <= 2 * (24 + 6) + 1);
        for error in errors {
            prop_assert!(!error.to_string().is_empty());
        }
    }

    #[test]
    fn version_check_ends(builder in object(), other in object()) {
        let mut world = World::default();
        let id = world.add(&builder);
        world.add(&Builder { soname: Some("libb.so"), ..other });
        let mut errors = 0;
        folio_link::version::check(&world.objects, &world.scope.objects, id, b"", &mut |_| errors += 1);
        prop_assert!(errors <= builder.needs.len());
    }
}
