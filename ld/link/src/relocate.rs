//! Relocate: compute and store what each relocation of an object asks for.
//!
//! Formulae are the psABI's (*Relocation Types*): A is the addend, B the load bias, S the value of the symbol, P the place,
//! Z the size of the symbol. What only a running process can answer (what an IFUNC resolver returns, where thread-local
//! storage lies) is asked through [`Process`].

use folio_elf::hash::{self, Effort};
use folio_elf::image::Writer;
use folio_elf::relocation::{
    R_X86_64_32, R_X86_64_64, R_X86_64_COPY, R_X86_64_DTPMOD64, R_X86_64_DTPOFF64, R_X86_64_GLOB_DAT,
    R_X86_64_IRELATIVE, R_X86_64_JUMP_SLOT, R_X86_64_NONE, R_X86_64_PC32, R_X86_64_RELATIVE, R_X86_64_RELATIVE64,
    R_X86_64_SIZE32, R_X86_64_SIZE64, R_X86_64_TLSDESC, R_X86_64_TPOFF64, Rela, Relocation, relr,
};
use folio_elf::symbol::{STB_LOCAL, STB_WEAK, STT_GNU_IFUNC, STV_HIDDEN, STV_INTERNAL, STV_PROTECTED};
use folio_elf::{Addr, Symbol, Symbols, Table, Vaddr};

use crate::error::{Error, Problem};
use crate::index::ScopeIndex;
use crate::object::{Object, ObjectId, Objects};
use crate::placement::PAGE;
use crate::resolve::{self, Class, Definition, Reference, Scope, Uniques, Watch, Work};

/// Size in bytes of an `Elf64_Rela`.
const RELA: u64 = 24;

/// What relocation asks of the process that it links.
pub trait Process {
    /// Calls an IFUNC resolver and gives the address that it chose.
    fn call_resolver(&mut self, resolver: Addr) -> Addr;
    /// Takes over to call the resolver later, and to store what it chose; `false`: it is to be called now.
    fn defer(&mut self, indirect: Indirect) -> bool;
    /// The TLS module id of an object (psABI, *Thread-Local Storage*); 0 if it has no TLS.
    fn tls_module(&self, object: ObjectId) -> u64;
    /// How far below the thread pointer the object's static TLS block starts; makes sure it has one.
    fn tls_offset(&mut self, object: ObjectId) -> Result<u64, Problem>;
    /// The two words of a TLS descriptor for `offset` in the object's block; `None`: an undefined weak symbol's.
    fn tls_descriptor(&mut self, object: Option<ObjectId>, offset: u64) -> Result<[u64; 2], Problem>;
    /// A function that looks `symbol` of `requester` up when it is called; `None` if that must be an error now.
    fn missing_function(&mut self, requester: ObjectId, symbol: u32) -> Option<Addr>;
    /// Whether functions are bound when they are first called, so that the slots of the PLT stay what the file says. The
    /// caller then provides what the first entry of the PLT calls (psABI, *Procedure Linkage Table*).
    fn binds_lazily(&self) -> bool {
        false
    }
    /// Notes that `requester` is bound to a definition of another object.
    fn bound(&mut self, requester: ObjectId, definition: &Definition);
    /// Notes that a copy relocation's two symbols differ in size.
    fn copy_sizes_differ(&mut self, requester: ObjectId, name: &[u8]);
}

/// A word that waits for what an IFUNC resolver chooses: indirect (S) + A, or indirect (B + A).
#[derive(Clone, Copy, Debug)]
pub struct Indirect {
    pub object: ObjectId,
    pub place: Vaddr,
    pub resolver: Addr,
    /// To be added to the address that the resolver chooses.
    pub addend: i64,
}

impl Indirect {
    /// Stores the address that the resolver chose. `None`: there is no such place in the object.
    pub fn store(&self, objects: &Objects, chosen: Addr) -> Option<()> {
        objects[self.object].image.store(self.place, chosen.0.wrapping_add_signed(self.addend))
    }
}

/// The relocations of `object`: those of `DT_RELA` that are not also in `DT_JMPREL`, and those of `DT_JMPREL`.
pub fn tables<'m>(object: &Object<'m>) -> Option<[Table<'m, Rela>; 2]> {
    let dynamic = object.dynamic.as_ref()?;
    let (mut rela, jmprel) = (dynamic.rela, dynamic.jmprel);
    // Some link editors count the PLT's relocations in DT_RELASZ too: they are the last of that table.
    if !jmprel.is_empty()
        && jmprel.at >= rela.at
        && rela.at.0.checked_add(rela.size)? == jmprel.at.0.checked_add(jmprel.size)?
    {
        rela.size = jmprel.at.0 - rela.at.0;
    }
    Some([object.image.table(rela.at, rela.size / RELA)?, object.image.table(jmprel.at, jmprel.size / RELA)?])
}

/// Relocates one object against `scopes`; each relocation that cannot be made is reported, and the rest are made.
pub fn relocate<P: Process>(
    objects: &Objects,
    id: ObjectId,
    scopes: &[&Scope],
    uniques: &mut Uniques,
    process: &mut P,
    program: &[u8],
    report: &mut impl FnMut(Error),
) {
    relocate_with(None, objects, id, scopes, uniques, process, program, &mut (), report);
}

/// As [`relocate`]; `index`, if there is one, is that of the only scope; `watch` is not told of objects that it rules out.
#[expect(clippy::too_many_arguments, reason = "one pass over one object, which touches all of these")]
pub fn relocate_with<P: Process, W: Watch>(
    index: Option<&ScopeIndex>,
    objects: &Objects,
    id: ObjectId,
    scopes: &[&Scope],
    uniques: &mut Uniques,
    process: &mut P,
    program: &[u8],
    watch: &mut W,
    report: &mut impl FnMut(Error),
) {
    let object = &objects[id];
    let Some(dynamic) = &object.dynamic else { return };
    let Some(symbols) = &object.symbols else { return };
    let mut relocator = Relocator {
        objects,
        object,
        id,
        symbols,
        scopes,
        index,
        uniques,
        process,
        watch,
        writer: object.image.writer(),
        last: None,
        indirect: false,
        effort: Effort::new(symbolic_count(object)),
    };
    let mut fail = |problem| report(Error::new(object.display_name(program), problem));
    let packed = object.image.table(dynamic.relr.at, dynamic.relr.size / 8);
    let (Some(packed), Some([rela, jmprel])) = (packed, tables(object)) else {
        return fail(Problem::RelocationPlace);
    };
    relocator.watch.begins(Work::Packed);
    for place in relr(packed) {
        if relocator.add_bias(place).is_none() {
            return fail(Problem::RelocationPlace);
        }
    }
    relocator.watch.ends(Work::Packed);
    relocator.watch.begins(Work::Relative);
    // DT_RELACOUNT promises a run of relative relocations at the front; a wrong promise ends the run early.
    let promised = rela.truncated(dynamic.relacount.min(rela.len() as u64) as usize);
    let Some(relative) = relocator.writer.store_relative(promised) else {
        return fail(Problem::RelocationPlace);
    };
    relocator.watch.ends(Work::Relative);
    let rest = rela.skip(relative);
    let lazily = relocator.process.binds_lazily();
    relocator.watch.begins(Work::Symbolic);
    for record in rest.iter().chain(jmprel.iter()) {
        let relocation = Relocation::from(record);
        let applied = if lazily && relocation.kind == R_X86_64_JUMP_SLOT {
            relocator.add_bias(relocation.offset).ok_or(Problem::RelocationPlace)
        } else {
            relocator.apply(&relocation)
        };
        if let Err(problem) = applied {
            fail(problem);
        }
    }
    relocator.watch.ends(Work::Symbolic);
    // Resolvers of this object may use anything in it: they run when all else is in place.
    if relocator.indirect {
        relocator.watch.begins(Work::Indirect);
        for record in rest.iter().chain(jmprel.iter()) {
            let relocation = Relocation::from(record);
            if relocation.kind == R_X86_64_IRELATIVE
                && let Err(problem) = relocator.store_relative_indirect(&relocation)
            {
                fail(problem);
            }
        }
        relocator.watch.ends(Work::Indirect);
    }
}

/// The state of relocating one object.
struct Relocator<'r, 'm, P, W> {
    objects: &'r Objects<'m>,
    object: &'r Object<'m>,
    id: ObjectId,
    symbols: &'r Symbols<'m>,
    scopes: &'r [&'r Scope],
    index: Option<&'r ScopeIndex>,
    uniques: &'r mut Uniques,
    process: &'r mut P,
    watch: &'r mut W,
    writer: Writer<'m>,
    /// The last lookup: relocations of one symbol often come together.
    last: Option<(u32, Class, Option<Definition>)>,
    /// Whether there are `R_X86_64_IRELATIVE` relocations.
    indirect: bool,
    effort: Effort,
}

impl<P: Process, W: Watch> Relocator<'_, '_, P, W> {
    fn add_bias(&mut self, place: Vaddr) -> Option<()> {
        let bias = self.object.image.bias().0;
        let value: u64 = self.writer.read(place)?;
        self.writer.store(place, value.wrapping_add(bias))
    }

    /// B + A.
    #[inline(always)]
    fn store_relative(&mut self, relocation: &Relocation) -> Option<()> {
        let value = self.object.image.bias().0.wrapping_add_signed(relocation.addend);
        self.writer.store(relocation.offset, value)
    }

    /// indirect (B + A).
    fn store_relative_indirect(&mut self, relocation: &Relocation) -> Result<(), Problem> {
        let resolver = Addr(self.object.image.bias().0.wrapping_add_signed(relocation.addend));
        self.store_indirect(relocation.offset, self.object, resolver, 0)
    }

    /// S + A.
    #[inline(always)]
    fn store_value(&mut self, place: Vaddr, definition: Option<Definition>, addend: i64) -> Result<(), Problem> {
        let address = definition.map_or(Addr(0), |definition| address_of(self.objects, &definition));
        if let Some(definition) = definition.filter(is_indirect) {
            return self.store_indirect(place, &self.objects[definition.object], address, addend);
        }
        self.writer.store(place, address.0.wrapping_add_signed(addend)).ok_or(Problem::RelocationPlace)
    }

    #[cold]
    fn store_indirect(&mut self, place: Vaddr, owner: &Object, resolver: Addr, addend: i64) -> Result<(), Problem> {
        if !owner.holds_code(resolver) {
            return Err(Problem::Resolver);
        }
        // Who defers it may rely on its place.
        let _: u64 = self.writer.read(place).ok_or(Problem::RelocationPlace)?;
        if self.process.defer(Indirect { object: self.id, place, resolver, addend }) {
            // Nobody's address until then.
            return self.writer.store(place, 0u64).ok_or(Problem::RelocationPlace);
        }
        let chosen = self.call_resolver(resolver);
        self.writer.store(place, chosen.0.wrapping_add_signed(addend)).ok_or(Problem::RelocationPlace)
    }

    fn call_resolver(&mut self, resolver: Addr) -> Addr {
        self.watch.begins(Work::Resolver);
        let chosen = self.process.call_resolver(resolver);
        self.watch.ends(Work::Resolver);
        chosen
    }

    fn apply(&mut self, relocation: &Relocation) -> Result<(), Problem> {
        let place = relocation.offset;
        let addend = relocation.addend;
        match relocation.kind {
            R_X86_64_NONE => return Ok(()),
            R_X86_64_RELATIVE | R_X86_64_RELATIVE64 => {
                return self.store_relative(relocation).ok_or(Problem::RelocationPlace);
            }
            R_X86_64_IRELATIVE => {
                self.indirect = true;
                return Ok(());
            }
            _ => {}
        }
        let symbol = self.symbols.get(relocation.symbol).ok_or(Problem::RelocationPlace)?;
        let class = class_of(relocation.kind);
        let definition = self.bind(relocation.symbol, &symbol, class);
        let is_call = relocation.kind == R_X86_64_JUMP_SLOT;
        if definition.is_none() && (is_call || symbol.binding() != STB_WEAK) {
            // Weak or not, a function that nobody defines yet may be defined by the time it is called. Whether it is
            // there programs ask by other relocations, which stay 0.
            let stub = if is_call { self.process.missing_function(self.id, relocation.symbol) } else { None };
            if let Some(stub) = stub {
                return self.writer.store(place, stub.0).ok_or(Problem::RelocationPlace);
            }
            if symbol.binding() != STB_WEAK {
                return Err(self.undefined(relocation.symbol, &symbol));
            }
        }
        let stored = match relocation.kind {
            // S
            R_X86_64_GLOB_DAT | R_X86_64_JUMP_SLOT => return self.store_value(place, definition, 0),
            R_X86_64_64 => return self.store_value(place, definition, addend),
            R_X86_64_32 => {
                let value = self.value(definition)?.0.wrapping_add_signed(addend);
                let Ok(word) = u32::try_from(value) else {
                    return Err(self.overflow(&symbol, relocation.kind));
                };
                self.writer.store(place, word)
            }
            // S + A - P
            R_X86_64_PC32 => {
                let at = self.object.address(place).0;
                let value = self.value(definition)?.0.wrapping_add_signed(addend).wrapping_sub(at);
                let Ok(word) = i32::try_from(value as i64) else {
                    return Err(self.overflow(&symbol, relocation.kind));
                };
                self.writer.store(place, word as u32)
            }
            // Z + A
            R_X86_64_SIZE64 => {
                let size = definition.map_or(0, |definition| definition.symbol.0.st_size);
                self.writer.store(place, size.wrapping_add_signed(addend))
            }
            R_X86_64_SIZE32 => {
                let size = definition.map_or(0, |definition| definition.symbol.0.st_size);
                self.writer.store(place, size.wrapping_add_signed(addend) as u32)
            }
            R_X86_64_COPY => return self.copy(place, &symbol, definition),
            R_X86_64_DTPMOD64 => {
                let module = definition.map_or(0, |definition| self.process.tls_module(definition.object));
                self.writer.store(place, module)
            }
            R_X86_64_DTPOFF64 => match definition {
                Some(definition) => {
                    let offset = definition.symbol.0.st_value.wrapping_add_signed(addend);
                    self.writer.store(place, offset)
                }
                None => Some(()),
            },
            R_X86_64_TPOFF64 => match definition {
                Some(definition) => {
                    let below = self.process.tls_offset(definition.object)?;
                    let offset = definition.symbol.0.st_value.wrapping_add_signed(addend);
                    self.writer.store(place, offset.wrapping_sub(below))
                }
                None => Some(()),
            },
            R_X86_64_TLSDESC => {
                let value = definition.map_or(0, |definition| definition.symbol.0.st_value);
                let owner = definition.map(|definition| definition.object);
                let words = self.process.tls_descriptor(owner, value.wrapping_add_signed(addend))?;
                self.writer
                    .store(place, words[0])
                    .and_then(|()| self.writer.store(Vaddr(place.0.wrapping_add(8)), words[1]))
            }
            other => return Err(Problem::RelocationType(other)),
        };
        stored.ok_or(Problem::RelocationPlace)
    }

    /// The definition that a symbol of this object is bound to.
    #[inline]
    fn bind(&mut self, index: u32, symbol: &Symbol, class: Class) -> Option<Definition> {
        let own = Definition { object: self.id, index, symbol: *symbol };
        if symbol.binding() == STB_LOCAL || matches!(symbol.visibility(), STV_HIDDEN | STV_INTERNAL) {
            return Some(own);
        }
        if let Some((last_index, last_class, definition)) = self.last
            && last_index == index
            && last_class == class
        {
            self.watch.repeated();
            return definition;
        }
        self.watch.begins(Work::Lookup);
        let definition = bind_with(
            self.index,
            self.objects,
            own,
            self.symbols,
            self.scopes,
            class,
            Some(&self.effort),
            self.uniques,
            self.watch,
        );
        self.watch.ends(Work::Lookup);
        if let Some(definition) = &definition
            && definition.object != self.id
        {
            self.process.bound(self.id, definition);
        }
        self.last = Some((index, class, definition));
        definition
    }

    /// S: the run-time value of a definition, 0 for none; of an IFUNC, what its resolver says.
    #[inline]
    fn value(&mut self, definition: Option<Definition>) -> Result<Addr, Problem> {
        let Some(definition) = definition else { return Ok(Addr(0)) };
        let address = address_of(self.objects, &definition);
        if !is_indirect(&definition) {
            return Ok(address);
        }
        if !self.objects[definition.object].holds_code(address) {
            return Err(Problem::Resolver);
        }
        Ok(self.call_resolver(address))
    }

    fn copy(&mut self, place: Vaddr, symbol: &Symbol, definition: Option<Definition>) -> Result<(), Problem> {
        let Some(definition) = definition else { return Ok(()) };
        let (wanted, given) = (symbol.0.st_size, definition.symbol.0.st_size);
        if given > wanted {
            let name = self.symbols.shown_name(symbol);
            self.process.copy_sizes_differ(self.id, name);
        }
        let source = &self.objects[definition.object].image;
        let size = wanted.min(given);
        // Large variables are few: each is copied once.
        if size > PAGE && !self.effort.spend((size / 64) as usize) {
            return Err(Problem::RelocationPlace);
        }
        self.object.image.copy_from(place, source, definition.symbol.value(), size).ok_or(Problem::RelocationPlace)
    }

    fn undefined(&self, index: u32, symbol: &Symbol) -> Problem {
        undefined(self.object, self.symbols, index, symbol)
    }

    fn overflow(&self, symbol: &Symbol, kind: u32) -> Problem {
        Problem::Overflow { symbol: self.symbols.shown_name(symbol).to_vec(), kind }
    }
}

/// Whether a definition is an IFUNC: its address is that of a resolver.
fn is_indirect(definition: &Definition) -> bool {
    definition.symbol.kind() == STT_GNU_IFUNC && definition.symbol.is_defined()
}

/// What a relocation of that type wants to know of its symbol.
#[inline(always)]
fn class_of(kind: u32) -> Class {
    match kind {
        R_X86_64_JUMP_SLOT | R_X86_64_DTPMOD64 | R_X86_64_DTPOFF64 | R_X86_64_TPOFF64 | R_X86_64_TLSDESC => Class::Call,
        R_X86_64_COPY => Class::Copy,
        _ => Class::Address,
    }
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
    watch: &mut impl Watch,
    report: &mut impl FnMut(Error),
) {
    let object = &objects[id];
    let (Some(dynamic), Some(symbols), Some([rela, jmprel])) = (&object.dynamic, &object.symbols, tables(object))
    else {
        return;
    };
    let effort = Effort::new(symbolic_count(object));
    let calls = (now || dynamic.binds_now()).then(|| jmprel.iter()).into_iter().flatten();
    let mut last = None;
    for relocation in rela.iter().chain(calls).map(Relocation::from) {
        match relocation.kind {
            R_X86_64_NONE | R_X86_64_RELATIVE | R_X86_64_RELATIVE64 | R_X86_64_IRELATIVE => continue,
            _ => {}
        }
        let class = class_of(relocation.kind);
        let Some(symbol) = symbols.get(relocation.symbol) else { continue };
        let is_own = symbol.binding() == STB_LOCAL || matches!(symbol.visibility(), STV_HIDDEN | STV_INTERNAL);
        if is_own || last.replace((relocation.symbol, class)) == Some((relocation.symbol, class)) {
            continue;
        }
        let own = Definition { object: id, index: relocation.symbol, symbol };
        let found = bind_with(None, objects, own, symbols, scopes, class, Some(&effort), uniques, watch);
        if found.is_none() && symbol.binding() != STB_WEAK {
            let problem = undefined(object, symbols, relocation.symbol, &symbol);
            report(Error::new(object.display_name(program), problem));
        }
    }
}

/// Number of relocations of `object` that name a symbol, or may.
pub fn symbolic_count(object: &Object) -> u64 {
    let Some(dynamic) = &object.dynamic else { return 0 };
    (dynamic.rela.size / RELA).saturating_sub(dynamic.relacount).saturating_add(dynamic.jmprel.size / RELA)
}

/// Looks `own`, a symbol that is neither local nor hidden, up in `scopes`.
pub fn bind(
    objects: &Objects,
    own: Definition,
    symbols: &Symbols,
    scopes: &[&Scope],
    class: Class,
    uniques: &mut Uniques,
    watch: &mut impl Watch,
) -> Option<Definition> {
    bind_with(None, objects, own, symbols, scopes, class, None, uniques, watch)
}

// Inlined by force: with its many arguments, calls cost more than what a repeated body adds.
#[inline(always)]
#[expect(clippy::too_many_arguments, reason = "one lookup, and where it looks")]
fn bind_with(
    index: Option<&ScopeIndex>,
    objects: &Objects,
    own: Definition,
    symbols: &Symbols,
    scopes: &[&Scope],
    class: Class,
    effort: Option<&Effort>,
    uniques: &mut Uniques,
    watch: &mut impl Watch,
) -> Option<Definition> {
    let object = &objects[own.object];
    let (name, gnu_hash) = hash::hashed_name(&symbols.strings, own.symbol.0.st_name, effort)?;
    let version = symbols.version_index(own.index).and_then(|versym| object.versions.get(versym));
    let reference = Reference { name, gnu_hash, version, class, newest: false, effort };
    let mut search = |reference: &Reference| match index {
        Some(index) => resolve::lookup_indexed(objects, index, reference, uniques, Some(own), &mut *watch),
        None => {
            resolve::lookup_watched(objects, scopes.iter().copied(), reference, None, uniques, Some(own), &mut *watch)
        }
    };
    let found = search(&reference);
    let protected = own.symbol.visibility() == STV_PROTECTED;
    if protected
        && own.symbol.is_defined()
        && let Some(other) = found
        && other.object != own.object
    {
        // A protected symbol is its object's own, unless the executable holds the function's canonical address
        // (glibc elf/dl-lookup.c, _dl_lookup_symbol_x): that is so when a search for a call ends here.
        let call = Reference { class: Class::Call, ..reference };
        if class == Class::Call || search(&call).is_some_and(|definition| definition.object != own.object) {
            watch.bound(objects, own.object, &reference, &own, protected);
            return Some(own);
        }
    }
    if let Some(definition) = &found {
        watch.bound(objects, own.object, &reference, definition, protected);
    }
    found
}

/// Where a definition is in the process: S, before any resolver is asked.
#[inline]
pub fn address_of(objects: &Objects, definition: &Definition) -> Addr {
    if definition.symbol.is_absolute() {
        return Addr(definition.symbol.0.st_value);
    }
    objects[definition.object].address(definition.symbol.value())
}

/// The problem of a symbol that nobody defines.
pub fn undefined(object: &Object, symbols: &Symbols, index: u32, symbol: &Symbol) -> Problem {
    let version = symbols
        .version_index(index)
        .and_then(|versym| object.versions.get(versym))
        .map(|version| version.name.to_vec());
    Problem::UndefinedSymbol { name: symbols.shown_name(symbol).to_vec(), version }
}
