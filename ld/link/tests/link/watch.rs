//! What is seen of lookups, and lookups that store nothing: `LD_DEBUG`, `LD_DYNAMIC_WEAK` and `LD_WARN`.

use folio_elf::relocation::{R_X86_64_GLOB_DAT, R_X86_64_JUMP_SLOT, R_X86_64_RELATIVE};
use folio_elf::symbol::STB_WEAK;
use folio_link::bind::check;
use folio_link::resolve::{Class, Definition, Reference, Watch, lookup_watched};
use folio_link::{ObjectId, Objects};

use crate::builder::{Builder, DATA, FILL, Rela, Sym, World, defined, shared_object, undefined};

#[derive(Default)]
struct Eyes {
    weak_yields: bool,
    seen: Vec<String>,
}

impl Watch for Eyes {
    fn weak_yields(&self) -> bool {
        self.weak_yields
    }

    fn tried(&mut self, _: &Objects, id: ObjectId, reference: &Reference) {
        self.seen.push(format!("{} in {}", reference.name.escape_ascii(), id.0));
    }

    fn bound(&mut self, _: &Objects, from: ObjectId, reference: &Reference, to: &Definition, protected: bool) {
        self.seen.push(format!("{}: {} to {} {protected}", reference.name.escape_ascii(), from.0, to.object.0));
    }
}

fn weak(name: &'static str, value: u64) -> Sym {
    Sym { binding: STB_WEAK, ..defined(name, value) }
}

#[test]
fn weak_definitions_yield_only_if_asked_to_and_only_to_global_ones() {
    let mut world = World::default();
    let first = world.add(&shared_object("", &[weak("f", 1), weak("g", 1)]));
    world.add(&shared_object("", &[weak("g", 2)]));
    let last = world.add(&shared_object("", &[defined("f", 3)]));
    for (weak_yields, f) in [(false, first), (true, last)] {
        let mut eyes = Eyes { weak_yields, ..Eyes::default() };
        let mut find = |name: &[u8]| {
            let reference = Reference::new(name, None, Class::Call);
            let uniques = &mut world.uniques;
            lookup_watched(&world.objects, [&world.scope], &reference, None, uniques, None, &mut eyes).unwrap().object
        };
        assert_eq!((find(b"f"), find(b"g")), (f, first));
        let through_all = ["f in 0", "f in 1", "f in 2", "g in 0", "g in 1", "g in 2"];
        assert_eq!(eyes.seen, if weak_yields { through_all.to_vec() } else { vec!["f in 0", "g in 0"] });
    }
}

/// An object that refers to one function and one object that are there, and to one of each that are not.
fn referring() -> Builder {
    let optional = Sym { binding: STB_WEAK, ..undefined("optional") };
    let wanted = [undefined("f"), undefined("v"), undefined("no_f"), undefined("no_v"), optional];
    let builder = shared_object("user", &wanted);
    let rela = |place, kind, name: &str| Rela { place: DATA + place, kind, symbol: builder.index(name), addend: 0 };
    Builder {
        rela: vec![
            Rela { place: DATA, kind: R_X86_64_RELATIVE, symbol: 0, addend: 0 },
            rela(8, R_X86_64_GLOB_DAT, "v"),
            rela(16, R_X86_64_GLOB_DAT, "no_v"),
            rela(24, R_X86_64_GLOB_DAT, "no_v"),
            rela(32, R_X86_64_GLOB_DAT, "optional"),
        ],
        jmprel: vec![rela(40, R_X86_64_JUMP_SLOT, "f"), rela(48, R_X86_64_JUMP_SLOT, "no_f")],
        ..builder
    }
}

#[test]
fn checking_reports_what_is_missing_once_and_stores_nothing() {
    for (now, missing, bound) in [
        (false, &["user: undefined symbol: no_v"][..], &["v: 0 to 1 false"][..]),
        (
            true,
            &["user: undefined symbol: no_v", "user: undefined symbol: no_f"],
            &["v: 0 to 1 false", "f: 0 to 1 false"],
        ),
    ] {
        let mut world = World::default();
        let user = world.add(&referring());
        world.add(&shared_object("", &[defined("f", 1), defined("v", 2)]));
        let mut eyes = Eyes::default();
        let mut errors = Vec::new();
        let scopes = [&world.scope];
        check(&world.objects, user, &scopes, &mut world.uniques, now, b"", &mut eyes, &mut |error| {
            errors.push(error.to_string());
        });
        assert_eq!(errors, missing);
        let bindings: Vec<_> = eyes.seen.iter().filter(|seen| seen.contains(": ")).collect();
        assert_eq!(bindings, bound);
        for place in (0..56).step_by(8) {
            assert_eq!(world.word(user, DATA + place), u64::from_le_bytes([FILL; 8]));
        }
    }
}
