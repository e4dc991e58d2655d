//! Relocate: compute and store what each relocation of an object asks for.
//!
//! Formulae are the psABI's (*Relocation Types*): A is the addend, B the load bias, S the value of the symbol, P the place,
//! Z the size of the symbol. What only a running process can answer (what an IFUNC resolver returns, where thread-local
//! storage lies) is asked through [`Process`].

use folio_elf::image::Writer;
use folio_elf::relocation::{
    R_X86_64_32, R_X86_64_64, R_X86_64_COPY, R_X86_64_DTPMOD64, R_X86_64_DTPOFF64, R_X86_64_GLOB_DAT,
    R_X86_64_IRELATIVE, R_X86_64_JUMP_SLOT, R_X86_64_NONE, R_X86_64_PC32, R_X86_64_RELATIVE, R_X86_64_RELATIVE64,
    R_X86_64_SIZE32, R_X86_64_SIZE64, R_X86_64_TLSDESC, R_X86_64_TPOFF64, Rela, Relocation,
};
use folio_elf::symbol::{STB_WEAK, STT_GNU_IFUNC};
use folio_elf::{Addr, Symbol, Table, Vaddr};

use crate::bind::{self, References};
use crate::error::{Error, Problem};
use crate::index::ScopeIndex;
use crate::object::{Object, ObjectId, Objects};
use crate::placement::PAGE;
use crate::resolve::{Class, Definition, Scope, SymbolId, Uniques, Watch, Work};
use crate::scout::Scout;

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
    /// All pages from `start` on that `size` bytes reach into are about to be written, by relocations of `object`.
    fn will_write(&mut self, _object: ObjectId, _start: Vaddr, _size: u64) {}
    /// Notes that `requester` is bound to a definition of another object.
    fn bound(&mut self, requester: ObjectId, definition: SymbolId);
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
pub fn relocate(
    objects: &Objects,
    id: ObjectId,
    scopes: &[&Scope],
    uniques: &mut Uniques,
    process: &mut dyn Process,
    program: &[u8],
    report: &mut dyn FnMut(Error),
) {
    relocate_with(None, objects, id, scopes, uniques, process, program, None, report);
}

/// As [`relocate`], with an index of one of the scopes; `watch` is not told of objects that it rules out.
#[expect(clippy::too_many_arguments, reason = "one pass over one object, which touches all of these")]
pub fn relocate_with(
    index: Option<&ScopeIndex>,
    objects: &Objects,
    id: ObjectId,
    scopes: &[&Scope],
    uniques: &mut Uniques,
    process: &mut dyn Process,
    program: &[u8],
    watch: Option<&mut dyn Watch>,
    report: &mut dyn FnMut(Error),
) {
    let Some(references) = References::indexed(objects, id, scopes, index) else { return };
    // The loops are made here, once for each, and not where they are called from: that is built for size.
    match watch {
        None => relocate_object(references, uniques, process, program, &mut (), report),
        Some(watch) => relocate_object(references, uniques, process, program, watch, report),
    }
}

fn relocate_object<W: Watch + ?Sized>(
    references: References,
    uniques: &mut Uniques,
    process: &mut dyn Process,
    program: &[u8],
    watch: &mut W,
    report: &mut dyn FnMut(Error),
) {
    let object = references.object;
    let Some(dynamic) = &object.dynamic else { return };
    let writer = object.image.writer();
    let mut relocator = Relocator {
        references,
        uniques,
        process,
        watch,
        writer,
        last: Bound::NOTHING,
        repeated: None,
        indirect: false,
    };
    let mut fail = |problem| report(Error::new(object.display_name(program), problem));
    let packed = object.image.table(dynamic.relr.at, dynamic.relr.size / 8);
    let (Some(packed), Some([rela, jmprel])) = (packed, tables(object)) else {
        return fail(Problem::RelocationPlace);
    };
    relocator.watch.begins(Work::Packed);
    if relocator.writer.add_packed(packed, object.image.bias().0).is_none() {
        return fail(Problem::RelocationPlace);
    }
    relocator.watch.ends(Work::Packed);
    relocator.watch.begins(Work::Relative);
    // DT_RELACOUNT promises a run of relative relocations at the front; a wrong promise ends the run early.
    let promised = rela.truncated(dynamic.relacount.min(rela.len() as u64) as usize);
    let Some(relative) = relocator.store_run(promised) else {
        return fail(Problem::RelocationPlace);
    };
    relocator.watch.ends(Work::Relative);
    let rest = rela.skip(relative);
    let lazily = relocator.process.binds_lazily();
    relocator.watch.begins(Work::Symbolic);
    for table in [rest, jmprel] {
        let mut scout = Scout::of(table, &relocator.references);
        let mut last = 0;
        for record in table.iter() {
            let symbol = Relocation::from(record).symbol;
            if symbol != core::mem::replace(&mut last, symbol)
                && let Some(scout) = &mut scout
            {
                scout.advance(&relocator.references);
            }
            let applied = if lazily && record.r_info as u32 == R_X86_64_JUMP_SLOT {
                relocator.add_bias(Vaddr(record.r_offset)).ok_or_else(out_of_place)
            } else {
                relocator.apply(&record)
            };
            if let Err(problem) = applied {
                fail(problem);
            }
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

/// How many of the leading records of a table to make next, and the run of pages that they write, start and size, if it is
/// one that is worth asking for. It holds no page but those which records name.
fn leading_run(table: Table<Rela>) -> (usize, Option<(Vaddr, u64)>) {
    /// Pages of a run that is asked for in one call. On one processor four were slower than their page faults, on another two
    /// were faster: between them.
    const FEWEST: u64 = 8;
    /// What is asked for is still in the processor's cache when it is written.
    const MOST: u64 = 128;
    /// Records that are passed at first. A page takes hundreds of them as a rule, so it is enough to look at few: the next is
    /// looked for farther ahead while it is on the same page, and nearer where it is too far.
    const STEP: usize = 8;
    let page_of = |record: Rela| record.r_offset / PAGE;
    let Some(first) = table.get(0).map(page_of).filter(|_| table.len() >= FEWEST as usize * STEP) else {
        return (table.len(), None);
    };
    let (mut last, mut seen, mut step) = (first, 0, STEP);
    while step > 0 {
        let farthest = u64::from(last - first + 1 < MOST);
        match table.get(seen + step).map(|record| page_of(record).wrapping_sub(last)) {
            Some(ahead) if ahead <= farthest => {
                (last, seen) = (last + ahead, seen + step);
                step <<= 1 - ahead;
            }
            _ => step /= 2,
        }
    }
    let pages = last - first + 1;
    ((seen + 1).clamp(STEP, table.len()), (pages >= FEWEST).then_some((Vaddr(first * PAGE), pages * PAGE)))
}

/// The last symbol that was bound: relocations of one often come together.
struct Bound {
    symbol: u32,
    /// `None` if it was no lookup that bound it.
    class: Option<Class>,
    /// `None` if nobody defines it.
    target: Option<Target>,
}

impl Bound {
    const NOTHING: Bound = Bound { symbol: 0, class: None, target: None };
}

/// What relocations want to know of a definition, as a rule.
#[derive(Clone, Copy)]
struct Target {
    definition: SymbolId,
    /// S, before any resolver is asked.
    address: Addr,
    /// Whether it is an IFUNC: its address is that of a resolver.
    is_indirect: bool,
}

/// The state of relocating one object.
struct Relocator<'r, 'm, W: ?Sized> {
    references: References<'r, 'm>,
    uniques: &'r mut Uniques,
    process: &'r mut dyn Process,
    watch: &'r mut W,
    writer: Writer<'m>,
    last: Bound,
    /// `r_info` of the last `R_X86_64_64`, and its S.
    repeated: Option<(u64, Addr)>,
    /// Whether there are `R_X86_64_IRELATIVE` relocations.
    indirect: bool,
}

impl<W: Watch + ?Sized> Relocator<'_, '_, W> {
    #[inline(always)]
    fn add_bias(&mut self, place: Vaddr) -> Option<()> {
        self.writer.add(place, self.references.object.image.bias().0)
    }

    /// Makes the relative relocations at the front of a table, and gives how many there are. Those of a large library reach
    /// into many pages, one after the other: these are asked for together before they are written.
    fn store_run(&mut self, table: Table<Rela>) -> Option<usize> {
        let mut done = 0;
        loop {
            let rest = table.skip(done);
            let (count, run) = leading_run(rest);
            if let Some((start, size)) = run {
                self.process.will_write(self.references.requester, start, size);
            }
            let stored = self.writer.store_relative(rest.truncated(count))?;
            done += stored;
            if stored < count || done == table.len() {
                return Some(done);
            }
        }
    }

    /// B + A.
    #[inline(always)]
    fn store_relative(&mut self, relocation: &Relocation) -> Option<()> {
        let value = self.references.object.image.bias().0.wrapping_add_signed(relocation.addend);
        self.writer.store(relocation.offset, value)
    }

    /// indirect (B + A).
    fn store_relative_indirect(&mut self, relocation: &Relocation) -> Result<(), Problem> {
        let resolver = Addr(self.references.object.image.bias().0.wrapping_add_signed(relocation.addend));
        self.store_indirect(relocation.offset, self.references.object, resolver, 0)
    }

    #[cold]
    fn store_indirect(&mut self, place: Vaddr, owner: &Object, resolver: Addr, addend: i64) -> Result<(), Problem> {
        if !owner.holds_code(resolver) {
            return Err(Problem::Resolver);
        }
        // Who defers it may rely on its place.
        let _: u64 = self.writer.read(place).ok_or_else(out_of_place)?;
        if self.process.defer(Indirect { object: self.references.requester, place, resolver, addend }) {
            // Nobody's address until then.
            return self.writer.store(place, 0u64).ok_or_else(out_of_place);
        }
        let chosen = self.call_resolver(resolver);
        self.writer.store(place, chosen.0.wrapping_add_signed(addend)).ok_or_else(out_of_place)
    }

    fn call_resolver(&mut self, resolver: Addr) -> Addr {
        self.watch.begins(Work::Resolver);
        let chosen = self.process.call_resolver(resolver);
        self.watch.ends(Work::Resolver);
        chosen
    }

    /// Most relocations with a symbol store its address: several of one symbol in a row as a rule, in tables of functions.
    #[inline(always)]
    fn apply(&mut self, record: &Rela) -> Result<(), Problem> {
        if let Some((info, address)) = self.repeated
            && info == record.r_info
        {
            self.watch.repeated();
            let value = address.0.wrapping_add_signed(record.r_addend);
            return self.writer.store(Vaddr(record.r_offset), value).ok_or_else(out_of_place);
        }
        let relocation = Relocation::from(*record);
        match relocation.kind {
            R_X86_64_64 | R_X86_64_GLOB_DAT | R_X86_64_JUMP_SLOT => self.apply_value(record.r_info, &relocation),
            _ => self.apply_other(&relocation),
        }
    }

    /// S, or S + A.
    #[inline(always)]
    fn apply_value(&mut self, info: u64, relocation: &Relocation) -> Result<(), Problem> {
        let symbol = self.references.symbols.get(relocation.symbol).ok_or_else(out_of_place)?;
        let is_word = relocation.kind == R_X86_64_64;
        let addend = if is_word { relocation.addend } else { 0 };
        self.bind(relocation.symbol, &symbol, class_of(relocation.kind));
        let Some(Target { definition, address, is_indirect }) = self.last.target else {
            return self.apply_missing(relocation, &symbol, addend);
        };
        if is_indirect {
            let owner = &self.references.objects[definition.object];
            return self.store_indirect(relocation.offset, owner, address, addend);
        }
        if is_word && !bind::is_private(&symbol) {
            self.repeated = Some((info, address));
        }
        self.writer.store(relocation.offset, address.0.wrapping_add_signed(addend)).ok_or_else(out_of_place)
    }

    /// The address of a symbol that nobody defines.
    #[cold]
    fn apply_missing(&mut self, relocation: &Relocation, symbol: &Symbol, addend: i64) -> Result<(), Problem> {
        // Weak or not, a function that nobody defines yet may be defined by the time it is called. Whether it is
        // there programs ask by other relocations, which stay 0.
        let is_call = relocation.kind == R_X86_64_JUMP_SLOT;
        let stub = is_call.then(|| self.process.missing_function(self.references.requester, relocation.symbol));
        let value = match stub.flatten() {
            Some(stub) => stub.0,
            None if symbol.binding() == STB_WEAK => addend as u64,
            None => return Err(self.references.undefined(relocation.symbol, symbol)),
        };
        self.writer.store(relocation.offset, value).ok_or_else(out_of_place)
    }

    #[inline(never)]
    fn apply_other(&mut self, relocation: &Relocation) -> Result<(), Problem> {
        let place = relocation.offset;
        let addend = relocation.addend;
        match relocation.kind {
            R_X86_64_NONE => return Ok(()),
            R_X86_64_RELATIVE | R_X86_64_RELATIVE64 => {
                return self.store_relative(relocation).ok_or_else(out_of_place);
            }
            R_X86_64_IRELATIVE => {
                self.indirect = true;
                return Ok(());
            }
            _ => {}
        }
        let symbol = self.references.symbols.get(relocation.symbol).ok_or_else(out_of_place)?;
        self.bind(relocation.symbol, &symbol, class_of(relocation.kind));
        let target = self.last.target;
        let definition = target.and_then(|target| target.definition.definition(self.references.objects));
        if definition.is_none() && symbol.binding() != STB_WEAK {
            return Err(self.references.undefined(relocation.symbol, &symbol));
        }
        let stored = match relocation.kind {
            R_X86_64_32 => {
                let value = self.value(target)?.0.wrapping_add_signed(addend);
                let Ok(word) = u32::try_from(value) else {
                    return Err(self.overflow(&symbol, relocation.kind));
                };
                self.writer.store(place, word)
            }
            // S + A - P
            R_X86_64_PC32 => {
                let at = self.references.object.address(place).0;
                let value = self.value(target)?.0.wrapping_add_signed(addend).wrapping_sub(at);
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
        stored.ok_or_else(out_of_place)
    }

    /// Binds a symbol of this object: [`Bound::target`].
    #[inline(always)]
    fn bind(&mut self, number: u32, symbol: &Symbol, class: Class) {
        let requester = self.references.requester;
        if bind::is_private(symbol) {
            let own = Definition { object: requester, index: number, symbol: *symbol };
            self.last = Bound { symbol: number, class: None, target: Some(self.target(&own)) };
            return;
        }
        if self.last.symbol == number && self.last.class == Some(class) {
            self.watch.repeated();
            return;
        }
        self.watch.begins(Work::Lookup);
        let found = self.references.bind(number, symbol, class, self.uniques, self.watch);
        self.watch.ends(Work::Lookup);
        let definition = found.and_then(|found| found.definition(self.references.objects));
        let target = definition.as_ref().map(|definition| self.target(definition));
        self.last = Bound { symbol: number, class: Some(class), target };
        if let Some(found) = found
            && found.object != requester
        {
            self.process.bound(requester, found);
        }
    }

    #[inline(always)]
    fn target(&self, definition: &Definition) -> Target {
        Target {
            definition: definition.id(),
            address: bind::address_of(self.references.objects, definition),
            is_indirect: definition.symbol.kind() == STT_GNU_IFUNC && definition.symbol.is_defined(),
        }
    }

    /// S: the run-time value of a definition, 0 for none; of an IFUNC, what its resolver says.
    #[inline]
    fn value(&mut self, target: Option<Target>) -> Result<Addr, Problem> {
        let Some(Target { definition, address, is_indirect }) = target else { return Ok(Addr(0)) };
        if !is_indirect {
            return Ok(address);
        }
        if !self.references.objects[definition.object].holds_code(address) {
            return Err(Problem::Resolver);
        }
        Ok(self.call_resolver(address))
    }

    fn copy(&mut self, place: Vaddr, symbol: &Symbol, definition: Option<Definition>) -> Result<(), Problem> {
        let Some(definition) = definition else { return Ok(()) };
        let (wanted, given) = (symbol.0.st_size, definition.symbol.0.st_size);
        if given > wanted {
            let name = self.references.symbols.shown_name(symbol);
            self.process.copy_sizes_differ(self.references.requester, name);
        }
        let source = &self.references.objects[definition.object].image;
        let size = wanted.min(given);
        // Large variables are few: each is copied once.
        if size > PAGE && !self.references.effort.spend((size / 64) as usize) {
            return Err(Problem::RelocationPlace);
        }
        self.references.object.image.copy_from(place, source, definition.symbol.value(), size).ok_or_else(out_of_place)
    }

    fn overflow(&self, symbol: &Symbol, kind: u32) -> Problem {
        Problem::Overflow { symbol: self.references.symbols.shown_name(symbol).to_vec(), kind }
    }
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

/// The symbol that a relocation refers to, and what it wants to know of it; `None` for one that refers to none.
pub fn reference(record: Rela) -> Option<(u32, Class)> {
    let Relocation { kind, symbol, .. } = Relocation::from(record);
    let has_none = matches!(kind, R_X86_64_NONE | R_X86_64_RELATIVE | R_X86_64_RELATIVE64 | R_X86_64_IRELATIVE);
    (!has_none).then_some((symbol, class_of(kind)))
}

/// Number of relocations of `object` that name a symbol, or may.
pub fn symbolic_count(object: &Object) -> u64 {
    let Some(dynamic) = &object.dynamic else { return 0 };
    (dynamic.rela.size / RELA).saturating_sub(dynamic.relacount).saturating_add(dynamic.jmprel.size / RELA)
}

/// The problem of a relocation whose place, or whose symbol, is not in its object. Made only where there is one: a problem
/// that is not needed has to be taken apart again.
#[cold]
fn out_of_place() -> Problem {
    Problem::RelocationPlace
}

#[cfg(test)]
#[path = "relocate_tests.rs"]
mod tests;
