//! Bind: which definition each symbol that an object refers to is bound to.
//!
//! Most symbols that a library refers to it defines itself, so that others may define them first (gABI, *Shared Object
//! Dependencies*). Such a reference needs no name: its hash stands in the library's own `DT_GNU_HASH`, the filters of the
//! objects that are searched before say that none of them has it, and the library's definition is the symbol itself.

use folio_elf::hash::{self, Effort};
use folio_elf::symbol::{STB_LOCAL, STB_WEAK, STV_HIDDEN, STV_INTERNAL, STV_PROTECTED};
use folio_elf::{Addr, Symbol, Symbols};

use crate::error::{Error, Problem};
use crate::index::{Run, ScopeIndex};
use crate::object::{Object, ObjectId, Objects};
use crate::relocate;
use crate::resolve::{self, Class, Definition, Reference, Scope, SymbolId, Uniques, Watch};

/// What the symbols of one object are bound to, in its scopes.
#[derive(Debug)]
pub struct References<'r, 'm> {
    pub objects: &'r Objects<'m>,
    pub requester: ObjectId,
    pub object: &'r Object<'m>,
    pub symbols: &'r Symbols<'m>,
    pub(crate) scopes: &'r [&'r Scope],
    /// An index of one of the scopes.
    pub(crate) index: Option<&'r ScopeIndex<'r>>,
    /// For all lookups together.
    pub effort: Effort,
}

impl<'r, 'm> References<'r, 'm> {
    /// `None` if `requester` has no symbols.
    pub fn new(objects: &'r Objects<'m>, requester: ObjectId, scopes: &'r [&'r Scope]) -> Option<References<'r, 'm>> {
        References::indexed(objects, requester, scopes, None)
    }

    /// As [`new`](Self::new), with an index of one of the scopes.
    pub fn indexed(
        objects: &'r Objects<'m>,
        requester: ObjectId,
        scopes: &'r [&'r Scope],
        index: Option<&'r ScopeIndex<'r>>,
    ) -> Option<References<'r, 'm>> {
        let object = &objects[requester];
        let symbols = object.symbols.as_ref()?;
        let effort = Effort::new(relocate::symbolic_count(object));
        Some(References { objects, requester, object, symbols, scopes, index, effort })
    }

    /// What the symbol of this number is bound to.
    #[inline(always)]
    pub fn bind(
        &self,
        index: u32,
        symbol: &Symbol,
        class: Class,
        uniques: &mut Uniques,
        watch: &mut (impl Watch + ?Sized),
    ) -> Option<SymbolId> {
        if is_private(symbol) {
            return Some(self.own(index));
        }
        let finds_itself = !watch.wants_all()
            && class != Class::Copy
            && resolve::finds_itself(self.object, self.symbols, index, symbol);
        if finds_itself && self.is_first(index) {
            return Some(self.own(index));
        }
        match self.index {
            None => self.look_up::<false>(index, symbol.0.st_name, class, finds_itself, uniques, watch),
            Some(_) => self.look_up::<true>(index, symbol.0.st_name, class, finds_itself, uniques, watch),
        }
    }

    #[inline(always)]
    fn own(&self, index: u32) -> SymbolId {
        SymbolId { object: self.requester, index }
    }

    /// Whether no object that is searched before this one may define the name of its symbol.
    #[inline(always)]
    fn is_first(&self, index: u32) -> bool {
        let Some(hash) = self.symbols.gnu_hash.as_ref().and_then(|table| table.hash_of(index)) else { return false };
        for &scope in self.scopes {
            let first = match self.index.filter(|index| index.is_of(scope)) {
                Some(index) => index.find(hash, |id, _| Some(id)),
                None => self.objects.first_of_either(&scope.objects, hash),
            };
            if first.is_some() {
                return first == Some(self.requester);
            }
        }
        false
    }

    /// Out of line, and once with an index and once without, so that each keeps in registers what it needs.
    #[inline(never)]
    fn look_up<const INDEXED: bool>(
        &self,
        index: u32,
        name: u32,
        class: Class,
        finds_itself: bool,
        uniques: &mut Uniques,
        watch: &mut (impl Watch + ?Sized),
    ) -> Option<SymbolId> {
        let effort = Some(&self.effort);
        let (name, gnu_hash) = hash::hashed_name(&self.symbols.strings, name, effort)?;
        let version = self.symbols.version_index(index).and_then(|versym| self.object.versions.get(versym));
        let reference = Reference { name, gnu_hash, version, class, newest: false, effort };
        let found = self.search::<INDEXED>(&reference, index, finds_itself, uniques, watch);
        let protected = self.symbols.get(index)?.visibility() == STV_PROTECTED;
        let found = match found {
            Some(other)
                if protected && self.keeps::<INDEXED>(index, other, &reference, finds_itself, uniques, watch) =>
            {
                self.own(index)
            }
            found => found?,
        };
        if let Some(definition) = found.definition(self.objects) {
            watch.bound(self.objects, self.requester, &reference, &definition, protected);
        }
        Some(found)
    }

    /// Whether a protected symbol is its object's own, where a search has found another. It is, unless the executable holds the
    /// function's canonical address (*glibc elf/dl-lookup.c, _dl_lookup_symbol_x*): that is so when a search for a call ends here.
    #[cold]
    fn keeps<const INDEXED: bool>(
        &self,
        index: u32,
        found: SymbolId,
        reference: &Reference,
        finds_itself: bool,
        uniques: &mut Uniques,
        watch: &mut (impl Watch + ?Sized),
    ) -> bool {
        let is_defined = self.symbols.get(index).is_some_and(|symbol| symbol.is_defined());
        if !is_defined || found.object == self.requester {
            return false;
        }
        let call = Reference { class: Class::Call, ..*reference };
        let called = |uniques, watch| self.search::<INDEXED>(&call, index, finds_itself, uniques, watch);
        reference.class == Class::Call || called(uniques, watch).is_some_and(|called| called.object != self.requester)
    }

    #[inline(always)]
    fn search<const INDEXED: bool>(
        &self,
        reference: &Reference,
        index: u32,
        finds_itself: bool,
        uniques: &mut Uniques,
        watch: &mut (impl Watch + ?Sized),
    ) -> Option<SymbolId> {
        // Which symbol refers to a name matters for copies only.
        let copy = (reference.class == Class::Copy).then(|| self.own(index).definition(self.objects)).flatten();
        if watch.wants_all() {
            let scopes = self.scopes.iter().copied();
            let found = resolve::lookup_watched(self.objects, scopes, reference, None, uniques, copy.as_ref(), watch);
            return found.map(|definition| definition.id());
        }
        let mut ask_further = |id, symbols: Option<&mut Run>| {
            if finds_itself && id == self.requester {
                return Some(self.own(index));
            }
            resolve::ask_further(self.objects, id, symbols, reference, uniques, copy.as_ref())
        };
        let hash = reference.gnu_hash;
        for &scope in self.scopes {
            let scope_index = if INDEXED { self.index.filter(|index| index.is_of(scope)) } else { None };
            if scope_index.is_none() && !watch.wants_tries() {
                let mut rest = &*scope.objects;
                while let Some((id, behind)) = self.objects.first_to_ask(rest, hash) {
                    if let Some(found) = ask_further(id, None) {
                        return Some(found);
                    }
                    rest = behind;
                }
                continue;
            }
            let mut ask = |id, symbols: Option<&mut Run>| {
                watch.tried(self.objects, id, reference);
                let may_define = symbols.is_some() || self.objects.may_define(id, hash);
                if may_define { ask_further(id, symbols) } else { None }
            };
            let found = match scope_index {
                Some(index) => index.find(hash, ask),
                None => scope.objects.iter().find_map(|&id| ask(id, None)),
            };
            if found.is_some() {
                return found;
            }
        }
        None
    }

    /// The problem of a symbol that nobody defines.
    pub fn undefined(&self, index: u32, symbol: &Symbol) -> Problem {
        let versym = self.symbols.version_index(index);
        let version = versym.and_then(|versym| self.object.versions.get(versym)).map(|version| version.name.to_vec());
        Problem::UndefinedSymbol { name: self.symbols.shown_name(symbol).to_vec(), version }
    }
}

/// Whether nobody but its object sees a symbol.
#[inline(always)]
pub fn is_private(symbol: &Symbol) -> bool {
    symbol.binding() == STB_LOCAL || matches!(symbol.visibility(), STV_HIDDEN | STV_INTERNAL)
}

/// Looks up what the relocations of an object refer to, and stores nothing (*glibc elf/rtld.c*, trace mode with `LD_WARN`).
/// Reports each symbol that nobody defines; functions only if `now`.
#[expect(clippy::too_many_arguments, reason = "one pass over one object, which touches all of these")]
pub fn check(
    objects: &Objects,
    id: ObjectId,
    scopes: &[&Scope],
    uniques: &mut Uniques,
    now: bool,
    program: &[u8],
    watch: &mut (impl Watch + ?Sized),
    report: &mut impl FnMut(Error),
) {
    let Some(references) = References::new(objects, id, scopes) else { return };
    let object = references.object;
    let (Some(dynamic), Some([rela, jmprel])) = (&object.dynamic, relocate::tables(object)) else { return };
    let calls = (now || dynamic.binds_now()).then(|| jmprel.iter()).into_iter().flatten();
    let mut last = None;
    for (number, class) in rela.iter().chain(calls).filter_map(relocate::reference) {
        let Some(symbol) = references.symbols.get(number) else { continue };
        if is_private(&symbol) || last.replace((number, class)) == Some((number, class)) {
            continue;
        }
        if references.bind(number, &symbol, class, uniques, watch).is_none() && symbol.binding() != STB_WEAK {
            report(Error::new(object.display_name(program), references.undefined(number, &symbol)));
        }
    }
}

/// Where a definition is in the process: S, before any resolver is asked.
#[inline(always)]
pub fn address_of(objects: &Objects, definition: &Definition) -> Addr {
    if definition.symbol.is_absolute() {
        return Addr(definition.symbol.0.st_value);
    }
    objects[definition.object].address(definition.symbol.value())
}
