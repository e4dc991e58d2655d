//! Unload: let objects go that nobody uses any more (dlclose(3)).
//!
//! Rules of *glibc elf/dl-close.c, _dl_close_worker*. An object stays while it is open, pinned, or has destructors of
//! thread-local variables to run, and while one that stays needs it or was bound to it. All that go are finalised first,
//! dependents before dependencies, in a process that still has everything; then they are taken off every list; then
//! unmapped.
//!
//! # Safety
//! Unmaps objects and frees what libc was shown of them, once nothing refers to them any more.
#![allow(unsafe_code)]

use alloc::vec;
use alloc::vec::Vec;
use core::ptr::with_exposed_provenance_mut;
use core::sync::atomic::{AtomicU8, AtomicUsize, Ordering};

use folio_glibc::layout::Version;
use folio_link::error::{Error, Problem};
use folio_link::object::{Kind, ObjectId};

use crate::abi::debugger::{self, Event};
use crate::abi::link_map::LinkMap;
use crate::abi::publish;
use crate::audit::{self, Activity, REORDERED};
use crate::debug;
use crate::dl::find_object;
use crate::dl::tls::{self, DYNAMIC, UNDECIDED};
use crate::image::initialise::{self, Edges};
use crate::image::map;
use crate::namespace::{self, Namespace};
use crate::process::{Process, ScopeName, State};

/// The first release that finalises the object that is closed before all others (glibc bug 30981).
const CLOSED_FIRST: Version = Version { major: 2, minor: 39 };

/// Whether objects are being unloaded now: finalizers may close others, which is seen to when they are done. Changed under
/// the load lock.
static UNLOADING: AtomicU8 = AtomicU8::new(IDLE);
/// The thread pointer of who unloads.
static UNLOADER: AtomicUsize = AtomicUsize::new(0);
const IDLE: u8 = 0;
const UNDER_WAY: u8 = 1;
const AGAIN: u8 = 2;

/// Takes one opening of the object at `map` back, and unloads what is of no more use. The load lock is held.
pub fn close(process: &Process, map: *mut u8) -> Result<(), Error> {
    // The handle may be of an object that is gone: only compare it.
    // SAFETY: the load lock is held.
    let states = unsafe { process.states.get_mut() };
    let is_meant = |state: &Option<State>| state.as_ref().is_some_and(|state| state.map.base() == map);
    if audit::is_asking() {
        return Err(Error::new(b"", Problem::LoadUnderWay));
    }
    let Some(id) = states.iter().position(is_meant).map(|index| ObjectId(index as u32)) else {
        return Err(Error::new(b"", Problem::NotOpen));
    };
    if is_pinned(process, id) {
        return Ok(());
    }
    let state = states[id.0 as usize].as_mut().expect("found just now");
    if state.opens == 0 {
        // SAFETY: the load lock is held.
        let object = unsafe { &process.objects.get()[id] };
        return Err(Error::new(&object.path, Problem::NotOpen));
    }
    state.opens -= 1;
    state.map.record().put(process.layout.link_map.direct_opencount, state.opens);
    let opens = state.opens;
    if opens > 0 || !state.map.is_opened(process.layout) {
        debug::closed(process, id, opens);
        return Ok(());
    }
    if UNLOADING.load(Ordering::Relaxed) != IDLE {
        debug::closed(process, id, opens);
        UNLOADING.store(AGAIN, Ordering::Relaxed);
        return Ok(());
    }
    UNLOADER.store(tls::thread_pointer(), Ordering::Relaxed);
    UNLOADING.store(UNDER_WAY, Ordering::Relaxed);
    // SAFETY: the load lock is held.
    collect(process, unsafe { process.namespace_of(id) }, Some(id));
    while UNLOADING.swap(UNDER_WAY, Ordering::Relaxed) == AGAIN {
        // SAFETY: the load lock is held.
        let namespaces: Vec<&Namespace> = unsafe { process.namespaces() }.collect();
        for namespace in namespaces {
            collect(process, namespace, None);
        }
    }
    UNLOADING.store(IDLE, Ordering::Relaxed);
    Ok(())
}

/// In a child of fork: if another thread was running finalizers, it does no more.
pub fn forget_others() {
    if UNLOADER.load(Ordering::Relaxed) != tls::thread_pointer() {
        UNLOADING.store(IDLE, Ordering::Relaxed);
    }
}

/// Whether an object stays whatever is closed.
fn is_pinned(process: &Process, id: ObjectId) -> bool {
    // SAFETY: the load lock is held.
    unsafe { process.state(id).stays || process.namespace_of(id).uniques.get().pinned().any(|pinned| pinned == id) }
}

/// Unloads all in a namespace that is not in use.
fn collect(process: &Process, namespace: &Namespace, closed: Option<ObjectId>) {
    let used = in_use(process);
    let mut unused = finalization_order(process, namespace, closed, &used);
    unused.retain(|id| !used[id.0 as usize]);
    let gone = finalise(process, namespace, &unused);
    if gone.is_empty() {
        return;
    }
    remove_visibly(process, namespace, &gone);
    namespace::settle(process, namespace);
}

/// Takes objects of an opening that failed away again, as if they had been closed.
pub fn take_back(process: &Process, namespace: &Namespace, new: &[ObjectId]) {
    let mut gone = finalization_order(process, namespace, None, &in_use(process));
    gone.retain(|id| new.contains(id));
    for (index, &id) in gone.iter().enumerate() {
        tell_of_closing(process, namespace, id, index == 0);
    }
    remove_visibly(process, namespace, new);
}

/// Removes objects under the eyes of debuggers and auditors.
fn remove_visibly(process: &Process, namespace: &Namespace, gone: &[ObjectId]) {
    if process.layout.version < REORDERED {
        audit::activity(process, namespace, Activity::Delete);
    }
    debugger::announce(process, namespace, Event::UnmapStart);
    remove(process, namespace, gone);
    debugger::announce(process, namespace, Event::UnmapComplete);
    audit::activity(process, namespace, Activity::Consistent);
}

/// Tells auditors that an object goes, the first of several or another one.
fn tell_of_closing(process: &Process, namespace: &Namespace, id: ObjectId, is_first: bool) {
    if is_first && process.layout.version >= REORDERED {
        audit::activity(process, namespace, Activity::Delete);
    }
    audit::closing(process, id);
}

/// By object number: whether it stays.
fn in_use(process: &Process) -> Vec<bool> {
    // SAFETY: the load lock is held.
    let (objects, states) = unsafe { (process.objects.get(), process.states.get()) };
    let layout = process.layout;
    let stays_by_itself = |state: &State| {
        let destructors: usize = state.map.record().get(layout.link_map.tls_dtor_count);
        !state.map.is_opened(layout) || state.opens > 0 || state.stays || destructors > 0
    };
    let is_root = |id: &&ObjectId| {
        states[id.0 as usize].as_ref().is_some_and(|state| !objects[**id].is_removed && stays_by_itself(state))
    };
    let mut used = vec![false; states.len()];
    let mut waiting: Vec<usize> = Vec::new();
    // SAFETY: the load lock is held.
    for namespace in unsafe { process.namespaces() } {
        // SAFETY: the load lock is held.
        let (members, uniques) = unsafe { (namespace.members.get(), namespace.uniques.get()) };
        waiting.extend(members.iter().filter(is_root).map(|id| id.0 as usize));
        waiting.extend(uniques.pinned().map(|id| id.0 as usize));
    }
    while let Some(index) = waiting.pop() {
        if core::mem::replace(&mut used[index], true) {
            continue;
        }
        if let Some(state) = &states[index] {
            waiting.extend(state.needed.iter().chain(&state.bound).filter(|&&next| !used[next]));
        }
    }
    used
}

/// All objects of a namespace, in the order in which their finalizers would run.
fn finalization_order(
    process: &Process,
    namespace: &Namespace,
    closed: Option<ObjectId>,
    used: &[bool],
) -> Vec<ObjectId> {
    // SAFETY: the load lock is held.
    let (members, states) = unsafe { (namespace.members.get(), process.states.get()) };
    let mut list: Vec<usize> = members.iter().map(|id| id.0 as usize).collect();
    let leads = if process.layout.version >= CLOSED_FIRST {
        let place = closed.and_then(|closed| members.iter().position(|&id| id == closed));
        place.inspect(|&place| list.swap(0, place)).is_some()
    } else {
        namespace.is_base()
    };
    let sorted = Edges(states).sort(process).finalized(&list, leads, |index| used[index]);
    sorted.into_iter().map(|index| ObjectId(index as u32)).collect()
}

/// Runs the finalizers of `unused` in this order, and gives those that are to go. A finalizer may have opened an object that
/// was still to be finalised, or its own: those stay.
fn finalise(process: &Process, namespace: &Namespace, unused: &[ObjectId]) -> Vec<ObjectId> {
    let mut gone = Vec::with_capacity(unused.len());
    let mut used = Vec::new();
    let is_used = |used: &[bool], id: ObjectId| used.get(id.0 as usize).copied().unwrap_or(false);
    for &id in unused {
        if is_used(&used, id) {
            continue;
        }
        if initialise::finalise(process, id) {
            used = in_use(process);
            if is_used(&used, id) {
                continue;
            }
        }
        tell_of_closing(process, namespace, id, gone.is_empty());
        // SAFETY: the load lock is held, and nobody borrows the objects.
        let object = unsafe { &mut process.objects.get_mut()[id] };
        object.is_removed = true;
        object.identity = None;
        gone.push(id);
    }
    gone
}

/// Takes objects of a namespace off every list, unmaps and frees them. Nothing of theirs is in use, and what stays does not
/// need them.
pub fn remove(process: &Process, namespace: &Namespace, gone: &[ObjectId]) {
    forget(process, namespace, gone);
    let tls = process.lock_tls();
    let has_tls = {
        let _list = process.lock_list();
        unlink(process, namespace, gone);
        // SAFETY: the load lock is held.
        unsafe { namespace.members.get_mut() }.retain(|id| !gone.contains(id));
        find_object::publish(process);
        let has_tls = release_tls(process, gone);
        for &id in gone {
            debug::destroyed(process, id);
            // SAFETY: the load lock is held.
            let state = unsafe { process.states.get_mut() }[id.0 as usize].take();
            if let Some(state) = state {
                // SAFETY: the link map is on no list any more.
                unsafe { state.map.destroy(process.layout) };
            }
        }
        has_tls
    };
    discard(process, namespace, gone);
    if has_tls {
        tls::publish_generation(process);
    }
    drop(tls);
}

/// Takes the objects out of the scopes and tables of those that stay.
fn forget(process: &Process, namespace: &Namespace, gone: &[ObjectId]) {
    // SAFETY: the load lock is held.
    unsafe {
        if namespace.libc.get().is_some_and(|libc| gone.contains(&libc)) {
            publish::libc(process, namespace, None);
        }
        namespace.uniques.get_mut().forget(gone);
        let stubs = process.missing.get_mut().iter_mut();
        stubs.filter(|stub| stub.is_some_and(|(requester, _)| gone.contains(&requester))).for_each(|stub| *stub = None);
    }
    // SAFETY: the load lock is held.
    let global = unsafe { namespace.global.get_mut() };
    let before = global.objects.len();
    global.objects.retain(|id| !gone.contains(id));
    if global.objects.len() != before {
        // SAFETY: the load lock is held.
        unsafe { publish::global_scope(process, namespace) };
    }
    // SAFETY: the load lock is held.
    let members = unsafe { namespace.members.get() };
    for &id in members.iter().filter(|id| !gone.contains(id)) {
        // SAFETY: the load lock is held.
        let (object, state) = unsafe { (&mut process.objects.get_mut()[id], process.state_mut(id)) };
        state.bound.retain(|&index| !gone.contains(&ObjectId(index as u32)));
        if object.loader.is_some_and(|loader| gone.contains(&loader)) {
            object.loader = None;
            state.map.record().put(process.layout.link_map.loader, 0usize);
        }
        let is_gone = |scope: &ScopeName| matches!(scope, ScopeName::ClosureOf(root) if gone.contains(root));
        let Some(place) = state.scopes.iter().position(is_gone) else { continue };
        if state.closure.objects.is_empty() {
            // In place of the closure of whoever had it loaded, it searches its own.
            state.scopes[place] = ScopeName::ClosureOf(id);
            state.closure.objects = closure(process, id);
        }
        state.scopes.retain(|scope| !is_gone(scope));
        // SAFETY: the load lock is held.
        unsafe { publish::scopes(process, id) };
    }
}

/// An object and all it needs, breadth first.
fn closure(process: &Process, id: ObjectId) -> Vec<ObjectId> {
    // SAFETY: the load lock is held.
    let objects = unsafe { process.objects.get() };
    let mut closure = vec![id];
    let mut next = 0;
    while let Some(&id) = closure.get(next) {
        next += 1;
        for needed in &objects[id].needed {
            if !closure.contains(needed) {
                closure.push(*needed);
            }
        }
    }
    closure
}

/// Takes link maps off the list.
fn unlink(process: &Process, namespace: &Namespace, gone: &[ObjectId]) {
    let (layout, global) = (process.layout, process.global_record);
    let l = &layout.link_map;
    for &id in gone {
        // SAFETY: the load lock is held.
        let record = unsafe { process.state(id) }.map.record();
        let (next, previous): (usize, usize) = (record.get(l.next), record.get(l.prev));
        // SAFETY: `l_next` and `l_prev` are null or link maps.
        let neighbour = |base| unsafe { LinkMap::from_base(layout, with_exposed_provenance_mut(base)) };
        if let Some(next) = neighbour(next) {
            next.record().put(l.prev, previous);
        }
        match neighbour(previous) {
            Some(previous) => previous.record().put(l.next, next),
            None => global.put(process.namespace_field(namespace.id, layout.namespace.loaded), next),
        }
    }
    let nloaded = process.namespace_field(namespace.id, layout.namespace.nloaded);
    global.put(nloaded, global.get::<u32>(nloaded) - gone.len() as u32);
}

/// Takes back module ids and places in static TLS; gives whether there were any.
fn release_tls(process: &Process, gone: &[ObjectId]) -> bool {
    let layout = process.layout;
    let mut has_tls = false;
    for &id in gone {
        // SAFETY: the load lock is held.
        let (map, block) = unsafe { (process.state(id).map, process.tls.get_mut()) };
        let module: usize = map.record().get(layout.link_map.tls_modid);
        if module == 0 {
            continue;
        }
        has_tls = true;
        tls::remove_module(module);
        let offset = tls::offset_of(layout, map).load(Ordering::Acquire);
        if offset != UNDECIDED && offset != DYNAMIC {
            block.give_back(offset as u64);
        }
    }
    has_tls
}

/// Unmaps objects of a namespace that are on no list. What stands for Folio has no mappings of its own.
pub fn discard(process: &Process, namespace: &Namespace, gone: &[ObjectId]) {
    // SAFETY: the load lock is held.
    let (objects, members) = unsafe { (process.objects.get_mut(), namespace.members.get_mut()) };
    members.retain(|id| !gone.contains(id));
    for &id in gone {
        if let Some(object) = objects.remove(id).filter(|object| object.kind != Kind::Interpreter) {
            // SAFETY: the object is on no list any more, and nothing is bound to it.
            unsafe { map::discard(object) };
        }
    }
}
