//! Open: bring objects into a running process (dlopen(3)).
//!
//! Order of *glibc elf/dl-open.c, dl_open_worker_begin*: load, check versions, publish, relocate, protect, initialise. What
//! fails before anything was published leaves the process as it was.
#![allow(unsafe_code)]

use alloc::vec::Vec;
use core::ffi::c_long;

use bitflags::bitflags;
use folio_elf::dynamic::{DF_1_NODELETE, DF_1_NOOPEN};
use folio_elf::version::Need;
use folio_link::error::{Error, Problem};
use folio_link::graph::Loader;
use folio_link::object::{Kind, Object, ObjectId, Objects};
use folio_link::order::{self, Root};
use folio_link::search::Reference;
use folio_link::version;

use crate::abi::debugger::{self, Event};
use crate::abi::libc;
use crate::abi::link_map::LinkMap;
use crate::abi::publish::{self, Place};
use crate::audit::{self, Activity, Auditing, REORDERED};
use crate::debug::{self, REMARKS, Searches, version_wanted};
use crate::dl::find_object;
use crate::dl::tls;
use crate::dl::unload;
use crate::image::execute::{self, Later};
use crate::image::initialise::{self, Edges};
use crate::image::origin;
use crate::namespace::{self, Audit, Namespace, NamespaceId};
use crate::process::{Arguments, LibcFunctions, Process, ScopeName, function};
use crate::processor;
use crate::profile::Span;

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
        /// An auditor is opened (`__RTLD_AUDIT`).
        const AUDIT = 0x0800_0000;
    }
}

/// What loading a name gave.
struct Loaded {
    root: ObjectId,
    /// Objects that were not there before, in load order.
    new: Vec<ObjectId>,
    /// The root and all it needs, breadth first; empty if it has been opened before.
    closure: Vec<ObjectId>,
}

/// Opens `name` for `caller` in the namespace that `number` asks for; `None` if it is not loaded and `mode` says not to load
/// it. Initializers are called with `arguments`. The load lock is held.
pub fn open(
    process: &Process,
    name: &[u8],
    mode: Mode,
    caller: Option<ObjectId>,
    number: c_long,
    arguments: Arguments,
) -> Result<Option<LinkMap>, Error> {
    if !mode.intersects(Mode::LAZY | Mode::NOW) {
        return Err(Error::new(name, Problem::OpenMode));
    }
    if audit::is_asking() {
        return Err(Error::new(name, Problem::LoadUnderWay));
    }
    crate::reserve_memory(1).map_err(|problem| Error::new(name, problem))?;
    let namespace = namespace::choose(process, number, caller).map_err(|problem| Error::new(name, problem))?;
    if mode.contains(Mode::AUDIT) {
        // SAFETY: the load lock is held.
        unsafe { *namespace.auditing.get_mut() = Audit::Loading };
    }
    let loaded = load(process, namespace, name, mode, caller);
    // What ldconfig(8) writes meanwhile counts for the next opening.
    // SAFETY: the load lock is held.
    unsafe { process.disk.get_mut() }.forget_cache();
    let linked = loaded.and_then(|loaded| {
        let Some(loaded) = loaded else { return Ok(None) };
        let sorted = if loaded.closure.is_empty() { Vec::new() } else { link(process, namespace, &loaded, mode)? };
        Ok(Some((loaded, sorted)))
    });
    namespace::settle(process, namespace);
    let Some((loaded, sorted)) = linked? else { return Ok(None) };
    // SAFETY: the load lock is held.
    let state = unsafe { process.state_mut(loaded.root) };
    state.opens += 1;
    state.stays |= mode.contains(Mode::NODELETE);
    let map = state.map;
    map.record().put(process.layout.link_map.direct_opencount, state.opens);
    initialise::initialise(process, &sorted, initialise::first(process, &loaded.new), arguments);
    // Only what is initialised is offered to others (glibc elf/dl-open.c, dl_open_worker). An object that has been opened
    // before and is global already keeps its dependencies as they are.
    // SAFETY: the load lock is held.
    let is_global = unsafe { process.state(loaded.root) }.global;
    if mode.contains(Mode::GLOBAL) && !(is_global && loaded.closure.is_empty()) {
        add_to_global_scope(process, namespace, loaded.root);
    }
    debug::opened(process, loaded.root, loaded.closure.is_empty());
    Ok(Some(map))
}

/// Notes that a reference of `requester` was bound to `provider` by name, which keeps the provider as long as the requester:
/// *glibc elf/dl-lookup.c, add_dependency*. The load lock is held.
pub fn note_binding(process: &Process, requester: ObjectId, provider: ObjectId) {
    let layout = process.layout;
    // SAFETY: the load lock is held.
    let states = unsafe { process.states.get_mut() };
    let state = |id: ObjectId| states[id.0 as usize].as_ref().expect("bound objects are loaded");
    let (from, to) = (state(requester), state(provider));
    if requester == provider || !to.map.is_opened(layout) || to.stays {
        return;
    }
    if !from.map.is_opened(layout) || from.stays {
        debug::stays_for(process, provider, requester);
        states[provider.0 as usize].as_mut().expect("as above").stays = true;
        return;
    }
    let index = provider.0 as usize;
    let is_known =
        from.closure.objects.contains(&provider) || from.needed.contains(&index) || from.bound.contains(&index);
    if !is_known {
        let state = states[requester.0 as usize].as_mut().expect("as above");
        state.bound.push(index);
        state.was_bound = true;
        debug::depends(process, provider, requester);
    }
}

/// Loads `name` and all it needs. Out of line, as what follows: threads that open may have small stacks.
#[inline(never)]
fn load(
    process: &Process,
    namespace: &Namespace,
    name: &[u8],
    mode: Mode,
    caller: Option<ObjectId>,
) -> Result<Option<Loaded>, Error> {
    if name.is_empty() && namespace.is_base() {
        return Ok(Some(Loaded { root: process.executable, new: Vec::new(), closure: Vec::new() }));
    }
    // In another namespace the caller matters only where its search path does (glibc elf/dl-open.c, dl_open_worker_begin).
    let from = caller.map_or(NamespaceId::BASE, |caller| {
        // SAFETY: the load lock is held.
        unsafe { process.namespace_of(caller) }.id
    });
    let is_asked = from == namespace.id || !name.contains(&b'/') || name.contains(&b'$');
    let from = is_asked.then_some(usize::from(from.0));
    let interpreter = namespace::interpreter(process, namespace);
    // SAFETY: the load lock is held; nothing foreign is called during loading.
    let (objects, members, search, disk) = unsafe {
        (process.objects.get_mut(), namespace.members.get_mut(), process.search.get_mut(), process.disk.get_mut())
    };
    let number = usize::from(namespace.id.0);
    let first_new = members.len();
    let requester = caller.unwrap_or(process.executable);
    if requester == process.executable {
        origin::publish(process, &mut objects[requester], name);
    }
    let mut loader = Loader {
        objects,
        members,
        search,
        source: disk,
        observe: &mut Searches {
            program: process.program,
            namespace: number,
            from,
            by_option: process.ld_library_path_by_option,
            remarks: process.layout.version >= REMARKS,
            auditing: Auditing::of_opening(process, namespace),
            under_way: Span::NONE,
        },
        executable: process.executable,
        interpreter: Some(interpreter),
        program: process.program,
    };
    let requester = Some(requester);
    let found = if mode.contains(Mode::NOLOAD) {
        loader.loaded(name, requester)?
    } else {
        let reference = if mode.contains(Mode::AUDIT) { Reference::Audit } else { Reference::Opened };
        Some(loader.load(name, requester, reference)?)
    };
    let Some(root) = found else { return Ok(None) };
    let is_new = loader.members.len() != first_new;
    if is_new {
        // Nobody is the loader of an object that is opened by name: dlsym(RTLD_NEXT) climbs no further.
        loader.objects[root].loader = None;
    // SAFETY: the load lock is held.
    } else if root == process.executable || !unsafe { process.state(root) }.closure.objects.is_empty() {
        return Ok(Some(Loaded { root, new: Vec::new(), closure: Vec::new() }));
    }
    let mut errors = Vec::new();
    let mut closure = Vec::new();
    let is_refused = |objects: &Objects, id: ObjectId| objects[id].flags_1() & DF_1_NOOPEN != 0;
    if is_new && is_refused(loader.objects, root) {
        errors.push(Error::new(name, Problem::NotForDlopen));
    } else {
        closure = loader.closure(&[root], &mut |missing| {
            errors.extend((!missing.is_optional).then_some(missing.error));
        });
    }
    let new: Vec<ObjectId> = members[first_new..].to_vec();
    // What only a start may load is not to be had as a dependency either.
    if let Some(&id) = new.iter().find(|&&id| errors.is_empty() && is_refused(objects, id)) {
        let name = objects[id].names.first().map_or(&[][..], Vec::as_slice);
        errors.push(Error::new(name, Problem::NotForDlopen));
    }
    if errors.is_empty() {
        for &id in &new {
            let mut watch =
                |need: &Need, provider: &Object| version_wanted(need, provider, &objects[id], process.program, number);
            version::check_watched(objects, members, id, process.program, &mut watch, &mut |error| {
                if !error.problem.is_warning() {
                    errors.push(error);
                }
            });
        }
    }
    if errors.is_empty() {
        errors.extend(crate::reserve_memory(new.len()).err().map(|problem| Error::new(name, problem)));
    }
    if !errors.is_empty() {
        if audit::is_on(process) {
            tell_of_end(process, namespace, &new);
            unload::take_back(process, namespace, &new);
        } else {
            unload::discard(process, namespace, &new);
        }
        return Err(errors.swap_remove(0));
    }
    Ok(Some(Loaded { root, new, closure }))
}

/// Publishes, relocates and protects what was loaded, and gives the order of its initializers; on failure it is as if it
/// had not been loaded.
#[inline(never)]
fn link(process: &Process, namespace: &Namespace, loaded: &Loaded, mode: Mode) -> Result<Vec<usize>, Error> {
    let Loaded { root, new, closure } = loaded;
    publish(process, namespace, loaded, mode);
    if process.layout.version < REORDERED {
        audit::activity(process, namespace, Activity::Consistent);
    }
    // The new objects are on the list, so that a debugger can stop in all of their code.
    // SAFETY: the load lock is held.
    let first = new.first().map(|&id| unsafe { process.state(id) }.map);
    let tell = |event: fn(LinkMap) -> Event| {
        if let Some(first) = first {
            debugger::announce(process, namespace, event(first));
        }
    };
    tell(|_| Event::MapStart);
    debug::show_scope(process, *root, 0);
    let mut errors = Vec::new();
    let libc = new_libc(process, namespace, new).unwrap_or_else(|error| {
        errors.push(error);
        None
    });
    for &id in new {
        if let Err(error) = execute::add_tls_module(process, id) {
            errors.push(error);
        }
    }
    let sorted = sort(process, namespace, loaded);
    if let Some(id) = execute::too_new_for_processor(process, &sorted) {
        // SAFETY: the load lock is held.
        errors.push(Error::new(unsafe { &process.objects.get()[id].path }, Problem::IsaLevel));
    }
    if errors.is_empty() {
        let now = mode.contains(Mode::NOW) || process.bind_now;
        let mut later = Later::default();
        tell(|_| Event::RelocStart);
        execute::relocate(process, &sorted, now, Some(&mut later), &mut |error| {
            if errors.is_empty() {
                debug::failed("symbol lookup error", &error, false);
            }
            errors.push(error);
        });
        if errors.is_empty() {
            tell(Event::RelocComplete);
            errors.extend(later.finish(process).err());
        }
    }
    if let Some(error) = errors.into_iter().next() {
        tell_of_end(process, namespace, new);
        unload::take_back(process, namespace, new);
        return Err(error);
    }
    append_scopes(process, *root, closure);
    // SAFETY: the load lock is held.
    let objects = unsafe { process.objects.get() };
    if new.iter().any(|&id| objects[id].placement.tls.is_some()) {
        let _lock = process.lock_tls();
        for &id in new {
            // SAFETY: as above.
            tls::initialise_in_all(process.layout, unsafe { process.state(id) }.map);
        }
        tls::publish_generation(process);
    }
    if let Some(early_init) = libc.and_then(|libc| libc.early_init) {
        // SAFETY: libc's __libc_early_init, once, after its relocation; this libc is not the process' first.
        unsafe { function::<unsafe extern "C" fn(bool)>(early_init)(false) };
    }
    tell(Event::MapComplete);
    tell_of_end(process, namespace, new);
    Ok(sorted)
}

/// Tells auditors that an opening which loaded `new` is over, or has failed, where glibc does.
fn tell_of_end(process: &Process, namespace: &Namespace, new: &[ObjectId]) {
    if !new.is_empty() && process.layout.version >= REORDERED {
        audit::activity(process, namespace, Activity::Consistent);
    }
}

/// The functions of the libc that came with `new`, if it is its namespace's first.
fn new_libc(process: &Process, namespace: &Namespace, new: &[ObjectId]) -> Result<Option<LibcFunctions>, Error> {
    // SAFETY: the load lock is held.
    let (objects, known) = unsafe { (process.objects.get(), *namespace.libc.get()) };
    let Some(libc) = libc::find(objects, new).filter(|_| known.is_none()) else { return Ok(None) };
    // Both work with the one `_rtld_global`.
    if !libc::layout(&objects[libc]).is_ok_and(|layout| core::ptr::eq(layout, process.layout)) {
        return Err(Error::new(&objects[libc].path, Problem::OtherLibc));
    }
    // SAFETY: the load lock is held.
    unsafe { publish::libc(process, namespace, Some(libc)) };
    let functions = libc::functions(objects, libc, process.layout);
    // SAFETY: as above.
    if functions.leaf_reader != unsafe { process.libc.get() }.leaf_reader {
        processor::complete(process);
    }
    Ok(Some(functions))
}

/// Sorts what the root needs, and lets the root forget bindings that its closure holds now (*glibc elf/dl-deps.c*).
fn sort(process: &Process, namespace: &Namespace, loaded: &Loaded) -> Vec<usize> {
    let Loaded { root, new, closure } = loaded;
    // SAFETY: the load lock is held.
    let (libc, states) = unsafe { (*namespace.libc.get(), process.states.get()) };
    let kind = match libc {
        Some(libc) if libc == *root => Root::Sorted,
        _ if new.contains(root) => Root::New,
        _ => Root::Known,
    };
    let mut indices: Vec<usize> = closure.iter().map(|id| id.0 as usize).collect();
    order::lead(&mut indices, root.0 as usize);
    let sorted = Edges(states).sort(process).opened(&indices, kind);
    // SAFETY: as above; the borrows of the states have ended.
    let state = unsafe { process.state_mut(*root) };
    state.sorted = sorted.clone();
    state.bound.retain(|bound| !indices.contains(bound));
    sorted
}

/// Puts new objects on the list, with their scopes, before any of their code or data is used.
fn publish(process: &Process, namespace: &Namespace, loaded: &Loaded, mode: Mode) {
    let Loaded { root, new, closure } = loaded;
    let _list = process.lock_list();
    let place = Place::end_of(process, namespace);
    // SAFETY: the load lock is held.
    let (objects, states, members) =
        unsafe { (process.objects.get(), process.states.get_mut(), namespace.members.get()) };
    publish::add_objects(process.layout, process.global_record, objects, states, place, new, audit::asked(process));
    if audit::is_on(process) {
        // SAFETY: the load lock is held.
        unsafe { publish::reorder(process, namespace) };
    }
    // What a namespace begins with is its main search list.
    let is_first = new.len() == members.len();
    if is_first {
        // SAFETY: the load lock is held.
        unsafe {
            namespace.global.get_mut().objects = closure.clone();
            publish::global_scope(process, namespace);
        }
    }
    if let Some(Some(state)) = states.get_mut(root.0 as usize) {
        state.closure.objects = closure.clone();
        // Before relocation: what such an object is bound to stays as well.
        state.stays |= new.contains(root) && mode.contains(Mode::NODELETE);
    }
    for &id in new {
        // SAFETY: the load lock is held.
        let state = unsafe { process.state_mut(id) };
        let symbolic = objects[id].is_symbolic();
        let ordinary = [ScopeName::Global, ScopeName::ClosureOf(*root)];
        let deep = [ScopeName::ClosureOf(*root), ScopeName::Global];
        state.scopes = symbolic.then_some(ScopeName::Itself).into_iter().collect();
        state.scopes.extend(match mode.contains(Mode::DEEPBIND) {
            _ if is_first => &ordinary[..1],
            true => &deep,
            false => &ordinary,
        });
        // Folio has relocated itself.
        state.relocated = objects[id].kind == Kind::Interpreter;
        state.stays |= objects[id].flags_1() & DF_1_NODELETE != 0;
    }
    for &id in new.iter().chain([root]) {
        // SAFETY: the load lock is held.
        unsafe { publish::scopes(process, id) };
    }
    find_object::publish(process);
}

/// Lets objects that were there before search the new root's closure too (*glibc elf/dl-open.c, update_scopes*).
fn append_scopes(process: &Process, root: ObjectId, closure: &[ObjectId]) {
    let closure_of_root = ScopeName::ClosureOf(root);
    for &id in closure {
        // SAFETY: the load lock is held.
        let state = unsafe { process.state_mut(id) };
        let mut shown = 0;
        if state.initialised && state.map.is_opened(process.layout) && !state.scopes.contains(&closure_of_root) {
            shown = state.scopes.len();
            state.scopes.push(closure_of_root);
            // SAFETY: as above.
            unsafe { publish::scopes(process, id) };
        }
        debug::show_scope(process, id, shown);
    }
}

/// Appends the objects of a closure to the main search list (`RTLD_GLOBAL`).
fn add_to_global_scope(process: &Process, namespace: &Namespace, root: ObjectId) {
    // SAFETY: the load lock is held.
    let (closure, global) = unsafe { (process.state(root).closure.objects.clone(), namespace.global.get_mut()) };
    for id in closure {
        // SAFETY: the load lock is held.
        let state = unsafe { process.state_mut(id) };
        if !state.global {
            state.global = true;
            state.map.set_flag(process.layout, process.layout.link_map.bits.global, true);
            if !global.objects.contains(&id) {
                global.objects.push(id);
            }
            debug::joins_global_scope(process, id);
        }
    }
    // SAFETY: the load lock is held.
    unsafe { publish::global_scope(process, namespace) };
}
