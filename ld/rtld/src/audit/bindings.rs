//! `la_symbind64`: auditors see what a function is bound to, and may bind it to another.
//!
//! An auditor sees a binding only if it said so of both objects, for references and for definitions, when it was told of
//! them (*glibc elf/dl-audit.c, _dl_audit_symbind, _dl_audit_symbind_alt*).
//!
//! # Safety
//! Calls functions of auditors by the types that `<link.h>` declares; writes the slots of objects that are being relocated.
#![allow(unsafe_code)]

use core::ffi::c_char;

use folio_elf::Symbol;
use folio_elf::relocation::{R_X86_64_JUMP_SLOT, Relocation};
use folio_elf::symbol::{STV_PROTECTED, Sym};
use folio_link::bind::References;
use folio_link::error::Problem;
use folio_link::object::{ObjectId, Objects};
use folio_link::relocate;
use folio_link::resolve::{Class, Definition};

use crate::audit::{self, Auditor, BIND_FROM, BIND_TO, Watched};
use crate::image::scope;
use crate::process::Process;

/// `LA_SYMB_*`.
pub const NO_ENTRY: u32 = 1;
pub const NO_RETURN: u32 = 2;
const BY_DLSYM: u32 = 8;
const OTHER_VALUE: u32 = 16;

/// A binding as auditors see it. What it refers to lasts as long as the two objects.
#[derive(Debug)]
pub struct Bound {
    /// The definition; its value is where the function is, unless an auditor says otherwise.
    pub symbol: Symbol,
    pub index: u32,
    pub name: *const c_char,
    from: *const [Watched],
    to: *const [Watched],
}

impl Bound {
    /// The binding of a reference of `requester`; without a definition nobody gets to see it. The load lock is held.
    pub fn new(process: &Process, requester: ObjectId, definition: Option<&Definition>, value: u64) -> Bound {
        // SAFETY: the load lock is held.
        let objects = unsafe { process.objects.get() };
        let Some(definition) = definition else {
            let symbol = Symbol(Sym { st_value: value, ..Sym::default() });
            let none: &'static [Watched] = &[];
            return Bound { symbol, index: 0, name: c"".as_ptr(), from: none, to: none };
        };
        let symbols = objects[definition.object].symbols.as_ref();
        let name = symbols.and_then(|symbols| symbols.strings.get(u64::from(definition.symbol.0.st_name)));
        let mut symbol = definition.symbol;
        symbol.0.st_value = value;
        // SAFETY: the load lock is held, and both objects are loaded.
        let (from, to) = unsafe { (process.state(requester), process.state(definition.object)) };
        Bound {
            symbol,
            index: definition.index,
            // Names in string tables end with a zero.
            name: name.map_or(c"".as_ptr(), |name| name.as_ptr().cast()),
            from: &raw const *from.watched,
            to: &raw const *to.watched,
        }
    }

    /// Each auditor with what it keeps of the referring and of the defining object.
    pub fn watching<'p>(&self, process: &'p Process) -> impl Iterator<Item = (&'p Auditor, &'p Watched, &'p Watched)> {
        // SAFETY: the objects are loaded as long as the binding is used.
        let (from, to) = unsafe { (&*self.from, &*self.to) };
        audit::auditors(process).iter().zip(from).zip(to).map(|((auditor, from), to)| (auditor, from, to))
    }

    /// Whether any auditor wants to know of bindings of one of the two objects.
    fn is_of_interest(&self, process: &Process) -> bool {
        self.watching(process).any(|(_, from, to)| from.binds(BIND_FROM | BIND_TO) || to.binds(BIND_FROM | BIND_TO))
    }
}

/// What auditors made of a binding.
#[derive(Clone, Copy, Debug)]
pub struct Verdict {
    pub value: u64,
    /// `LA_SYMB_*`, as they were left.
    pub flags: u32,
    /// Two bits an auditor from the third on: [`NO_ENTRY`] and [`NO_RETURN`]. The first two are set if all say so.
    pub uninterested: u32,
}

/// Shows a binding to the auditors. `is_slot`: it is made once, and its calls will not be seen.
pub fn show(process: &Process, bound: &Bound, is_slot: bool) -> Verdict {
    const NEITHER: u32 = NO_ENTRY | NO_RETURN;
    let mut symbol = bound.symbol;
    let mut verdict = Verdict { value: symbol.0.st_value, flags: 0, uninterested: u32::MAX };
    if !bound.is_of_interest(process) {
        return verdict;
    }
    verdict.uninterested = NEITHER;
    for (number, (auditor, from, to)) in bound.watching(process).enumerate() {
        let shift = 2 * (number as u32 + 1);
        if !from.binds(BIND_FROM) || !to.binds(BIND_TO) {
            verdict.uninterested |= NEITHER.checked_shl(shift).unwrap_or(0);
            continue;
        }
        if let Some(symbind) = auditor.symbind {
            verdict.flags |= if is_slot { NEITHER } else { 0 };
            // SAFETY: the auditor's function, of that type.
            let value = unsafe {
                symbind(&mut symbol, bound.index, from.cookie(), to.cookie(), &mut verdict.flags, bound.name)
            } as u64;
            if value != symbol.0.st_value {
                verdict.flags |= OTHER_VALUE;
                symbol.0.st_value = value;
            }
        }
        verdict.uninterested &= verdict.flags | !NEITHER;
        verdict.uninterested |= (verdict.flags & NEITHER).checked_shl(shift).unwrap_or(0);
    }
    verdict.value = symbol.0.st_value;
    verdict
}

/// Shows the auditors what the slots of the PLT of an object were bound to, and binds those anew that they change.
pub fn show_slots(process: &Process, objects: &Objects, id: ObjectId) -> Result<(), Problem> {
    let object = &objects[id];
    let Some([_, jmprel]) = relocate::tables(object) else { return Ok(()) };
    for relocation in jmprel.iter().map(Relocation::from) {
        if relocation.kind != R_X86_64_JUMP_SLOT {
            continue;
        }
        let number = relocation.symbol;
        // SAFETY: the load lock is held, or there is one thread; relocation is over with unique names.
        let uniques = unsafe { process.namespace_of(id).uniques.get_mut() };
        // SAFETY: as above; a search changes no scope.
        let found = unsafe {
            scope::with_scopes(process, id, |scopes| {
                let references = References::new(objects, id, scopes)?;
                let symbol = references.symbols.get(number)?;
                if symbol.visibility() == STV_PROTECTED {
                    return Some(Definition { object: id, index: number, symbol });
                }
                references.bind(number, &symbol, Class::Call, uniques, &mut ())?.definition(objects)
            })
        };
        let Some(definition) = found else { continue };
        let value: u64 = object.image.read(relocation.offset).ok_or(Problem::RelocationPlace)?;
        let bound = Bound::new(process, id, Some(&definition), value);
        let verdict = audit::ask(|| show(process, &bound, true));
        if verdict.value != value {
            object.image.store(relocation.offset, verdict.value).ok_or(Problem::RelocationPlace)?;
        }
    }
    Ok(())
}

/// `_dl_audit_symbind_alt`, called by libc with what dlsym(3) found: an auditor may give another address.
// SAFETY: libc's dlsym alone calls, with what `_dl_lookup_symbol_x` has just given it: two link maps, and a symbol of the
// provider's table; `value` is its own variable.
#[unsafe(no_mangle)]
unsafe extern "C" fn _dl_audit_symbind_alt(
    requester: *mut u8,
    reference: *const Symbol,
    value: *mut usize,
    provider: *mut u8,
) {
    let process = Process::get();
    let _lock = process.lock();
    // SAFETY: the caller's promise; the load lock is held.
    let (requester, provider, objects) =
        unsafe { (process.object_of(requester), process.object_of(provider), process.objects.get()) };
    let (Some(requester), Some(provider)) = (requester, provider) else { return };
    // SAFETY: the caller's promise.
    let (symbol, found) = unsafe { (*reference, *value) };
    let Some(symbols) = &objects[provider].symbols else { return };
    let at = reference.addr() as u64;
    let index = (at.wrapping_sub(symbols.table.memory()) / size_of::<Symbol>() as u64) as u32;
    let definition = Definition { object: provider, index, symbol };
    let bound = Bound::new(process, requester, Some(&definition), found as u64);
    if !bound.is_of_interest(process) {
        return;
    }
    let mut shown = bound.symbol;
    let mut changed = 0;
    for (auditor, from, to) in bound.watching(process) {
        let Some(symbind) = auditor.symbind.filter(|_| from.binds(BIND_FROM) || to.binds(BIND_TO)) else { continue };
        let mut flags = changed | BY_DLSYM;
        // SAFETY: the auditor's function, of that type.
        let other =
            unsafe { symbind(&mut shown, bound.index, from.cookie(), to.cookie(), &mut flags, bound.name) } as u64;
        if other != shown.0.st_value {
            changed = OTHER_VALUE;
            shown.0.st_value = other;
        }
    }
    // SAFETY: the caller's variable.
    unsafe { value.write(shown.0.st_value as usize) };
}
