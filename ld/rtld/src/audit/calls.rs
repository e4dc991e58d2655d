//! Calls through the PLT that auditors want to see: `la_x86_64_gnu_pltenter`, `la_x86_64_gnu_pltexit`, and `la_symbind64`
//! where functions are bound when they are first called.
//!
//! Such an object keeps its PLT as the file has it. The second word of its GOT is the address of its [`Calls`], the third that
//! of [`audited_call`] (psABI, *Procedure Linkage Table*; *glibc elf/dl-runtime.c, _dl_profile_fixup*). If only bindings
//! are of interest, the first call of a function fills its slot.
//!
//! # Safety
//! Entered by assembly that shows the registers of a call; calls functions of auditors by the types that `<link.h>` declares.
//! A [`Calls`] lasts as long as its object, whose code is what calls.
#![allow(unsafe_code)]

use alloc::boxed::Box;
use core::ptr::{null_mut, with_exposed_provenance};
use core::sync::atomic::{AtomicPtr, AtomicU32, Ordering};

use folio_elf::Vaddr;
use folio_elf::relocation::{R_X86_64_JUMP_SLOT, Relocation};
use folio_link::object::{Object, ObjectId};
use folio_link::placement::PF_X;
use folio_link::relocate;
use folio_runtime::audited_call::{CallRegisters, CallResults, audited_call};

use crate::audit::bindings::{self, Bound, NO_ENTRY, NO_RETURN};
use crate::audit::{self, Audit};
use crate::image::binding;
use crate::namespace::Namespace;
use crate::process::Process;

/// The calls of one object through its PLT.
#[derive(Debug)]
pub struct Calls {
    requester: ObjectId,
    /// By the number of the relocation.
    slots: Box<[Slot]>,
    /// Each call is of interest, not only the binding.
    each: bool,
}

/// One function that is called.
#[derive(Debug, Default)]
struct Slot {
    /// Null until it is bound; then a leaked box, which goes with the object.
    bound: AtomicPtr<Resolved>,
}

#[derive(Debug)]
struct Resolved {
    bound: Bound,
    value: u64,
    flags: u32,
    /// [`bindings::Verdict::uninterested`].
    uninterested: AtomicU32,
}

impl Drop for Slot {
    fn drop(&mut self) {
        let bound = *self.bound.get_mut();
        if !bound.is_null() {
            // SAFETY: made by `Box::into_raw` in `resolve`, and not freed before.
            drop(unsafe { Box::from_raw(bound) });
        }
    }
}

/// What auditors want to see of the functions that objects of a namespace call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interest {
    Bindings,
    /// Each call.
    Calls,
}

/// The interest in a namespace's objects, if there is any. The load lock is held, or there is one thread.
pub fn interest(process: &Process, namespace: &Namespace) -> Option<Interest> {
    let auditors = audit::auditors(process);
    // SAFETY: the load lock is held.
    if auditors.is_empty() || unsafe { *namespace.auditing.get() } != Audit::Audited {
        return None;
    }
    if auditors.iter().any(|auditor| auditor.pltenter.is_some() || auditor.pltexit.is_some()) {
        return Some(Interest::Calls);
    }
    auditors.iter().any(|auditor| auditor.symbind.is_some()).then_some(Interest::Bindings)
}

/// Makes ready for calls of an object that are to be seen, before it is relocated; `None` if all of it has to be bound now.
pub fn prepare(object: &Object, id: ObjectId, interest: Interest) -> Option<Box<Calls>> {
    let [_, jmprel] = relocate::tables(object)?;
    // A PLT that is made for binding at once has no code that asks for it.
    let is_code = |at: u64| {
        object
            .placement
            .segments
            .iter()
            .any(|segment| segment.flags & PF_X != 0 && (segment.start.0..segment.end.0).contains(&at))
    };
    let can_wait = |relocation: Relocation| {
        relocation.kind != R_X86_64_JUMP_SLOT || object.image.read::<u64>(relocation.offset).is_some_and(is_code)
    };
    let got = object.dynamic.as_ref()?.pltgot?;
    if jmprel.is_empty() || !jmprel.iter().map(Relocation::from).all(can_wait) {
        return None;
    }
    let slots = (0..jmprel.len()).map(|_| Slot::default()).collect();
    let calls = Box::new(Calls { requester: id, slots, each: interest == Interest::Calls });
    let word = |number: u64| Vaddr(got.0.wrapping_add(8 * number));
    object.image.store(word(1), (&raw const *calls).expose_provenance() as u64)?;
    object.image.store(word(2), audited_call as *const () as u64)?;
    Some(calls)
}

impl Calls {
    /// What a call is bound to: the first time it is looked up, and shown.
    fn resolve(&self, process: &Process, index: usize) -> &Resolved {
        let slot = &self.slots[index].bound;
        let known = slot.load(Ordering::Acquire);
        if !known.is_null() {
            // SAFETY: a box that lives as long as the object.
            return unsafe { &*known };
        }
        let _lock = process.lock();
        // SAFETY: the load lock is held.
        let object = unsafe { &process.objects.get()[self.requester] };
        let [_, jmprel] = relocate::tables(object).expect("the object has been relocated");
        let relocation = Relocation::from(jmprel.get(index).expect("the PLT knows its relocations"));
        let image = object.image;
        let (definition, value) = binding::bind_call(process, self.requester, relocation.symbol);
        let bound = Bound::new(process, self.requester, definition.as_ref(), value.0);
        let verdict = bindings::show(process, &bound, false);
        if !self.each {
            // Where auditors see no more than that, objects whose slots are read-only are bound at once.
            let _ = image.store(relocation.offset, verdict.value);
        }
        let resolved = Box::into_raw(Box::new(Resolved {
            bound,
            value: verdict.value,
            flags: verdict.flags,
            uninterested: AtomicU32::new(verdict.uninterested),
        }));
        match slot.compare_exchange(null_mut(), resolved, Ordering::AcqRel, Ordering::Acquire) {
            // SAFETY: a box that lives as long as the object.
            Ok(_) => unsafe { &*resolved },
            // SAFETY: an auditor that was asked has called the function meanwhile: its box counts, and nobody saw this one.
            Err(first) => unsafe {
                drop(Box::from_raw(resolved));
                &*first
            },
        }
    }
}

/// Whether an auditor said that it does not want to see calls, or returns.
fn is_uninterested(resolved: &Resolved, number: usize, what: u32) -> bool {
    let shift = 2 * (number as u32 + 1);
    resolved.uninterested.load(Ordering::Relaxed) & what.checked_shl(shift).unwrap_or(0) != 0
}

/// A call: auditors see it, and may send it elsewhere. Gives the function to go on to.
// SAFETY: the runtime's `audited_call` alone calls: `calls` is the second word of an audited GOT, `index` what its PLT
// pushed, the number of a relocation; the other two lie on the stack of that call.
#[unsafe(no_mangle)]
unsafe extern "C" fn folio_audited_call(
    calls: *const Calls,
    index: usize,
    registers: *mut CallRegisters,
    frame_size: *mut isize,
) -> *const u8 {
    let process = Process::get();
    // SAFETY: the caller's promise.
    let (calls, registers, frame_size) = unsafe { (&*calls, &mut *registers, &mut *frame_size) };
    let resolved = calls.resolve(process, index);
    let mut symbol = resolved.bound.symbol;
    symbol.0.st_value = resolved.value;
    if calls.each && resolved.uninterested.load(Ordering::Relaxed) & NO_ENTRY == 0 {
        let before = registers.xmm;
        let mut flags = resolved.flags;
        for (number, (auditor, from, to)) in resolved.bound.watching(process).enumerate() {
            let Some(enter) = auditor.pltenter.filter(|_| !is_uninterested(resolved, number, NO_ENTRY)) else {
                continue;
            };
            let mut wanted = -1;
            // SAFETY: the auditor's function, of that type.
            let value = unsafe {
                enter(
                    &mut symbol,
                    resolved.bound.index,
                    from.cookie(),
                    to.cookie(),
                    registers,
                    &mut flags,
                    resolved.bound.name,
                    &mut wanted,
                )
            } as u64;
            symbol.0.st_value = value;
            let bits = (flags & (NO_ENTRY | NO_RETURN)).checked_shl(2 * (number as u32 + 1)).unwrap_or(0);
            resolved.uninterested.fetch_or(bits, Ordering::Relaxed);
            // The largest counts; -2 is glibc's word for no return, ever.
            if !is_uninterested(resolved, number, NO_RETURN) && wanted != -1 && *frame_size != -2 {
                *frame_size = (*frame_size).max(wanted as isize);
            }
        }
        registers.merge(&before);
    }
    with_exposed_provenance(symbol.0.st_value as usize)
}

/// The return of a call: auditors see it, and may change what was returned.
// SAFETY: as for `folio_audited_call`: `audited_call` alone calls, and `results` lies on its stack too.
#[unsafe(no_mangle)]
unsafe extern "C" fn folio_audited_return(
    calls: *const Calls,
    index: usize,
    registers: *const CallRegisters,
    results: *mut CallResults,
) {
    let process = Process::get();
    // SAFETY: the caller's promise.
    let (calls, results) = unsafe { (&*calls, &mut *results) };
    let resolved = calls.resolve(process, index);
    let mut symbol = resolved.bound.symbol;
    symbol.0.st_value = resolved.value;
    let before = results.xmm;
    for (number, (auditor, from, to)) in resolved.bound.watching(process).enumerate() {
        if let Some(leave) = auditor.pltexit.filter(|_| !is_uninterested(resolved, number, NO_RETURN)) {
            // SAFETY: the auditor's function, of that type.
            unsafe {
                leave(
                    &mut symbol,
                    resolved.bound.index,
                    from.cookie(),
                    to.cookie(),
                    registers,
                    results,
                    resolved.bound.name,
                )
            };
        }
    }
    results.merge(&before);
}
