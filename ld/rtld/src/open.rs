//! Open and close: bring objects into a running process, and let them go.
//!
//! Order of *glibc elf/dl-open.c, dl_open_worker_begin*: load, check versions, publish, relocate, protect, initialise. What
//! fails before anything was published leaves the process as it was.
#![allow(unsafe_code)]

use alloc::vec::Vec;
use core::ffi::c_long;

use bitflags::bitflags;
use folio_elf::dynamic::{DF_1_NOOPEN, DF_SYMBOLIC};
use folio_link::error::{Error, Problem};
use folio_link::graph::Loader;
use folio_link::object::ObjectId;
use folio_link::order::{self, Root};
use folio_link::search::Reference;
use folio_link::version;

use crate::debugger::{self, Change};
use crate::execute;
use crate::find_object;
use crate::initialise::{self, Edges};
use crate::link_map::LinkMap;
use crate::map;
use crate::process::{Process, ScopeName};
use crate::publish;
use crate::tls;

bitflags! {
    /// `mode` of dlopen(3).
    #[derive(Clone, Copy, Debug)]
    pub struct Mode: u32 {
        const LAZY = 1;
        const NOW = 2;
        const NOLOAD = 4;
        const DEEPBIND = 8;
        const GLOBAL = 0x100;
        const NODELETE = 0x1000;
    }
}

/// dlmopen(3): the base namespace, and the caller's.
const LM_ID_BASE: c_long = 0;
const LM_ID_CALLER: c_long = -2;

/// What loading a name gave.
struct Loaded {
    root: ObjectId,
    /// Objects that were not there before, in load order.
    new: Vec<ObjectId>,
    /// The root and all it needs, breadth first; empty if nothing is new.
    closure: Vec<ObjectId>,
}

/// Opens `name` for `caller`; `None` if it is not loaded and `mode` says not to load it. The load lock is held.
pub fn open(
    process: &Process,
    name: &[u8],
    mode: Mode,
    caller: Option<ObjectId>,
    namespace: c_long,
) -> Result<Option<LinkMap>, Error> {
    if !mode.intersects(Mode::LAZY | Mode::NOW) {
        return Err(Error::new(name, Problem::OpenMode));
    }
    if namespace != LM_ID_BASE && namespace != LM_ID_CALLER {
        return Err(Error::new(name, Problem::NoMoreNamespaces));
    }
    let loaded = if name.is_empty() {
        Loaded { root: process.executable, new: Vec::new(), closure: Vec::new() }
    } else {
        match load(process, name, mode, caller)? {
            Some(loaded) => loaded,
            None => return Ok(None),
        }
    };
    let root = loaded.root;
    if loaded.new.is_empty() {
        make_root(process, root);
    } else {
        link(process, &loaded, mode)?;
    }
    // SAFETY: the load lock is held.
    let state = unsafe { process.state_mut(root) };
    state.opens += 1;
    let map = state.map;
    map.record().put(process.layout.link_map.direct_opencount, state.opens);
    let sorted = if loaded.new.is_empty() { Vec::new() } else { state.sorted.clone() };
    if mode.contains(Mode::GLOBAL) {
        add_to_global_scope(process, root);
    }
    initialise::initialise(process, &sorted);
    Ok(Some(map))
}

/// Takes one opening of `id` back. The load lock is held.
pub fn close(process: &Process, id: ObjectId) -> Result<(), Error> {
    // SAFETY: the load lock is held.
    let (object, state) = unsafe { (&process.objects.get()[id], process.state_mut(id)) };
    if state.opens == 0 {
        return Err(Error::new(object.display_name(process.program), Problem::NotOpen));
    }
    state.opens -= 1;
    state.map.record().put(process.layout.link_map.direct_opencount, state.opens);
    Ok(())
}

/// Notes that `requester` was given an address in `provider` by name, which may outlive their scopes.
pub fn note_binding(process: &Process, requester: Option<ObjectId>, provider: ObjectId) {
    let Some(requester) = requester.filter(|&requester| requester != provider) else { return };
    // SAFETY: the load lock is held.
    let Some(Some(state)) = (unsafe { process.states.get_mut() }).get_mut(requester.0 as usize) else { return };
    let index = provider.0 as usize;
    if !state.closure.objects.contains(&provider) && !state.bound.contains(&index) {
        state.bound.push(index);
    }
}

/// Loads `name` and all it needs.
fn load(
    process: &Process,
    name: &[u8],
    mode: Mode,
    caller: Option<ObjectId>,
) -> Result<Option<Loaded>, Error> {
    // SAFETY: the load lock is held; nothing foreign is called during loading.
    let (objects, members, search, disk) = unsafe {
        (process.objects.get_mut(), process.members.get_mut(), process.search.get_mut(), process.disk.get_mut())
    };
    let first_new = members.len();
    let mut loader = Loader {
        objects,
        members,
        search,
        source: disk,
        observe: &mut (),
        executable: process.executable,
        interpreter: Some(process.interpreter),
        program: process.program,
    };
    let requester = Some(caller.unwrap_or(process.executable));
    let found = if mode.contains(Mode::NOLOAD) {
        loader.loaded(name, requester)?
    } else {
        Some(loader.load(name, requester, Reference::Opened)?)
    };
    let Some(root) = found else { return Ok(None) };
    if loader.members.len() == first_new {
        return Ok(Some(Loaded { root, new: Vec::new(), closure: Vec::new() }));
    }
    // Nobody is the loader of an object that is opened by name: dlsym(RTLD_NEXT) climbs no further.
    loader.objects[root].loader = None;
    let mut errors = Vec::new();
    let mut closure = Vec::new();
    if loader.objects[root].flags_1() & DF_1_NOOPEN != 0 {
        errors.push(Error::new(name, Problem::NotForDlopen));
    } else {
        closure = loader.closure(&[root], &mut |_, error| errors.push(error));
    }
    let new: Vec<ObjectId> = members[first_new..].to_vec();
    if errors.is_empty() {
        for &id in &new {
            version::check(objects, members, id, process.program, &mut |error| errors.push(error));
        }
    }
    if !errors.is_empty() {
        discard(process, &new);
        return Err(errors.swap_remove(0));
    }
    Ok(Some(Loaded { root, new, closure }))
}

/// Publishes, relocates and protects what was loaded; on failure it is as if it had not been loaded.
fn link(process: &Process, loaded: &Loaded, mode: Mode) -> Result<(), Error> {
    let Loaded { root, new, closure } = loaded;
    debugger::announce(Change::Add);
    publish(process, loaded, mode);
    let mut errors = Vec::new();
    for &id in new {
        if let Err(error) = execute::add_tls_module(process, id) {
            errors.push(error);
        }
    }
    let indices: Vec<usize> = closure.iter().map(|id| id.0 as usize).collect();
    let sorted = {
        // SAFETY: the load lock is held.
        let states = unsafe { process.states.get() };
        order::sort(&indices, Root::New, Some(process.executable.0 as usize), &Edges(states))
    };
    // SAFETY: the load lock is held.
    unsafe { process.state_mut(*root) }.sorted = sorted.clone();
    if errors.is_empty() {
        let now = mode.contains(Mode::NOW) || process.bind_now;
        execute::relocate(process, &sorted, now, true, &mut |error| errors.push(error));
    }
    if let Some(error) = errors.into_iter().next() {
        withdraw(process, new);
        debugger::announce(Change::Consistent);
        return Err(error);
    }
    for &id in new {
        execute::initialise_static_tls(process, id);
    }
    tls::publish_generation(process);
    debugger::announce(Change::Consistent);
    Ok(())
}

/// Puts new objects on the list, with their scopes, before any of their code or data is used.
fn publish(process: &Process, loaded: &Loaded, mode: Mode) {
    let Loaded { root, new, closure } = loaded;
    let _list = process.lock_list();
    // SAFETY: the load lock is held.
    let (objects, states, members) = unsafe { (process.objects.get(), process.states.get_mut(), process.members.get()) };
    let last = members
        .iter()
        .rev()
        .find(|id| !new.contains(id))
        .and_then(|id| states[id.0 as usize].as_ref())
        .map(|state| state.map);
    publish::add_objects(process.layout, process.global_record, objects, states, last, new, false);
    if let Some(Some(state)) = states.get_mut(root.0 as usize) {
        state.closure.objects = closure.clone();
    }
    for &id in closure {
        // SAFETY: the load lock is held.
        let state = unsafe { process.state_mut(id) };
        let closure_of_root = ScopeName::ClosureOf(*root);
        if new.contains(&id) {
            let symbolic = objects[id].dynamic.as_ref().is_some_and(|dynamic| dynamic.flags & DF_SYMBOLIC != 0);
            let ordinary = [ScopeName::Global, closure_of_root];
            let deep = [closure_of_root, ScopeName::Global];
            state.scopes = symbolic.then_some(ScopeName::Itself).into_iter().collect();
            state.scopes.extend(if mode.contains(Mode::DEEPBIND) { deep } else { ordinary });
        } else if !state.global && !state.scopes.contains(&closure_of_root) {
            state.scopes.push(closure_of_root);
        }
        // SAFETY: the load lock is held.
        unsafe { publish::scopes(process, id) };
    }
    find_object::publish(process);
}

/// Gives an object that was loaded as a dependency a closure of its own.
fn make_root(process: &Process, root: ObjectId) {
    // SAFETY: the load lock is held.
    let (objects, state) = unsafe { (process.objects.get(), process.state_mut(root)) };
    if !state.closure.objects.is_empty() {
        return;
    }
    let mut closure = alloc::vec![root];
    let mut next = 0;
    while let Some(&id) = closure.get(next) {
        next += 1;
        for &needed in &objects[id].needed {
            if !closure.contains(&needed) {
                closure.push(needed);
            }
        }
    }
    state.closure.objects = closure;
    // SAFETY: the load lock is held.
    unsafe { publish::scopes(process, root) };
}

/// Appends the objects of a closure to the main search list (`RTLD_GLOBAL`).
fn add_to_global_scope(process: &Process, root: ObjectId) {
    // SAFETY: the load lock is held.
    let (closure, global) = unsafe { (process.state(root).closure.objects.clone(), process.global.get_mut()) };
    for id in closure {
        // SAFETY: the load lock is held.
        let state = unsafe { process.state_mut(id) };
        if !state.global {
            state.global = true;
            state.map.set_flag(process.layout, process.layout.link_map.bits.global, true);
            global.objects.push(id);
        }
    }
    // SAFETY: the load lock is held.
    unsafe { publish::global_scope(process) };
}

/// Takes objects off every list and unmaps them: they were published, but nothing uses them.
fn withdraw(process: &Process, gone: &[ObjectId]) {
    {
        let _list = process.lock_list();
        let (layout, global) = (process.layout, process.global_record);
        let l = &layout.link_map;
        for &id in gone {
            // SAFETY: the load lock is held.
            let record = unsafe { process.state(id) }.map.record();
            let (next, previous): (usize, usize) = (record.get(l.next), record.get(l.prev));
            let neighbour = |base: usize| {
                // SAFETY: `l_next` and `l_prev` are null or link maps.
                unsafe { LinkMap::from_base(layout, core::ptr::with_exposed_provenance_mut(base)) }
            };
            if let Some(next) = neighbour(next) {
                next.record().put(l.prev, previous);
            }
            if let Some(previous) = neighbour(previous) {
                previous.record().put(l.next, next);
            }
            let module: usize = record.get(l.tls_modid);
            if module != 0 {
                tls::remove_module(module);
            }
        }
        let nloaded = layout.global.ns + layout.namespace.nloaded;
        global.put(nloaded, global.get::<u32>(nloaded) - gone.len() as u32);
        // SAFETY: the load lock is held.
        let (members, states) = unsafe { (process.members.get_mut(), process.states.get_mut()) };
        members.retain(|id| !gone.contains(id));
        for state in states.iter_mut().flatten() {
            state.scopes.retain(|scope| !matches!(scope, ScopeName::ClosureOf(root) if gone.contains(root)));
            state.bound.retain(|&index| !gone.contains(&ObjectId(index as u32)));
        }
        for &id in members.iter() {
            // SAFETY: the load lock is held.
            unsafe { publish::scopes(process, id) };
        }
        find_object::publish(process);
        for &id in gone {
            states[id.0 as usize] = None;
        }
    }
    tls::publish_generation(process);
    discard(process, gone);
}

/// Unmaps objects that are on no list.
fn discard(process: &Process, gone: &[ObjectId]) {
    // SAFETY: the load lock is held.
    let (objects, members) = unsafe { (process.objects.get_mut(), process.members.get_mut()) };
    members.retain(|id| !gone.contains(id));
    for &id in gone {
        if let Some(object) = objects.remove(id) {
            // SAFETY: the object is on no list any more, and nothing was bound to it.
            unsafe { map::unmap_object(&object.placement, object.image.bias()) };
        }
    }
}
