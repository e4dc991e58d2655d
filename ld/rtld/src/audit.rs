//! Auditors: libraries that watch, and may change, what the loader does (rtld-audit(7), `LD_AUDIT`).
//!
//! Each lives in a namespace of its own, which nobody watches. What they are told, and in which order, is glibc's
//! (*glibc elf/dl-audit.c*, and its callers). Without auditors nothing here runs: every checkpoint first looks whether the
//! list is empty.
//!
//! While an auditor is asked about an object that is being loaded or bound, the loader's tables are in use: it may look
//! things up, and cannot open or close.
//!
//! # Safety
//! Calls functions of auditors by the types that `<link.h>` declares. The list of auditors changes only while the process
//! starts; the load lock is held around every checkpoint but `la_preinit` and those of calls.
#![allow(unsafe_code)]

pub mod bindings;
pub mod calls;
pub mod load;

use alloc::ffi::CString;
use alloc::vec::Vec;
use core::ffi::{CStr, c_char, c_long};
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};

use folio_elf::Symbol;
use folio_glibc::layout::Version;
use folio_link::object::{Kind, ObjectId, Objects};
use folio_link::search::{Redirect, Rule};
use folio_runtime::audited_call::{CallRegisters, CallResults};

use crate::abi::link_map::LinkMap;
use crate::abi::publish::{self, Place};
use crate::namespace::{Audit, Namespace};
use crate::process::Process;

/// The first release that tells of `LA_ACT_DELETE` before `la_objclose` in dlclose(3), of `LA_ACT_CONSISTENT` when an opening
/// is over or has failed, and of the loader in other namespaces (glibc bugs 31985, 31986, 32065, 32066).
pub const REORDERED: Version = Version { major: 2, minor: 41 };

/// `la_activity`'s argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activity {
    Consistent = 0,
    Add = 1,
    Delete = 2,
}

/// `LA_SER_*`: where a name that `la_objsearch` is asked of comes from.
#[derive(Clone, Copy, Debug)]
enum Source {
    Original = 0x01,
    LibraryPath = 0x02,
    Runpath = 0x04,
    Cache = 0x08,
    Default = 0x40,
}

/// Names the types of an auditor's functions.
macro_rules! auditor_functions {
    ($($name:ident($($argument:ty),*) -> $result:ty;)*) => {
        // SAFETY: an auditor that has a function of such a name promises the type that `<link.h>` declares for it; the
        // checkpoints, its only callers, pass records that live during the call.
        $(type $name = unsafe extern "C" fn($($argument),*) -> $result;)*
    };
}

auditor_functions! {
    ActivityChange(*mut usize, u32) -> ();
    ObjectSearch(*const c_char, *mut usize, u32) -> *const c_char;
    ObjectOpening(*mut u8, c_long, *mut usize) -> u32;
    ObjectClosing(*mut usize) -> u32;
    BeforeInitializers(*mut usize) -> ();
    SymbolBinding(*mut Symbol, u32, *mut usize, *mut usize, *mut u32, *const c_char) -> usize;
    CallEntry(
        *mut Symbol, u32, *mut usize, *mut usize, *mut CallRegisters, *mut u32, *const c_char, *mut c_long
    ) -> usize;
    CallReturn(
        *mut Symbol, u32, *mut usize, *mut usize, *const CallRegisters, *mut CallResults, *const c_char
    ) -> u32;
}

/// What one auditor wants to be called for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Auditor {
    activity: Option<ActivityChange>,
    objsearch: Option<ObjectSearch>,
    objopen: Option<ObjectOpening>,
    objclose: Option<ObjectClosing>,
    preinit: Option<BeforeInitializers>,
    symbind: Option<SymbolBinding>,
    pltenter: Option<CallEntry>,
    pltexit: Option<CallReturn>,
}

/// The auditors of a process.
#[derive(Debug)]
pub struct Auditors {
    /// As many as were asked for: each object has room for what they keep of it.
    asked: usize,
    list: Vec<Auditor>,
}

impl Auditors {
    /// Before any of them is loaded.
    pub fn asked(asked: usize) -> Auditors {
        Auditors { asked, list: Vec::new() }
    }
}

/// What one auditor keeps of one object (`struct auditstate`).
#[derive(Debug)]
pub struct Watched {
    /// What the auditor likes; the address of the link map at first.
    cookie: AtomicUsize,
    /// `LA_FLG_BINDTO` and `LA_FLG_BINDFROM`, as `la_objopen` gave them.
    flags: AtomicU32,
}

const BIND_TO: u32 = 1;
const BIND_FROM: u32 = 2;

impl Watched {
    pub fn new(map: LinkMap) -> Watched {
        Watched { cookie: AtomicUsize::new(map.address()), flags: AtomicU32::new(0) }
    }

    /// The address that the auditor knows it by.
    fn cookie(&self) -> *mut usize {
        self.cookie.as_ptr()
    }

    fn binds(&self, flag: u32) -> bool {
        self.flags.load(Ordering::Relaxed) & flag != 0
    }
}

/// Whether an auditor is being asked while the tables of the loader are in use.
static ASKING: AtomicBool = AtomicBool::new(false);

/// Whether objects cannot be opened or closed now, because an auditor that was asked wants to.
pub fn is_asking() -> bool {
    ASKING.load(Ordering::Relaxed)
}

/// Asks, while the tables of the loader are in use.
fn ask<R>(question: impl FnOnce() -> R) -> R {
    let before = ASKING.swap(true, Ordering::Relaxed);
    let answer = question();
    ASKING.store(before, Ordering::Relaxed);
    answer
}

/// The auditors.
fn auditors(process: &Process) -> &[Auditor] {
    // SAFETY: the list changes only at the start, before anything that is audited runs.
    unsafe { &process.auditors.get().list }
}

/// Whether there are any.
pub fn is_on(process: &Process) -> bool {
    !auditors(process).is_empty()
}

/// How many were asked for.
pub fn asked(process: &Process) -> usize {
    // SAFETY: as above.
    unsafe { process.auditors.get().asked }
}

/// Each auditor with what it keeps of an object. The load lock is held.
fn watching(process: &Process, id: ObjectId) -> impl Iterator<Item = (&Auditor, &Watched)> {
    // SAFETY: the load lock is held; what is kept of an object lasts as long as the object.
    auditors(process).iter().zip(unsafe { &process.state(id).watched })
}

/// Checkpoint: objects of a namespace are about to come or go, or all is well again. A namespace is known by its first
/// object; what is not known by one is not told of.
pub fn activity(process: &Process, namespace: &Namespace, activity: Activity) {
    if !is_on(process) {
        return;
    }
    // SAFETY: the load lock is held.
    let (members, is_auditors) = unsafe { (namespace.members.get(), namespace.is_auditors()) };
    let Some(&first) = members.first().filter(|_| !is_auditors) else { return };
    for (auditor, watched) in watching(process, first) {
        if let Some(tell) = auditor.activity {
            // SAFETY: the auditor's function, of that type.
            unsafe { tell(watched.cookie(), activity as u32) };
        }
    }
}

/// Checkpoint: an object is in memory, and on its namespace's list.
pub fn opened(process: &Process, namespace: &Namespace, id: ObjectId) {
    // SAFETY: the load lock is held.
    if unsafe { namespace.is_auditors() } {
        return;
    }
    // SAFETY: as above.
    let map = unsafe { process.state(id) }.map.base();
    for (auditor, watched) in watching(process, id) {
        if let Some(tell) = auditor.objopen {
            // SAFETY: the auditor's function, of that type; a link map of an object that is loaded.
            let flags = unsafe { tell(map, c_long::from(namespace.id.0), watched.cookie()) };
            watched.flags.store(flags, Ordering::Relaxed);
        }
    }
}

/// Checkpoint: an object goes.
pub fn closing(process: &Process, id: ObjectId) {
    // SAFETY: the load lock is held.
    if !is_on(process) || unsafe { process.namespace_of(id).is_auditors() } {
        return;
    }
    for (auditor, watched) in watching(process, id) {
        if let Some(tell) = auditor.objclose {
            // SAFETY: the auditor's function, of that type. What it returns means nothing.
            unsafe { tell(watched.cookie()) };
        }
    }
}

/// `_dl_audit_preinit`, called by libc before the program's initializers: checkpoint.
// SAFETY: libc alone calls, with the link map of the program.
#[unsafe(no_mangle)]
unsafe extern "C" fn _dl_audit_preinit(map: *mut u8) {
    let process = Process::get();
    if !is_on(process) {
        return;
    }
    // SAFETY: the caller's promise.
    let Some(id) = (unsafe { process.object_of(map) }) else { return };
    for (auditor, watched) in watching(process, id) {
        if let Some(tell) = auditor.preinit {
            // SAFETY: the auditor's function, of that type.
            unsafe { tell(watched.cookie()) };
        }
    }
}

/// What auditors have to do with the loading of objects into one namespace.
pub struct Auditing<'p> {
    process: &'p Process,
    namespace: &'p Namespace,
    /// Whose search is under way; nobody's if that object has no say in it.
    requester: Option<ObjectId>,
    /// They know that objects come.
    announced: bool,
    /// The objects are those of the start.
    at_start: bool,
}

impl<'p> Auditing<'p> {
    /// The eyes of the auditors, if there are any, on what an opening loads.
    pub fn of_opening(process: &'p Process, namespace: &'p Namespace) -> Option<Auditing<'p>> {
        // SAFETY: the load lock is held.
        let announced = unsafe { *namespace.auditing.get() } != Audit::Audited;
        is_on(process).then_some(Auditing { process, namespace, requester: None, announced, at_start: false })
    }

    /// The same for what the start loads.
    pub fn of_start(process: &'p Process) -> Auditing<'p> {
        Auditing { process, namespace: &process.base, requester: None, announced: true, at_start: true }
    }

    /// An object that was there before is part of what is loaded.
    pub fn known(&self, id: ObjectId) {
        ask(|| opened(self.process, self.namespace, id));
    }

    /// `requester` asks for `name`.
    pub fn wanted(&mut self, requester: ObjectId, name: &[u8]) -> Redirect {
        self.requester = Some(requester);
        self.ask_for(name, Source::Original)
    }

    /// A file is about to be opened.
    pub fn trying(&mut self, path: &[u8], rule: Rule) -> Redirect {
        self.ask_for(
            path,
            match rule {
                // What is asked for by its path was asked about already.
                Rule::Direct => return Redirect::Keep,
                Rule::Rpath | Rule::Runpath => Source::Runpath,
                Rule::LibraryPath => Source::LibraryPath,
                Rule::Cache => Source::Cache,
                Rule::Default => Source::Default,
            },
        )
    }

    /// `la_objsearch`: one auditor after the other may change the name, or want nothing of it.
    fn ask_for(&self, name: &[u8], source: Source) -> Redirect {
        let Some(requester) = self.requester.filter(|&id| !self.is_auditor(id)) else { return Redirect::Keep };
        let Ok(original) = CString::new(name) else { return Redirect::Keep };
        let mut current = original.as_ptr();
        for (auditor, watched) in watching(self.process, requester) {
            let Some(search) = auditor.objsearch else { continue };
            // SAFETY: the auditor's function, of that type, with a C string.
            current = ask(|| unsafe { search(current, watched.cookie(), source as u32) });
            if current.is_null() {
                return Redirect::Refuse;
            }
        }
        // SAFETY: what an auditor gives is a C string.
        match unsafe { CStr::from_ptr(current) }.to_bytes() {
            same if same == name => Redirect::Keep,
            other => Redirect::To(other.to_vec()),
        }
    }

    /// Whether an object is an auditor itself, the first of its namespace.
    fn is_auditor(&self, id: ObjectId) -> bool {
        // SAFETY: the load lock is held.
        unsafe {
            let namespace = self.process.namespace_of(id);
            namespace.is_auditors() && namespace.members.get().first() == Some(&id)
        }
    }

    /// An object has joined the namespace: it gets its link map now, to be shown.
    pub fn added(&mut self, objects: &Objects, id: ObjectId) {
        let (process, namespace) = (self.process, self.namespace);
        let place = Place::end_of(process, namespace);
        let place = Place { interpreter: place.interpreter.filter(|_| !self.at_start), ..place };
        // SAFETY: the load lock is held.
        let states = unsafe { process.states.get_mut() };
        publish::add_objects(process.layout, process.global_record, objects, states, place, &[id], asked(process));
        if objects[id].kind == Kind::Interpreter && process.layout.version < REORDERED {
            return;
        }
        ask(|| {
            if !core::mem::replace(&mut self.announced, true) {
                activity(process, namespace, Activity::Add);
            }
            opened(process, namespace, id);
        });
    }
}
