//! Resolve: find the definition that a reference is bound to.
//!
//! The rules are the gABI's (*Symbol Table*, *Shared Object Dependencies*), the GNU version rules, and the quirks that
//! programs rely on, from *glibc elf/dl-lookup.c, check_match, do_lookup_x and _dl_lookup_symbol_x*.

use alloc::vec::Vec;

use folio_elf::hash::{self, Effort};
use folio_elf::image::are_equal;
use folio_elf::symbol::{
    STB_GLOBAL, STB_GNU_UNIQUE, STB_WEAK, STT_COMMON, STT_FUNC, STT_GNU_IFUNC, STT_NOTYPE, STT_OBJECT, STT_TLS,
    STV_DEFAULT, STV_HIDDEN, STV_INTERNAL, STV_PROTECTED, VERSYM_HIDDEN,
};
use folio_elf::{Symbol, Symbols};
use hashbrown::HashMap;

use crate::index::{Run, ScopeIndex};
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

/// A symbol by its number, and its object's. Searches hand on no more: it fits into registers, where a symbol goes through memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SymbolId {
    pub object: ObjectId,
    pub index: u32,
}

impl SymbolId {
    #[inline(always)]
    pub fn definition(self, objects: &Objects) -> Option<Definition> {
        let symbol = objects.get(self.object)?.symbols.as_ref()?.get(self.index)?;
        Some(Definition { object: self.object, index: self.index, symbol })
    }
}

/// Where a definition is.
#[derive(Clone, Copy, Debug)]
pub struct Definition {
    pub object: ObjectId,
    pub index: u32,
    pub symbol: Symbol,
}

impl Definition {
    #[inline(always)]
    pub fn id(&self) -> SymbolId {
        SymbolId { object: self.object, index: self.index }
    }
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

    #[cold]
    fn settle(&mut self, reference: &Reference, found: Definition, requester: Option<&Definition>) -> Definition {
        let table = self.by_name.get_or_insert_default();
        if let Some(&known) = table.get(reference.name) {
            // What is copied is the library's definition, also when the copy is already the one that all use.
            return if reference.class == Class::Copy { found } else { known };
        }
        // A copy relocation moves the one definition into the executable.
        let settled = match (reference.class, requester) {
            (Class::Copy, Some(copy)) => *copy,
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
    /// Whether each object is to be seen that a lookup comes by, and each reference. Else lookups take the shortest way.
    fn wants_all(&self) -> bool {
        true
    }
    /// Whether [`tried`](Self::tried) does anything.
    fn wants_tries(&self) -> bool {
        true
    }
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

impl Watch for () {
    #[inline(always)]
    fn wants_all(&self) -> bool {
        false
    }

    #[inline(always)]
    fn wants_tries(&self) -> bool {
        false
    }
}

/// Searches `scopes` in order; `skip` (`RTLD_NEXT`) starts after that object.
///
/// `requester` is the referring symbol itself, for copy relocations of unique names.
pub fn lookup<'s>(
    objects: &Objects,
    scopes: impl IntoIterator<Item = &'s Scope>,
    reference: &Reference,
    skip: Option<ObjectId>,
    uniques: &mut Uniques,
    requester: Option<&Definition>,
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
    requester: Option<&Definition>,
    watch: &mut (impl Watch + ?Sized),
) -> Option<Definition> {
    if skip.is_none() && !watch.wants_all() {
        let mut ids = scopes.into_iter().flat_map(|scope| scope.objects.iter().copied());
        return ids.find_map(|id| {
            watch.tried(objects, id, reference);
            try_object(objects, id, None, reference, uniques, requester)
        });
    }
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
            if let Some(found) = try_object(objects, id, None, reference, uniques, requester) {
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

/// As [`lookup`], with an index of one of the scopes; `watch` sees the objects that the index lets pass.
pub fn lookup_indexed(
    objects: &Objects,
    scopes: &[&Scope],
    index: &ScopeIndex,
    reference: &Reference,
    uniques: &mut Uniques,
    requester: Option<&Definition>,
    watch: &mut (impl Watch + ?Sized),
) -> Option<Definition> {
    let mut ask = |id, symbols: Option<&mut Run>| {
        watch.tried(objects, id, reference);
        try_object(objects, id, symbols, reference, uniques, requester)
    };
    scopes.iter().find_map(|&scope| {
        if index.is_of(scope) {
            return index.find(reference.gnu_hash, &mut ask);
        }
        scope.objects.iter().find_map(|&id| ask(id, None))
    })
}

/// Whether an object has a say in what a reference is bound to.
#[inline(always)]
pub fn is_searched(object: &Object, reference: &Reference) -> bool {
    !(object.is_removed || (reference.class == Class::Copy && object.kind == Kind::Executable))
}

/// The definition that `reference` is bound to if `id` is the first object that has one, among these `symbols` of it if it is
/// known which come into question.
#[inline(always)]
pub(crate) fn try_object(
    objects: &Objects,
    id: ObjectId,
    symbols: Option<&mut Run>,
    reference: &Reference,
    uniques: &mut Uniques,
    requester: Option<&Definition>,
) -> Option<Definition> {
    if symbols.is_none() && !objects.may_define(id, reference.gnu_hash) {
        return None;
    }
    ask_further(objects, id, symbols, reference, uniques, requester)?.definition(objects)
}

/// As [`try_object`], of an object whose filter lets the name pass.
#[inline(never)]
pub(crate) fn ask_further(
    objects: &Objects,
    id: ObjectId,
    symbols: Option<&mut Run>,
    reference: &Reference,
    uniques: &mut Uniques,
    requester: Option<&Definition>,
) -> Option<SymbolId> {
    let object = objects.get(id)?;
    if !is_searched(object, reference) {
        return None;
    }
    let index = index_among(object, symbols, reference)?;
    let symbol = object.symbols.as_ref()?.get(index).filter(is_seen)?;
    match symbol.binding() {
        STB_GLOBAL | STB_WEAK => Some(SymbolId { object: id, index }),
        STB_GNU_UNIQUE => Some(uniques.settle(reference, Definition { object: id, index, symbol }, requester).id()),
        _ => None,
    }
}

/// The symbol of `object` that `reference` matches. Its Bloom filter is not asked.
pub fn find_in(object: &Object, reference: &Reference) -> Option<(u32, Symbol)> {
    let index = index_among(object, None, reference)?;
    Some((index, object.symbols.as_ref()?.get(index).filter(is_seen)?))
}

/// Hidden and internal symbols are their object's own.
#[inline(always)]
fn is_seen(symbol: &Symbol) -> bool {
    !matches!(symbol.visibility(), STV_HIDDEN | STV_INTERNAL)
}

/// The index of the symbol that `reference` matches, of those that have its hash, if it is known which these are.
#[inline(always)]
fn index_among(object: &Object, among: Option<&mut Run>, reference: &Reference) -> Option<u32> {
    let symbols = object.symbols.as_ref()?;
    let mut judge = Judge { object, symbols, reference, candidate: 0, candidates: 0, passed: 0 };
    let found = match (among, &symbols.gnu_hash) {
        (Some(among), _) => among.find_map(|index| judge.verdict(index)),
        (None, Some(table)) => table.find_in_chain(reference.gnu_hash, reference.effort, |index| judge.verdict(index)),
        (None, None) => judge.in_sysv_table(),
    };
    match found {
        Some(index) => index,
        None => (judge.candidates == 1).then_some(judge.candidate),
    }
}

/// Judges the symbols of one object that have the hash of a reference.
struct Judge<'j, 'm> {
    object: &'j Object<'m>,
    symbols: &'j Symbols<'m>,
    reference: &'j Reference<'j>,
    /// The first versioned definition that a reference without version may take, if there is just one, and how many there are.
    candidate: u32,
    candidates: u32,
    /// Those of one hash are versions of one name as a rule: there are a few.
    passed: u32,
}

impl Judge<'_, '_> {
    #[cold]
    fn in_sysv_table(&mut self) -> Option<Option<u32>> {
        let table = self.symbols.sysv_hash.as_ref()?;
        table.find(hash::sysv(self.reference.name), self.reference.effort, |index| self.verdict(index))
    }

    /// The symbol of this number, if it matches; `None` inside if the search has taken too long. Out of line, so that the walk
    /// along a chain keeps nothing but its place.
    #[inline(never)]
    fn verdict(&mut self, index: u32) -> Option<Option<u32>> {
        match self.matches(index) {
            Some(true) => return Some(Some(index)),
            Some(false) => {
                if self.candidates == 0 {
                    self.candidate = index;
                }
                self.candidates += 1;
            }
            None => {}
        }
        self.passed += 1;
        (self.passed > 16 && !Effort::allows(self.reference.effort, self.reference.name.len() + 1)).then_some(None)
    }

    /// Whether a symbol matches for certain, or as a candidate; `None` if it does not.
    #[inline(always)]
    fn matches(&self, index: u32) -> Option<bool> {
        let (symbols, reference) = (self.symbols, self.reference);
        let symbol = symbols.get(index)?;
        if !has_value(&symbol) || !symbol.is_defined() && reference.class != Class::Address {
            return None;
        }
        if !symbols.strings.equals(symbol.0.st_name, reference.name) {
            return None;
        }
        let versym = symbols.version_index(index);
        match (reference.version, versym) {
            (_, None) => Some(true),
            (Some(wanted), Some(versym)) => {
                let defined = self.object.versions.get(versym);
                let same =
                    defined.is_some_and(|defined| defined.hash == wanted.hash && are_equal(defined.name, wanted.name));
                let base = !wanted.exact && defined.is_none() && versym & VERSYM_HIDDEN == 0;
                (same || base).then_some(true)
            }
            (None, Some(versym)) => {
                // Index 2 is the oldest version of all: what an unversioned program was linked against.
                let first_newer = if reference.newest { 2 } else { 3 };
                if versym & !VERSYM_HIDDEN < first_newer {
                    return Some(true);
                }
                (versym & VERSYM_HIDDEN == 0).then_some(false)
            }
        }
    }
}

/// Whether a symbol is of a kind that lookups find, and has a value.
#[inline(always)]
fn has_value(symbol: &Symbol) -> bool {
    const KINDS: u16 =
        1 << STT_NOTYPE | 1 << STT_OBJECT | 1 << STT_FUNC | 1 << STT_COMMON | 1 << STT_TLS | 1 << STT_GNU_IFUNC;
    let kind = symbol.kind();
    KINDS >> kind & 1 != 0 && (symbol.0.st_value != 0 || symbol.is_absolute() || kind == STT_TLS)
}

/// Whether a reference by an object's own symbol finds that symbol if the object is the first to define its name, whatever
/// the name is: a lookup would find the same name, and the same version.
#[inline(always)]
pub fn finds_itself(object: &Object, symbols: &Symbols, index: u32, symbol: &Symbol) -> bool {
    let version = || match symbols.version_index(index) {
        // Of several versions of one name, a lookup without any takes the first that it comes by.
        Some(versym) => object.versions.get(versym).is_some() || !object.versions.are_defined(),
        None => true,
    };
    symbol.is_defined()
        && has_value(symbol)
        && matches!(symbol.binding(), STB_GLOBAL | STB_WEAK)
        && matches!(symbol.visibility(), STV_DEFAULT | STV_PROTECTED)
        && version()
}
