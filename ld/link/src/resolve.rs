//! Resolve: find the definition that a reference is bound to.
//!
//! The rules are the gABI's (*Symbol Table*, *Shared Object Dependencies*), the GNU version rules, and the quirks that
//! programs rely on, from *glibc elf/dl-lookup.c, check_match, do_lookup_x and _dl_lookup_symbol_x*.

use alloc::vec::Vec;

use folio_elf::hash::{self, Effort};
use folio_elf::symbol::{
    STB_GLOBAL, STB_GNU_UNIQUE, STB_WEAK, STT_COMMON, STT_FUNC, STT_GNU_IFUNC, STT_NOTYPE, STT_OBJECT, STT_TLS,
    STV_HIDDEN, STV_INTERNAL, VERSYM_HIDDEN,
};
use folio_elf::{Symbol, Symbols};
use hashbrown::HashMap;

use crate::index::ScopeIndex;
use crate::object::{Kind, Object, ObjectId, Objects};
use crate::version::Version;

/// What a reference wants to know, for the rules that depend on it (glibc `ELF_RTYPE_CLASS_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Any definition, also an undefined function symbol with a value: the executable's canonical address.
    Address,
    /// A call or a TLS reference: undefined symbols do not count.
    Call,
    /// The source of a copy relocation: the executable does not count.
    Copy,
}

/// A name to look up.
#[derive(Clone, Copy, Debug)]
pub struct Reference<'a> {
    pub name: &'a [u8],
    pub gnu_hash: u32,
    pub version: Option<&'a Version<'a>>,
    pub class: Class,
    /// `dlsym`: without version, of several take the default one.
    pub newest: bool,
    /// What this lookup and others together may take beyond the ordinary; `None` for one that comes alone.
    pub effort: Option<&'a Effort>,
}

impl<'a> Reference<'a> {
    pub fn new(name: &'a [u8], version: Option<&'a Version<'a>>, class: Class) -> Reference<'a> {
        Reference { name, gnu_hash: hash::gnu(name), version, class, newest: false, effort: None }
    }
}

/// Where a definition is.
#[derive(Clone, Copy, Debug)]
pub struct Definition {
    pub object: ObjectId,
    pub index: u32,
    pub symbol: Symbol,
}

/// Objects in the order in which they are searched (`l_scope`'s element `r_scope_elem`).
#[derive(Clone, Debug, Default)]
pub struct Scope {
    pub objects: Vec<ObjectId>,
}

/// One definition of each `STB_GNU_UNIQUE` name in a namespace, whoever asks (*glibc elf/dl-lookup.c, do_lookup_unique*).
#[derive(Debug, Default)]
pub struct Uniques {
    by_name: Option<HashMap<Vec<u8>, Definition>>,
}

impl Uniques {
    pub const fn new() -> Uniques {
        Uniques { by_name: None }
    }

    fn settle(&mut self, reference: &Reference, found: Definition, requester: Option<Definition>) -> Definition {
        let table = self.by_name.get_or_insert_default();
        if let Some(&known) = table.get(reference.name) {
            // What is copied is the library's definition, also when the copy is already the one that all use.
            return if reference.class == Class::Copy { found } else { known };
        }
        // A copy relocation moves the one definition into the executable.
        let settled = match (reference.class, requester) {
            (Class::Copy, Some(copy)) => copy,
            _ => found,
        };
        table.insert(reference.name.to_vec(), settled);
        if reference.class == Class::Copy { found } else { settled }
    }

    /// The objects that define a unique name: they can never be unloaded.
    pub fn pinned(&self) -> impl Iterator<Item = ObjectId> + '_ {
        self.by_name.iter().flat_map(HashMap::values).map(|definition| definition.object)
    }

    /// Forgets the names that objects define which could not be opened after all.
    pub fn forget(&mut self, gone: &[ObjectId]) {
        if let Some(table) = &mut self.by_name {
            table.retain(|_, definition| !gone.contains(&definition.object));
        }
    }
}

/// What the relocation of an object is made of, for who measures it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// The relative relocations of `DT_RELR`.
    Packed,
    /// The run of relative relocations at the front of `DT_RELA`.
    Relative,
    /// All others but the following: they name symbols, as a rule.
    Symbolic,
    /// `R_X86_64_IRELATIVE`.
    Indirect,
    /// One name is looked up.
    Lookup,
    /// The resolver of an IFUNC runs.
    Resolver,
}

/// Watches lookups, and may bend a rule; each method's default does nothing and costs nothing.
pub trait Watch {
    /// Whether a weak definition yields to a global one that is found later (ld.so(8), `LD_DYNAMIC_WEAK`).
    fn weak_yields(&self) -> bool {
        false
    }
    /// An object is asked for a name. It may be one that [`is_searched`] passes over.
    fn tried(&mut self, _objects: &Objects, _id: ObjectId, _reference: &Reference) {}
    /// A reference of `requester` was bound; `protected` says how the referring symbol may be seen.
    fn bound(
        &mut self,
        _objects: &Objects,
        _requester: ObjectId,
        _reference: &Reference,
        _definition: &Definition,
        _protected: bool,
    ) {
    }
    /// The last lookup's answer was taken for one more relocation.
    fn repeated(&mut self) {}
    /// A part of a relocation begins, or ends.
    fn begins(&mut self, _work: Work) {}
    fn ends(&mut self, _work: Work) {}
}

impl Watch for () {}

/// Searches `scopes` in order; `skip` (`RTLD_NEXT`) starts after that object.
///
/// `requester` is the referring symbol itself, for copy relocations of unique names.
pub fn lookup<'s>(
    objects: &Objects,
    scopes: impl IntoIterator<Item = &'s Scope>,
    reference: &Reference,
    skip: Option<ObjectId>,
    uniques: &mut Uniques,
    requester: Option<Definition>,
) -> Option<Definition> {
    lookup_watched(objects, scopes, reference, skip, uniques, requester, &mut ())
}

/// As [`lookup`], under the eyes of `watch`.
#[inline]
pub fn lookup_watched<'s>(
    objects: &Objects,
    scopes: impl IntoIterator<Item = &'s Scope>,
    reference: &Reference,
    skip: Option<ObjectId>,
    uniques: &mut Uniques,
    requester: Option<Definition>,
    watch: &mut impl Watch,
) -> Option<Definition> {
    let mut skipping = skip;
    let mut weak = None;
    for scope in scopes {
        for &id in &scope.objects {
            if let Some(last) = skipping {
                if last == id {
                    skipping = None;
                }
                continue;
            }
            watch.tried(objects, id, reference);
            if let Some(found) = try_object(objects, id, reference, uniques, requester) {
                if watch.weak_yields() && found.symbol.binding() == STB_WEAK {
                    weak = weak.or(Some(found));
                    continue;
                }
                return Some(found);
            }
        }
    }
    weak
}

/// As [`lookup`] in the scope that `index` was built from; `watch` sees the objects that the index lets pass.
#[inline]
pub fn lookup_indexed(
    objects: &Objects,
    index: &ScopeIndex,
    reference: &Reference,
    uniques: &mut Uniques,
    requester: Option<Definition>,
    watch: &mut impl Watch,
) -> Option<Definition> {
    index.candidates(reference.gnu_hash).find_map(|id| {
        watch.tried(objects, id, reference);
        try_object(objects, id, reference, uniques, requester)
    })
}

/// Whether an object has a say in what a reference is bound to.
#[inline(always)]
pub fn is_searched(object: &Object, reference: &Reference) -> bool {
    !(object.is_removed || (reference.class == Class::Copy && object.kind == Kind::Executable))
}

/// The definition that `reference` is bound to if `id` is the first object that has one.
#[inline(always)]
fn try_object(
    objects: &Objects,
    id: ObjectId,
    reference: &Reference,
    uniques: &mut Uniques,
    requester: Option<Definition>,
) -> Option<Definition> {
    if !objects.may_define(id, reference.gnu_hash) {
        return None;
    }
    let object = objects.get(id)?;
    if !is_searched(object, reference) {
        return None;
    }
    let (index, symbol) = find_in(object, reference)?;
    let found = Definition { object: id, index, symbol };
    match symbol.binding() {
        STB_GLOBAL | STB_WEAK => Some(found),
        STB_GNU_UNIQUE => Some(uniques.settle(reference, found, requester)),
        _ => None,
    }
}

/// The symbol of `object` that `reference` matches, visible or not.
#[inline]
pub fn find_in(object: &Object, reference: &Reference) -> Option<(u32, Symbol)> {
    let symbols = object.symbols.as_ref()?;
    // Versioned definitions that a reference without version may take, if there is just one.
    let mut candidates = 0u32;
    let mut candidate = None;
    // Those of one hash are versions of one name as a rule: there are a few.
    let mut passed = 0u32;
    let matches = |index: u32| {
        match judge(object, symbols, index, reference) {
            Some(Verdict::Match(symbol)) => return Some(Some((index, symbol))),
            Some(Verdict::Candidate(symbol)) => {
                candidates += 1;
                candidate.get_or_insert((index, symbol));
            }
            None => {}
        }
        passed += 1;
        (passed > 16 && !Effort::allows(reference.effort, reference.name.len() + 1)).then_some(None)
    };
    let found = match (&symbols.gnu_hash, &symbols.sysv_hash) {
        (Some(table), _) => table.find(reference.gnu_hash, reference.effort, matches),
        (None, Some(table)) => table.find(hash::sysv(reference.name), reference.effort, matches),
        (None, None) => None,
    };
    let found = found.flatten();
    let (index, symbol) = found.or_else(|| candidate.filter(|_| candidates == 1))?;
    // Hidden and internal symbols are their object's own.
    (!matches!(symbol.visibility(), STV_HIDDEN | STV_INTERNAL)).then_some((index, symbol))
}

enum Verdict {
    Match(Symbol),
    Candidate(Symbol),
}

fn judge(object: &Object, symbols: &Symbols, index: u32, reference: &Reference) -> Option<Verdict> {
    let symbol = symbols.get(index)?;
    let kind = symbol.kind();
    if symbol.0.st_value == 0 && !symbol.is_absolute() && kind != STT_TLS {
        return None;
    }
    if !symbol.is_defined() && reference.class != Class::Address {
        return None;
    }
    if !matches!(kind, STT_NOTYPE | STT_OBJECT | STT_FUNC | STT_COMMON | STT_TLS | STT_GNU_IFUNC) {
        return None;
    }
    if !symbols.strings.equals(symbol.0.st_name, reference.name) {
        return None;
    }
    let versym = symbols.version_index(index);
    match (reference.version, versym) {
        (_, None) => Some(Verdict::Match(symbol)),
        (Some(wanted), Some(versym)) => {
            let defined = object.versions.get(versym);
            let same = defined.is_some_and(|defined| defined.hash == wanted.hash && defined.name == wanted.name);
            let base = !wanted.exact && defined.is_none() && versym & VERSYM_HIDDEN == 0;
            (same || base).then_some(Verdict::Match(symbol))
        }
        (None, Some(versym)) => {
            // Index 2 is the oldest version of all: what an unversioned program was linked against.
            let first_newer = if reference.newest { 2 } else { 3 };
            if versym & !VERSYM_HIDDEN < first_newer {
                return Some(Verdict::Match(symbol));
            }
            (versym & VERSYM_HIDDEN == 0).then_some(Verdict::Candidate(symbol))
        }
    }
}
