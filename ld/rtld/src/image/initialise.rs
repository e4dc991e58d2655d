//! Initialise and finalise: the constructors and destructors of objects, each once, in dependency order.
//!
//! gABI, *Initialization and Termination Functions*; arguments of initializers as *glibc elf/dl-init.c, call_init*. The
//! executable's own are run by libc (`__libc_start_main`), and so is the registration of [`_dl_fini`].
//!
//! # Safety
//! Calls functions that relocated objects name as theirs.
#![allow(unsafe_code)]

use alloc::vec::Vec;
use core::ffi::c_char;

use folio_elf::Lossy;
use folio_elf::dynamic::Extent;
use folio_elf::{Addr, Vaddr};
use folio_link::graph;
use folio_link::object::{Kind, Object, ObjectId, Objects};
use folio_link::order;

use crate::audit::{self, Activity};
use crate::debug::{self, Categories};
use crate::dl::fork;
use crate::namespace::Namespace;
use crate::process::{Arguments, Process, State, function};
use crate::profile::{Kind as Profiled, Span};

// SAFETY: an object's arrays promise functions of these types (gABI, *Initialization and Termination Functions*); each is
// called once, in its turn, after the object was relocated.
type Initializer = unsafe extern "C" fn(i32, *mut *mut c_char, *mut *mut c_char);
type Finalizer = unsafe extern "C" fn();

/// Who depends on whom, as the sort asks it.
pub struct Edges<'p>(pub &'p [Option<State>]);

impl<'p> Edges<'p> {
    /// The sort of this process, which goes by these.
    pub fn sort(self, process: &Process) -> order::Sort<Edges<'p>> {
        let algorithm = process.sort_algorithm;
        order::Sort { algorithm, main: Some(process.executable.0 as usize), dependencies: self }
    }
}

impl order::Dependencies for Edges<'_> {
    fn needed(&self, object: usize) -> &[usize] {
        self.0[object].as_ref().map_or(&[], |state| if state.sorted.is_empty() { &state.needed } else { &state.sorted })
    }

    fn bound(&self, object: usize) -> &[usize] {
        self.0[object].as_ref().map_or(&[], |state| &state.bound)
    }

    fn was_bound(&self, object: usize) -> bool {
        self.0[object].as_ref().is_some_and(|state| state.was_bound)
    }
}

/// The functions that an array of the dynamic section names, as relocated.
fn array(object: &Object, extent: Extent) -> Vec<Addr> {
    (0..extent.size / 8)
        .filter_map(|index| object.image.read::<u64>(Vaddr(extent.at.0.wrapping_add(8 * index))))
        .map(Addr)
        .filter(|&address| address.0 != 0 && address.0 != u64::MAX)
        .collect()
}

/// Whether all initializers and finalizers of a relocated object are code of loaded objects, before any of them is called.
pub fn are_code(objects: &Objects, object: &Object) -> bool {
    let Some(dynamic) = &object.dynamic else { return true };
    let single = [dynamic.init, dynamic.fini].into_iter().flatten().map(|at| object.address(at));
    let arrays = dynamic.arrays().into_iter().flat_map(|extent| array(object, extent));
    let is_code = |at| object.holds_code(at) || objects.iter().any(|(_, other)| other.holds_code(at));
    single.chain(arrays).all(is_code)
}

fn call_initializers(arguments: Arguments, functions: &[Addr]) {
    for &address in functions {
        // SAFETY: an initializer of an object that is relocated, and whose dependencies are initialised.
        fork::outside(|| unsafe { function::<Initializer>(address)(arguments.argc, arguments.argv, arguments.envp) });
    }
}

/// Initialises everything at the start but the executable, which libc sees to: the object that goes first, the executable's
/// `DT_PREINIT_ARRAY`, the others (*glibc elf/dl-init.c, _dl_init*).
pub fn start(process: &Process) {
    // SAFETY: one thread; the vectors are complete before anything is called.
    let (object, sorted, init_first) = unsafe {
        let object = &process.objects.get()[process.executable];
        (object, process.state(process.executable).sorted.clone(), first(process, process.base.members.get()))
    };
    let preinit = object.dynamic.as_ref().map(|dynamic| array(object, dynamic.preinit_array)).unwrap_or_default();
    initialise(process, &[], init_first, process.arguments);
    if !preinit.is_empty() {
        debug::say(Categories::CALLS, format_args!("\ncalling preinit: {}\n\n", Lossy(process.program)));
    }
    call_initializers(process.arguments, &preinit);
    initialise(process, &sorted, None, process.arguments);
}

/// Of the objects that were just loaded the one that is initialised first.
pub fn first(process: &Process, loaded: &[ObjectId]) -> Option<ObjectId> {
    // SAFETY: the load lock is held, or there is one thread.
    graph::goes_first(unsafe { process.objects.get() }, loaded)
}

/// Runs the initializers of a sorted list of objects that have not been run, dependencies first.
pub fn initialise(process: &Process, sorted: &[usize], init_first: Option<ObjectId>, arguments: Arguments) {
    for index in order::initialization(sorted, init_first.map(|id| id.0 as usize)) {
        let id = ObjectId(index as u32);
        let (functions, _span) = {
            // SAFETY: the load lock is held; borrows end before anything is called.
            let (objects, states) = unsafe { (process.objects.get(), process.states.get_mut()) };
            // An initializer may have closed what was still to be initialised.
            let Some(state) = &mut states[index] else { continue };
            let object = &objects[id];
            if core::mem::replace(&mut state.initialised, true) {
                continue;
            }
            state.map.set_flag(process.layout, process.layout.link_map.bits.init_called, true);
            debug::initialising(object);
            if object.kind != Kind::Library {
                continue;
            }
            let Some(dynamic) = &object.dynamic else { continue };
            let mut functions: Vec<Addr> = dynamic.init.map(|at| object.address(at)).into_iter().collect();
            functions.extend(array(object, dynamic.init_array));
            (functions, Span::about(Profiled::Initializers, || &object.path))
        };
        call_initializers(arguments, &functions);
    }
}

/// Runs an object's finalizers, the array backwards and then `DT_FINI`, if its initializers were run. Gives whether any code
/// was called.
pub fn finalise(process: &Process, id: ObjectId) -> bool {
    let functions = finalizers(process, id);
    for &address in &functions {
        // SAFETY: a finalizer of an object that was initialised.
        fork::outside(|| unsafe { function::<Finalizer>(address)() });
    }
    !functions.is_empty()
}

/// What is to be called to finalise an object; the next time it is nothing.
fn finalizers(process: &Process, id: ObjectId) -> Vec<Addr> {
    let _lock = process.lock();
    // SAFETY: the load lock is held.
    let (object, state) = unsafe { (&process.objects.get()[id], process.state_mut(id)) };
    if !core::mem::take(&mut state.initialised) {
        return Vec::new();
    }
    state.map.set_flag(process.layout, process.layout.link_map.bits.init_called, false);
    debug::finalising(process, id, object);
    let Some(dynamic) = &object.dynamic else { return Vec::new() };
    if !matches!(object.kind, Kind::Library | Kind::Executable) {
        return Vec::new();
    }
    let mut functions: Vec<Addr> = array(object, dynamic.fini_array);
    functions.reverse();
    functions.extend(dynamic.fini.map(|at| object.address(at)));
    functions
}

/// The exit routine that the program's start-up code registers with `atexit`: finalises all objects that are loaded, also
/// those that were opened and not closed, one namespace after the other. Other threads may go on opening and closing
/// meanwhile, and so may finalizers.
///
/// The name is what debuggers show and people know (*glibc elf/dl-fini.c, _dl_fini*).
#[unsafe(no_mangle)]
pub extern "C" fn _dl_fini() {
    let process = Process::get();
    for namespace in namespaces_to_finalise(process) {
        finalise_namespace(process, namespace);
    }
    debug::final_statistics();
}

// What only prepares is out of line: leak checkers run as finalizers, and search the stack for addresses. In a large frame
// below them, with room that is not used any more, they would find what the program has long lost.

/// Auditors see the others go.
#[inline(never)]
fn namespaces_to_finalise(process: &Process) -> Vec<&Namespace> {
    let _lock = process.lock();
    // SAFETY: the load lock is held.
    let namespaces = unsafe { process.namespaces() };
    let mut namespaces: Vec<&Namespace> = namespaces.collect();
    namespaces.reverse();
    // Stable: those of auditors come last, in their order.
    // SAFETY: as above.
    namespaces.sort_by_key(|namespace| unsafe { namespace.is_auditors() });
    namespaces
}

/// The objects of a namespace in the order of their end. Each one is held open until its turn is over.
#[inline(never)]
fn sort_to_finalise(process: &Process, namespace: &Namespace) -> Vec<usize> {
    let _lock = process.lock();
    audit::activity(process, namespace, Activity::Delete);
    // SAFETY: the load lock is held.
    let (members, states) = unsafe { (namespace.members.get(), process.states.get_mut()) };
    let list: Vec<usize> = members.iter().map(|id| id.0 as usize).collect();
    for &index in &list {
        if let Some(state) = &mut states[index] {
            state.opens += 1;
        }
    }
    Edges(states).sort(process).finalized(&list, namespace.is_base(), |_| false)
}

#[inline(never)]
fn finalise_namespace(process: &Process, namespace: &Namespace) {
    let sorted = sort_to_finalise(process, namespace);
    for index in sorted {
        let id = ObjectId(index as u32);
        // SAFETY: the object is loaded as long as it is held open.
        let was_initialised = unsafe { process.state(id) }.initialised;
        finalise(process, id);
        let _lock = process.lock();
        if was_initialised {
            audit::closing(process, id);
        }
        // SAFETY: the load lock is held, and the object is loaded as long as it is held open.
        unsafe { process.state_mut(id) }.opens -= 1;
    }
    let _lock = process.lock();
    audit::activity(process, namespace, Activity::Consistent);
}
