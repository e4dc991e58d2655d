//! The state of the process that Folio links, and the lock that guards it.
//!
//! One value, made at start and kept for good. Before libc is initialised there is one thread and nobody to lock out;
//! afterwards every entry from outside takes `_dl_load_lock` first, with libc's own mutex functions, because libc's fork
//! re-initialises exactly that lock in the child.
//!
//! # Safety
//! [`Process::get`] hands out shared references; fields that change are in [`Guarded`] cells, which are borrowed under the
//! load lock and never across a call into foreign code that could come back and change them.
#![allow(unsafe_code)]

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::cell::UnsafeCell;
use core::ffi::{CStr, c_char};
use core::sync::atomic::{AtomicPtr, Ordering};

use folio_elf::Addr;
use folio_glibc::layout::{Layout, Offset};
use folio_glibc::tunables::Values;
use folio_link::object::{ObjectId, Objects};
use folio_link::order::Algorithm;
use folio_link::resolve::Scope;
use folio_link::search::Search;
use folio_link::tls::StaticBlock;
use folio_runtime::tls::TlsDescriptorArgument;

use crate::abi::link_map::LinkMap;
use crate::abi::publish::Published;
use crate::abi::record::Record;
use crate::audit::calls::Calls;
use crate::audit::{Auditors, Watched};
use crate::dl::fork;
use crate::image::files::Disk;
use crate::namespace::{Namespace, NamespaceId};

/// A field that the load lock guards.
pub struct Guarded<T>(UnsafeCell<T>);

impl<T> Guarded<T> {
    pub const fn new(value: T) -> Guarded<T> {
        Guarded(UnsafeCell::new(value))
    }

    /// # Safety
    /// The load lock is held (or there is one thread), and nobody changes the field during the borrow.
    pub unsafe fn get(&self) -> &T {
        // SAFETY: the caller's promise.
        unsafe { &*self.0.get() }
    }

    /// # Safety
    /// The load lock is held (or there is one thread), and no other borrow of the field lives.
    #[allow(clippy::mut_from_ref)]
    pub unsafe fn get_mut(&self) -> &mut T {
        // SAFETY: the caller's promise.
        unsafe { &mut *self.0.get() }
    }
}

/// Where references of an object are looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScopeName {
    /// The namespace's main search list: the objects of the start, and those opened with `RTLD_GLOBAL`.
    Global,
    /// An object and all it needs.
    ClosureOf(ObjectId),
    /// The object itself, alone (`DF_SYMBOLIC`).
    Itself,
}

/// What the loader keeps of an object beside the object.
#[derive(Debug)]
pub struct State {
    pub map: LinkMap,
    pub namespace: NamespaceId,
    pub scopes: Vec<ScopeName>,
    /// The object and all it needs, breadth first; filled in for roots of the start and of `dlopen`.
    pub closure: Scope,
    pub sorted: Vec<usize>,
    /// Direct dependencies, as indices for the sort.
    pub needed: Vec<usize>,
    /// Objects outside the own closure that references were bound to, and whether there ever were any.
    pub bound: Vec<usize>,
    pub was_bound: bool,
    /// Times opened and not closed.
    pub opens: u32,
    pub global: bool,
    pub relocated: bool,
    pub initialised: bool,
    /// It stays for good: `RTLD_NODELETE`, `DF_1_NODELETE`, or an object that stays was bound to it.
    pub stays: bool,
    /// What each auditor keeps of it.
    pub watched: Box<[Watched]>,
    /// Its calls of functions, if an auditor watches those.
    pub calls: Option<Box<Calls>>,
    /// What libc sees of `closure` and `scopes`.
    pub published: Published,
    /// What TLS descriptors refer to that were bound to it.
    #[expect(clippy::vec_box, reason = "descriptors hold their addresses")]
    pub descriptors: Vec<Box<TlsDescriptorArgument>>,
}

/// Functions of libc that the loader calls.
#[derive(Clone, Copy, Debug, Default)]
pub struct LibcFunctions {
    pub mutex_lock: Option<Addr>,
    pub mutex_unlock: Option<Addr>,
    /// Up to 2.36 libc raises the loader's errors.
    pub signal_exception: Option<Addr>,
    pub catch_error: Option<Addr>,
    pub errno_location: Option<Addr>,
    pub early_init: Option<Addr>,
    pub register_atfork: Option<Addr>,
    /// The symbol by which programs ask for CPUID leaves: its index in libc's table.
    pub leaf_reader: Option<u32>,
}

pub struct Process {
    pub layout: &'static Layout,
    pub objects: Guarded<Objects<'static>>,
    pub states: Guarded<Vec<Option<State>>>,
    pub base: Namespace,
    /// The namespaces that dlmopen(3) made, by their numbers from 1 on; they are kept for those to come.
    pub others: Guarded<Vec<&'static Namespace>>,
    pub search: Guarded<Search<'static>>,
    pub disk: Guarded<Disk>,
    pub tls: Guarded<StaticBlock>,
    /// References to functions that nobody defined, by the number of their stub.
    pub missing: Guarded<Vec<Option<(ObjectId, u32)>>>,
    /// Those of the base namespace's libc: its locks are everybody's.
    pub libc: Guarded<LibcFunctions>,
    pub tunables: Guarded<Values<'static>>,
    pub sort_algorithm: Algorithm,
    pub executable: ObjectId,
    pub interpreter: ObjectId,
    pub vdso: Option<ObjectId>,
    /// The program's name in messages: `argv[0]`.
    pub program: &'static [u8],
    /// The executable's file, as it was asked for.
    pub program_file: &'static CStr,
    pub arguments: Arguments,
    /// What takes the place of `LD_LIBRARY_PATH` came with `--library-path`.
    pub ld_library_path_by_option: bool,
    /// `LD_BIND_NOW`.
    pub bind_now: bool,
    /// Written while the process starts.
    pub auditors: Guarded<Auditors>,
    pub ro: Record,
    pub global_record: Record,
}

/// What initializers are called with.
#[derive(Clone, Copy, Debug)]
pub struct Arguments {
    pub argc: i32,
    pub argv: *mut *mut c_char,
    pub envp: *mut *mut c_char,
}

#[unsafe(link_section = ".data.rel.ro.after_start")]
static PROCESS: AtomicPtr<Process> = AtomicPtr::new(core::ptr::null_mut());

impl Process {
    /// Makes `self` the process that entries from outside find.
    pub fn install(self) -> &'static Process {
        let process = alloc::boxed::Box::leak(alloc::boxed::Box::new(self));
        PROCESS.store(process, Ordering::Release);
        process
    }

    /// The process; nothing enters from outside before [`Process::install`].
    pub fn get() -> &'static Process {
        // SAFETY: installed values are never freed.
        unsafe { PROCESS.load(Ordering::Acquire).as_ref() }.expect("no entry before the process is installed")
    }

    /// The state of a loaded object.
    ///
    /// # Safety
    /// As [`Guarded::get`] of `states`.
    pub unsafe fn state(&self, id: ObjectId) -> &State {
        // SAFETY: the caller's promise.
        let states = unsafe { self.states.get() };
        states[id.0 as usize].as_ref().expect("object has a state")
    }

    /// # Safety
    /// As [`Guarded::get_mut`] of `states`.
    #[allow(clippy::mut_from_ref)]
    pub unsafe fn state_mut(&self, id: ObjectId) -> &mut State {
        // SAFETY: the caller's promise.
        let states = unsafe { self.states.get_mut() };
        states[id.0 as usize].as_mut().expect("object has a state")
    }

    /// All namespaces, in the order of their numbers.
    ///
    /// # Safety
    /// As [`Guarded::get`] of `others`.
    pub unsafe fn namespaces(&self) -> impl DoubleEndedIterator<Item = &Namespace> {
        // SAFETY: the caller's promise.
        let others = unsafe { self.others.get() };
        core::iter::once(&self.base).chain(others.iter().copied())
    }

    /// The namespace of a loaded object.
    ///
    /// # Safety
    /// As [`Process::state`].
    pub unsafe fn namespace_of(&self, id: ObjectId) -> &Namespace {
        // SAFETY: the caller's promise.
        match unsafe { self.state(id) }.namespace {
            NamespaceId::BASE => &self.base,
            NamespaceId(number) => {
                // SAFETY: as above.
                let others = unsafe { self.others.get() };
                others[usize::from(number) - 1]
            }
        }
    }

    /// Where in `_rtld_global` a field of a namespace is.
    pub fn namespace_field(&self, namespace: NamespaceId, field: Offset) -> Offset {
        self.layout.global.ns + namespace.0 * self.layout.namespace.size + field
    }

    /// The object that a link map's address means; null means none.
    ///
    /// # Safety
    /// `map` is null or the address of a link map that Folio made.
    pub unsafe fn object_of(&self, map: *mut u8) -> Option<ObjectId> {
        // SAFETY: the caller's promise.
        unsafe { LinkMap::from_base(self.layout, map) }.map(|map| map.object(self.layout))
    }

    /// Takes the load lock until the guard is dropped.
    pub fn lock(&self) -> Lock<'_> {
        let mut lock = Lock::take(self, self.layout.global.load_lock);
        lock.changes = lock.held;
        if lock.changes {
            fork::enter();
        }
        lock
    }

    /// Takes the lock under which modules of thread-local storage come and go. Whoever takes the load lock too takes that first.
    pub fn lock_tls(&self) -> Lock<'_> {
        Lock::take(self, self.layout.global.load_tls_lock)
    }

    /// Gives back what [`Process::lock_tls`] took, for one who forgot the guard.
    pub fn unlock_tls(&self) {
        // SAFETY: written once, before there is a second thread.
        let held = unsafe { self.libc.get() }.mutex_lock.is_some();
        drop(Lock {
            process: self,
            mutex: self.global_record.address(self.layout.global.load_tls_lock),
            held,
            changes: false,
        });
    }

    /// Takes the lock that `dl_iterate_phdr` holds while it walks the list of objects.
    pub fn lock_list(&self) -> Lock<'_> {
        Lock::take(self, self.layout.global.load_write_lock)
    }
}

/// A held lock of `_rtld_global`.
pub struct Lock<'p> {
    process: &'p Process,
    mutex: usize,
    held: bool,
    /// It is the load lock, and [`fork::enter`] was called.
    changes: bool,
}

impl<'p> Lock<'p> {
    fn take(process: &'p Process, offset: u16) -> Lock<'p> {
        let mutex = process.global_record.address(offset);
        // SAFETY: written once, before there is a second thread.
        let lock = unsafe { process.libc.get() }.mutex_lock;
        if let Some(lock) = lock {
            // SAFETY: libc's pthread_mutex_lock, relocated, on a recursive mutex of _rtld_global.
            unsafe { function::<unsafe extern "C" fn(usize) -> i32>(lock)(mutex) };
        }
        Lock { process, mutex, held: lock.is_some(), changes: false }
    }
}

impl Drop for Lock<'_> {
    fn drop(&mut self) {
        // SAFETY: as in `take`.
        let unlock = unsafe { self.process.libc.get() }.mutex_unlock;
        if let (true, Some(unlock)) = (self.held, unlock) {
            if self.changes {
                fork::leave();
            }
            // SAFETY: libc's pthread_mutex_unlock on the mutex that this thread took.
            unsafe { function::<unsafe extern "C" fn(usize) -> i32>(unlock)(self.mutex) };
        }
    }
}

/// The function at `address`.
///
/// # Safety
/// `F` must be a function pointer type, and the function at `address` must be of that type.
pub unsafe fn function<F: Copy>(address: Addr) -> F {
    const { assert!(size_of::<F>() == size_of::<usize>()) };
    let pointer: *const () = core::ptr::with_exposed_provenance(address.0 as usize);
    // SAFETY: a function pointer is one word; its type is the caller's promise.
    unsafe { core::mem::transmute_copy(&pointer) }
}

/// A C string that lives as long as the process, or an empty one for null.
///
/// # Safety
/// `string` must be null or a NUL-terminated string that is not freed or changed.
pub unsafe fn string<'a>(string: *const c_char) -> &'a [u8] {
    if string.is_null() {
        return b"";
    }
    // SAFETY: the caller's promise.
    unsafe { CStr::from_ptr(string) }.to_bytes()
}
