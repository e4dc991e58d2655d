//! Each relocation type by its formula in the psABI (*Relocation Types*), and what becomes of those that cannot be made.

use folio_elf::relocation::*;
use folio_elf::symbol::{STB_LOCAL, STB_WEAK, STT_GNU_IFUNC, STT_OBJECT, STT_TLS, STV_HIDDEN};
use folio_elf::{Addr, Vaddr};
use folio_link::index::ScopeIndex;
use folio_link::relocate::{self, Indirect, Process};
use folio_link::resolve::{SymbolId, Uniques};
use folio_link::{Error, ObjectId, Problem};

use crate::builder::{
    ABSOLUTE, BIAS, Builder, DATA, DATA_SIZE, FILL, Rela, Sym, World, defined, shared_object, undefined,
};

/// What a fresh word of data holds.
const UNTOUCHED: u64 = u64::from_le_bytes([FILL; 8]);

/// A process that answers with numbers that are easy to tell, and notes what it is asked.
#[derive(Default)]
pub struct Fake {
    pub stubs: bool,
    pub asked: Vec<String>,
    /// Where resolvers wait, if they are to.
    pub later: Option<Vec<Indirect>>,
}

impl Process for Fake {
    fn call_resolver(&mut self, resolver: Addr) -> Addr {
        self.asked.push(format!("resolver {:#x}", resolver.0.wrapping_sub(BIAS)));
        Addr(resolver.0.wrapping_add(0xf00))
    }

    fn defer(&mut self, indirect: Indirect) -> bool {
        self.later.as_mut().map(|later| later.push(indirect)).is_some()
    }

    fn tls_module(&self, object: ObjectId) -> u64 {
        u64::from(object.0) + 1
    }

    fn tls_offset(&mut self, object: ObjectId) -> Result<u64, Problem> {
        self.asked.push(format!("offset {}", object.0));
        if object.0 == 9 { Err(Problem::StaticTls) } else { Ok(0x100) }
    }

    fn tls_descriptor(&mut self, object: Option<ObjectId>, offset: u64) -> Result<[u64; 2], Problem> {
        Ok([object.map_or(0xdead, |object| 0xd00 + u64::from(object.0)), offset])
    }

    fn missing_function(&mut self, _: ObjectId, symbol: u32) -> Option<Addr> {
        self.stubs.then_some(Addr(0x5700 + u64::from(symbol)))
    }

    fn bound(&mut self, requester: ObjectId, definition: SymbolId) {
        self.asked.push(format!("{} bound to {}", requester.0, definition.object.0));
    }

    fn copy_sizes_differ(&mut self, _: ObjectId, name: &[u8]) {
        self.asked.push(format!("sizes of {} differ", name.escape_ascii()));
    }
}

impl World {
    pub fn relocate(&mut self, id: ObjectId, process: &mut Fake) -> Vec<Error> {
        let mut errors = Vec::new();
        let report = &mut |error| errors.push(error);
        relocate::relocate(&self.objects, id, &[&self.scope], &mut self.uniques, process, b"./program", report);
        errors
    }
}

const LIBRARY_SYMBOL: u64 = 0x1234;

/// Relocates a library whose symbol `s` another library defines: the word at the place, what was asked, and the errors.
fn one(kind: u32, addend: i64, definition: Option<Sym>, reference: Sym) -> (u64, Vec<String>, Vec<Error>) {
    let mut user = shared_object("user", &[reference]);
    user.rela = vec![Rela { place: DATA + 16, kind, symbol: user.index(reference.name), addend }];
    let mut world = World::default();
    let user = world.add(&user);
    if let Some(definition) = definition {
        world.add(&shared_object("provider", &[definition]));
    }
    let mut process = Fake::default();
    let errors = world.relocate(user, &mut process);
    (world.word(user, DATA + 16), process.asked, errors)
}

/// The word that a relocation against another library's symbol leaves.
fn stored(kind: u32, addend: i64) -> u64 {
    let definition = Sym { size: 0x99, ..defined("s", LIBRARY_SYMBOL) };
    let (word, asked, errors) = one(kind, addend, Some(definition), undefined("s"));
    assert_eq!(errors, []);
    assert_eq!(asked, ["0 bound to 1"]);
    word
}

/// The low half of a word, if the high one is as it was.
fn low_half(word: u64) -> u32 {
    assert_eq!(word >> 32, UNTOUCHED >> 32, "only four bytes are stored");
    word as u32
}

#[test]
fn formulae_of_symbols() {
    let s = BIAS + LIBRARY_SYMBOL;
    assert_eq!(stored(R_X86_64_64, 5), s + 5);
    assert_eq!(stored(R_X86_64_64, -5), s - 5);
    assert_eq!(stored(R_X86_64_64, i64::MIN), s.wrapping_add(1 << 63));
    assert_eq!(stored(R_X86_64_GLOB_DAT, 5), s);
    assert_eq!(stored(R_X86_64_JUMP_SLOT, 5), s);
    assert_eq!(stored(R_X86_64_SIZE64, -1), 0x98);
    assert_eq!(low_half(stored(R_X86_64_SIZE32, 1)), 0x9a);
    let place = DATA + 16;
    assert_eq!(low_half(stored(R_X86_64_PC32, 7)), (LIBRARY_SYMBOL + 7).wrapping_sub(place) as u32);
}

#[test]
fn formulae_of_the_bias() {
    for (kind, addend, word) in [
        (R_X86_64_RELATIVE, 0x10, BIAS + 0x10),
        (R_X86_64_RELATIVE64, 0x10, BIAS + 0x10),
        (R_X86_64_RELATIVE, -1, BIAS - 1),
        (R_X86_64_NONE, 0x10, UNTOUCHED),
        (R_X86_64_IRELATIVE, 0x10, BIAS + 0x10 + 0xf00),
    ] {
        let (stored, _, errors) = one(kind, addend, None, undefined("s"));
        assert_eq!((stored, errors), (word, vec![]), "{kind}");
    }
}

#[test]
fn formulae_of_thread_local_storage() {
    let tls = Sym { kind: STT_TLS, ..defined("s", 0x20) };
    let word = |kind, addend| {
        let (word, _, errors) = one(kind, addend, Some(tls), undefined("s"));
        assert_eq!(errors, []);
        word
    };
    assert_eq!(word(R_X86_64_DTPMOD64, 0), 2);
    assert_eq!(word(R_X86_64_DTPOFF64, 4), 0x24);
    assert_eq!(word(R_X86_64_TPOFF64, 4), 0x24u64.wrapping_sub(0x100));
    assert_eq!(word(R_X86_64_TLSDESC, 4), 0xd01);
}

#[test]
fn descriptors_take_two_words() {
    let tls = Sym { kind: STT_TLS, ..defined("s", 0x20) };
    let mut user = shared_object("user", &[tls]);
    let rela = |place, kind, symbol, addend| Rela { place, kind, symbol, addend };
    user.rela = vec![
        rela(DATA, R_X86_64_TLSDESC, 1, 3),
        // Without a symbol it is the object's own storage.
        rela(DATA + 16, R_X86_64_TLSDESC, 0, 8),
        rela(DATA + 32, R_X86_64_DTPMOD64, 0, 0),
        rela(DATA + 40, R_X86_64_TPOFF64, 0, 8),
        rela(DATA + DATA_SIZE - 8, R_X86_64_TLSDESC, 1, 0),
    ];
    let mut world = World::default();
    let id = world.add(&user);
    let errors = world.relocate(id, &mut Fake::default());
    let words: Vec<u64> = (0..6).map(|n| world.word(id, DATA + 8 * n)).collect();
    assert_eq!(words, [0xd00, 0x23, 0xd00, 8, 1, 8u64.wrapping_sub(0x100)]);
    assert_eq!(errors, [Error::new(b"user", Problem::RelocationPlace)], "half of the last is outside");
}

#[test]
fn undefined_weak_symbols_are_zero() {
    let weak = Sym { binding: STB_WEAK, ..undefined("s") };
    for (kind, addend, word) in [
        (R_X86_64_64, 5, 5),
        (R_X86_64_GLOB_DAT, 0, 0),
        (R_X86_64_JUMP_SLOT, 0, 0),
        (R_X86_64_32, 5, UNTOUCHED >> 32 << 32 | 5),
        (R_X86_64_DTPMOD64, 0, 0),
        (R_X86_64_DTPOFF64, 4, UNTOUCHED),
        (R_X86_64_TPOFF64, 4, UNTOUCHED),
        (R_X86_64_TLSDESC, 4, 0xdead),
        (R_X86_64_COPY, 0, UNTOUCHED),
    ] {
        let (stored, asked, errors) = one(kind, addend, None, weak);
        assert_eq!((stored, asked, errors), (word, vec![], vec![]), "{kind}");
    }
}

#[test]
fn undefined_symbols_are_errors_and_the_rest_is_relocated() {
    let mut user = Builder {
        needs: vec![("libv.so", 2, "V1", 0)],
        ..shared_object("user", &[undefined("a"), Sym { versym: 2, ..undefined("b") }])
    };
    user.rela = [R_X86_64_64, R_X86_64_GLOB_DAT, R_X86_64_RELATIVE]
        .iter()
        .zip([1, 2, 0])
        .zip(0..)
        .map(|((&kind, symbol), n)| Rela { place: DATA + 8 * n, kind, symbol, addend: 1 })
        .collect();
    let mut world = World::default();
    let id = world.add(&user);
    let errors = world.relocate(id, &mut Fake { stubs: true, ..Fake::default() });
    let sentences: Vec<String> = errors.iter().map(ToString::to_string).collect();
    assert_eq!(sentences, ["user: undefined symbol: a", "user: undefined symbol: b, version V1"]);
    assert_eq!(world.word(id, DATA + 16), BIAS + 1);
}

#[test]
fn missing_functions_get_a_stub_where_the_process_has_one() {
    for stubs in [true, false] {
        let mut user = shared_object("user", &[undefined("a"), undefined("f")]);
        user.jmprel = vec![Rela { place: DATA, kind: R_X86_64_JUMP_SLOT, symbol: 2, addend: 0 }];
        let mut world = World::default();
        let id = world.add(&user);
        let errors = world.relocate(id, &mut Fake { stubs, ..Fake::default() });
        if stubs {
            assert_eq!((world.word(id, DATA), errors), (0x5702, vec![]));
        } else {
            let problem = Problem::UndefinedSymbol { name: b"f".to_vec(), version: None };
            assert_eq!((world.word(id, DATA), errors), (UNTOUCHED, vec![Error::new(b"user", problem)]));
        }
    }
}

#[test]
fn values_that_do_not_fit_are_errors() {
    let absolute = |value| Some(Sym { section: ABSOLUTE, ..defined("s", value) });
    let overflow = |kind| vec![Error::new(b"user", Problem::Overflow { symbol: b"s".to_vec(), kind })];
    for (value, addend, fits) in
        [(u64::from(u32::MAX), 0, true), (u64::from(u32::MAX), 1, false), (0, -1, false), (5, -5, true)]
    {
        let (word, _, errors) = one(R_X86_64_32, addend, absolute(value), undefined("s"));
        assert_eq!(errors, if fits { vec![] } else { overflow(R_X86_64_32) }, "{value:#x}");
        assert_eq!(word == UNTOUCHED, !fits);
    }
    let place = BIAS + DATA + 16;
    for (distance, fits) in [(i64::from(i32::MAX), true), (1 << 31, false), (-(1 << 31), true), (-(1 << 31) - 1, false)]
    {
        let value = place.wrapping_add_signed(distance);
        let (word, _, errors) = one(R_X86_64_PC32, 0, absolute(value), undefined("s"));
        assert_eq!(errors, if fits { vec![] } else { overflow(R_X86_64_PC32) }, "{distance:#x}");
        assert!(!fits || low_half(word) == distance as u32);
    }
}

#[test]
fn absolute_values_take_no_bias() {
    let (word, ..) = one(R_X86_64_64, 1, Some(Sym { section: ABSOLUTE, ..defined("s", 0x42) }), undefined("s"));
    assert_eq!(word, 0x43);
}

#[test]
fn local_and_hidden_symbols_are_not_looked_up() {
    for own in [Sym { binding: STB_LOCAL, ..defined("s", 0x10) }, Sym { visibility: STV_HIDDEN, ..defined("s", 0x10) }]
    {
        let (word, asked, errors) = one(R_X86_64_64, 0, Some(defined("s", 0x20)), own);
        assert_eq!((word, asked, errors), (BIAS + 0x10, vec![], vec![]));
    }
    let local_function = Sym { binding: STB_LOCAL, kind: STT_GNU_IFUNC, ..defined("s", 0x10) };
    let (word, asked, _) = one(R_X86_64_64, 2, None, local_function);
    assert_eq!((word, asked), (BIAS + 0x10 + 0xf00 + 2, vec!["resolver 0x10".to_owned()]));
}

#[test]
fn indirect_functions_are_asked_for_their_address() {
    let indirect = Some(Sym { kind: STT_GNU_IFUNC, ..defined("s", 0x10) });
    for (kind, addend, added) in [(R_X86_64_64, 2, 2), (R_X86_64_GLOB_DAT, 0, 0), (R_X86_64_JUMP_SLOT, 0, 0)] {
        let (word, asked, errors) = one(kind, addend, indirect, undefined("s"));
        assert_eq!((word, errors), (BIAS + 0x10 + 0xf00 + added, vec![]));
        assert_eq!(asked, ["0 bound to 1", "resolver 0x10"]);
    }
}

#[test]
fn resolvers_outside_the_code_are_not_called() {
    let nowhere = [DATA, u64::MAX - BIAS, (1 << 63) + 5];
    for value in nowhere {
        let indirect = Some(Sym { kind: STT_GNU_IFUNC, ..defined("s", value) });
        let (word, asked, errors) = one(R_X86_64_GLOB_DAT, 0, indirect, undefined("s"));
        assert_eq!((word, asked), (UNTOUCHED, vec!["0 bound to 1".to_owned()]));
        assert_eq!(errors, [Error::new(b"user", Problem::Resolver)]);
        let (word, asked, errors) = one(R_X86_64_IRELATIVE, value as i64, None, undefined("s"));
        assert_eq!((word, asked, errors), (UNTOUCHED, vec![], vec![Error::new(b"user", Problem::Resolver)]));
    }
}

/// An object with an IFUNC of its own: each kind of relocation that refers to it, and two of `R_X86_64_IRELATIVE`.
fn with_indirect_functions() -> Builder {
    let mut user = shared_object("user", &[Sym { kind: STT_GNU_IFUNC, ..defined("s", 0x10) }]);
    user.rela = vec![
        Rela { place: DATA, kind: R_X86_64_IRELATIVE, symbol: 0, addend: 0x20 },
        Rela { place: DATA + 8, kind: R_X86_64_GLOB_DAT, symbol: 1, addend: 0 },
    ];
    user.jmprel = vec![
        Rela { place: DATA + 16, kind: R_X86_64_IRELATIVE, symbol: 0, addend: 0x30 },
        Rela { place: DATA + 24, kind: R_X86_64_JUMP_SLOT, symbol: 1, addend: 0 },
    ];
    user
}

#[test]
fn resolvers_that_wait_are_called_in_the_same_order() {
    let mut world = World::default();
    let id = world.add(&with_indirect_functions());
    let mut process = Fake { later: Some(Vec::new()), ..Fake::default() };
    assert_eq!(world.relocate(id, &mut process), []);
    assert!(process.asked.is_empty());
    let later = process.later.take().unwrap();
    let resolvers: Vec<u64> = later.iter().map(|indirect| indirect.resolver.0 - BIAS).collect();
    assert_eq!(resolvers, [0x10, 0x10, 0x20, 0x30]);
    for indirect in &later {
        let chosen = process.call_resolver(indirect.resolver);
        assert!(indirect.store(&world.objects, chosen).is_some());
    }
    let words: Vec<u64> = (0..4).map(|n| world.word(id, DATA + 8 * n) - BIAS).collect();
    assert_eq!(words, [0xf20, 0xf10, 0xf30, 0xf10]);
}

#[test]
fn resolvers_do_not_wait_for_places_that_are_not_there() {
    let mut world = World::default();
    let mut user = with_indirect_functions();
    for record in user.rela.iter_mut().chain(&mut user.jmprel) {
        record.place += DATA_SIZE;
    }
    let id = world.add(&user);
    let mut process = Fake { later: Some(Vec::new()), ..Fake::default() };
    let errors = world.relocate(id, &mut process);
    assert_eq!(errors.len(), 4);
    assert!(errors.iter().all(|error| error.problem == Problem::RelocationPlace));
    assert!(process.later.unwrap().is_empty());
}

#[test]
fn irelative_waits_for_everything_else() {
    let mut world = World::default();
    let id = world.add(&with_indirect_functions());
    let mut process = Fake::default();
    assert_eq!(world.relocate(id, &mut process), []);
    assert_eq!(process.asked, ["resolver 0x10", "resolver 0x10", "resolver 0x20", "resolver 0x30"]);
    let words: Vec<u64> = (0..4).map(|n| world.word(id, DATA + 8 * n) - BIAS).collect();
    assert_eq!(words, [0xf20, 0xf10, 0xf30, 0xf10]);
}

#[test]
fn copies_are_as_long_as_both_symbols_are() {
    for (wanted, given, copied, warned) in [(8, 8, 8, false), (4, 8, 4, true), (8, 4, 4, false), (0, 0, 0, false)] {
        let object = |value, size| Sym { kind: STT_OBJECT, size, ..defined("v", value) };
        let mut world = World::default();
        let mut program = crate::builder::executable(&[object(DATA + 32, wanted)]);
        program.rela = vec![Rela { place: DATA + 32, kind: R_X86_64_COPY, symbol: 1, addend: 0 }];
        let program = world.add(&program);
        let provider = world.add(&shared_object("libv.so", &[object(DATA + DATA_SIZE - given, given)]));
        let image = &world.objects[provider].image;
        image.store(Vaddr(DATA + DATA_SIZE - 8), 0u64).unwrap();
        let mut process = Fake::default();
        assert_eq!(world.relocate(program, &mut process), []);
        let word = world.word(program, DATA + 32).to_le_bytes();
        assert_eq!(word.iter().filter(|&&byte| byte == 0).count(), copied, "{wanted} {given}");
        assert_eq!(process.asked.contains(&"sizes of v differ".to_owned()), warned);
    }
}

#[test]
fn broken_promise_of_relacount_does_no_harm() {
    for relacount in [0, 1, 2, 3, u64::MAX] {
        let mut user = shared_object("user", &[defined("s", 0x10)]);
        let rela = |n: u64, kind, symbol, addend| Rela { place: DATA + 8 * n, kind, symbol, addend };
        user.rela =
            vec![rela(0, R_X86_64_RELATIVE, 0, 1), rela(1, R_X86_64_64, 1, 2), rela(2, R_X86_64_RELATIVE, 0, 3)];
        user.relacount = relacount;
        let mut world = World::default();
        let id = world.add(&user);
        assert_eq!(world.relocate(id, &mut Fake::default()), []);
        let words: Vec<u64> = (0..4).map(|n| world.word(id, DATA + 8 * n)).collect();
        assert_eq!(words, [BIAS + 1, BIAS + 0x12, BIAS + 3, UNTOUCHED]);
    }
}

#[test]
fn relocations_of_the_plt_are_made_once_however_they_are_counted() {
    for jmprel_in_rela in [true, false] {
        let mut user = shared_object("user", &[Sym { kind: STT_GNU_IFUNC, ..defined("s", 0x10) }]);
        user.rela = vec![Rela { place: DATA, kind: R_X86_64_RELATIVE, symbol: 0, addend: 1 }];
        user.jmprel = vec![Rela { place: DATA + 8, kind: R_X86_64_JUMP_SLOT, symbol: 1, addend: 0 }];
        user.jmprel_in_rela = jmprel_in_rela;
        let mut world = World::default();
        let id = world.add(&user);
        let mut process = Fake::default();
        assert_eq!(world.relocate(id, &mut process), []);
        assert_eq!(process.asked, ["resolver 0x10"]);
        assert_eq!(world.word(id, DATA + 8), BIAS + 0x10 + 0xf00);
        let tables = relocate::tables(&world.objects[id]).unwrap();
        assert_eq!(tables.map(|table| table.len()), [1, 1]);
    }
}

#[test]
fn packed_relocations_add_the_bias() {
    let mut user = shared_object("user", &[]);
    user.relr = vec![DATA, 0b101];
    let mut world = World::default();
    let id = world.add(&user);
    assert_eq!(world.relocate(id, &mut Fake::default()), []);
    let words: Vec<u64> = (0..4).map(|n| world.word(id, DATA + 8 * n)).collect();
    let moved = UNTOUCHED.wrapping_add(BIAS);
    assert_eq!(words, [moved, UNTOUCHED, moved, UNTOUCHED]);
}

#[test]
fn places_outside_writable_memory_are_errors() {
    let problem = [Error::new(b"user", Problem::RelocationPlace)];
    for place in [0, crate::builder::TABLES, DATA - 8, DATA - 1, DATA + DATA_SIZE - 7, DATA + DATA_SIZE, u64::MAX] {
        for kind in [R_X86_64_RELATIVE, R_X86_64_64, R_X86_64_IRELATIVE, R_X86_64_JUMP_SLOT] {
            let mut user = shared_object("user", &[defined("s", 0x10)]);
            user.rela = vec![Rela { place, kind, symbol: 1, addend: 0 }];
            let mut world = World::default();
            let id = world.add(&user);
            assert_eq!(world.relocate(id, &mut Fake::default()), problem, "{kind} at {place:#x}");
        }
    }
    // An address in DT_RELR is even.
    for place in [0, crate::builder::TABLES, DATA - 8, DATA - 2, DATA + DATA_SIZE - 6, DATA + DATA_SIZE, u64::MAX - 1] {
        let mut user = shared_object("user", &[]);
        user.relr = vec![place];
        let mut world = World::default();
        let id = world.add(&user);
        assert_eq!(world.relocate(id, &mut Fake::default()), problem, "packed at {place:#x}");
    }
}

#[test]
fn types_that_dynamic_objects_may_not_have_are_errors() {
    for kind in [3, 4, 9, 12, 19, 34, 41, u32::MAX] {
        let (word, _, errors) = one(kind, 0, Some(defined("s", 1)), undefined("s"));
        assert_eq!(errors, [Error::new(b"user", Problem::RelocationType(kind))]);
        assert_eq!(word, UNTOUCHED);
    }
    let mut user = shared_object("user", &[]);
    user.rela = vec![Rela { place: DATA, kind: R_X86_64_64, symbol: u32::MAX, addend: 0 }];
    let mut world = World::default();
    let id = world.add(&user);
    assert_eq!(world.relocate(id, &mut Fake::default()), [Error::new(b"user", Problem::RelocationPlace)]);
}

#[test]
fn unique_copy_is_filled_though_libraries_were_bound_to_it_before() {
    let unique = |value| Sym { binding: folio_elf::symbol::STB_GNU_UNIQUE, kind: STT_OBJECT, ..defined("u", value) };
    let mut program = crate::builder::executable(&[unique(DATA + 8)]);
    program.rela = vec![Rela { place: DATA + 8, kind: R_X86_64_COPY, symbol: 1, addend: 0 }];
    let mut provider = shared_object("libu.so", &[unique(DATA + 16)]);
    provider.rela = vec![Rela { place: DATA, kind: R_X86_64_GLOB_DAT, symbol: 1, addend: 0 }];
    let mut world = World::default();
    let (program, provider) = (world.add(&program), world.add(&provider));
    world.objects[provider].image.store(Vaddr(DATA + 16), 42u64).unwrap();
    // Libraries are relocated before the program that copies from them.
    assert_eq!(world.relocate(provider, &mut Fake::default()), []);
    assert_eq!(world.relocate(program, &mut Fake::default()), []);
    assert_eq!(world.word(provider, DATA), BIAS + DATA + 8);
    assert_eq!(world.word(program, DATA + 8), 42);
}

/// A table that is long enough for a scout to go ahead: what it comes by changes nothing, whatever the symbols are.
#[test]
fn long_tables_store_what_short_ones_do() {
    let weak = Sym { binding: STB_WEAK, ..undefined("nowhere") };
    let hidden = Sym { visibility: STV_HIDDEN, ..defined("hidden", 0x30) };
    let symbols = [undefined("far"), defined("own", 0x10), weak, hidden, defined("earlier", 0x20), undefined("near")];
    let names: Vec<_> = symbols.iter().map(|symbol| symbol.name).collect();
    for (sysv_hash, fillers, indexed) in [(false, 0, false), (false, 70, true), (true, 0, false), (true, 9, true)] {
        let mut user = Builder { sysv_hash, ..shared_object("user", &symbols) };
        let relocation = |number: u64| Rela {
            place: DATA + 8 * (number % 32),
            kind: R_X86_64_64,
            // Runs of one symbol, of symbols in turn, of none, and of one that is not there.
            symbol: match number % 50 {
                0..20 => user.index(names[number as usize / 50 % names.len()]),
                49 => 0,
                48 => 1 << 20,
                turn => user.index(names[turn as usize % names.len()]),
            },
            addend: number as i64,
        };
        let rela: Vec<Rela> = (0..2000).map(relocation).collect();
        user.rela = rela.clone();
        let providers = [
            Builder { sysv_hash, ..shared_object("first", &[defined("earlier", 0x100)]) },
            Builder { sysv_hash, ..shared_object("last", &[defined("far", 0x200), defined("near", 0x300)]) },
        ];
        let relocated = |user: &Builder| {
            let mut world = World::default();
            world.add(&providers[0]);
            let user = world.add(user);
            (0..fillers).for_each(|_| {
                world.add(&shared_object("", &[defined("other", 1)]));
            });
            world.add(&providers[1]);
            let index = ScopeIndex::build_if_worthwhile(&world.objects, &world.scope, u64::MAX, |_| {});
            let index = index.map(ScopeIndex::scouted).filter(|_| indexed);
            assert_eq!(index.is_some(), indexed);
            let (mut process, mut uniques, mut errors) = (Fake::default(), Uniques::new(), Vec::new());
            relocate::relocate_with(
                index.as_ref(),
                &world.objects,
                user,
                &[&world.scope],
                &mut uniques,
                &mut process,
                b"",
                None,
                &mut |error| errors.push(error),
            );
            let words: Vec<u64> = (0..32).map(|word| world.word(user, DATA + 8 * word)).collect();
            (words, errors.len())
        };
        let (words, failed) = relocated(&user);
        assert_eq!(failed, 40);
        // What each place holds in the end is what the last record stores there that can be made.
        let mut expected = vec![UNTOUCHED; 32];
        for one in rela.iter().rev() {
            let word = ((one.place - DATA) / 8) as usize;
            if expected[word] == UNTOUCHED {
                user.rela = vec![*one];
                expected[word] = relocated(&user).0[word];
            }
        }
        assert_eq!(words, expected);
    }
}
