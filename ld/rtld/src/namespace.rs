//! Namespaces: lists of objects in one process that see nothing of each other (dlmopen(3)).
//!
//! The base namespace is the program's. Every other one begins with an object that was opened into it, has copies of its
//! own of all that this object needs, libc included, and ends with its last object; then its number is free again. One
//! thing there can only be once: the loader. Elsewhere than in the base namespace an object of its name and symbols, but
//! without memory of its own, stands for it (*glibc elf/dl-load.c, _dl_map_object_from_fd*; `l_real`).
//!
//! # Safety
//! Namespaces are made, filled and emptied under the load lock, and never freed.
#![allow(unsafe_code)]

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::ffi::c_long;

use folio_link::Problem;
use folio_link::object::{Kind, Object, ObjectId};
use folio_link::resolve::{Scope, Uniques};

use crate::abi::publish::SearchList;
use crate::process::{Guarded, Process};

/// `Lmid_t` of a namespace that exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NamespaceId(pub u16);

impl NamespaceId {
    pub const BASE: NamespaceId = NamespaceId(0);
}

/// What `dlmopen` takes beside the number of a namespace: a new one, and the caller's.
pub const LM_ID_NEWLM: c_long = -1;
const LM_ID_CALLER: c_long = -2;

/// How a namespace stands to auditors (rtld-audit(7)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audit {
    /// They watch it.
    Audited,
    /// One is being loaded into it: those that were there before see its objects come.
    Loading,
    /// One lives in it, and nobody watches.
    Auditor,
}

/// One namespace; it is vacant while it has no members.
pub struct Namespace {
    pub id: NamespaceId,
    /// Its objects, in the order of its list.
    pub members: Guarded<Vec<ObjectId>>,
    /// The main search list: what the first object needs, and what was opened with `RTLD_GLOBAL`.
    pub global: Guarded<Scope>,
    pub uniques: Guarded<Uniques>,
    pub libc: Guarded<Option<ObjectId>>,
    /// The loader, as this namespace has it.
    pub interpreter: Guarded<Option<ObjectId>>,
    /// Whether an auditor lives here.
    pub auditing: Guarded<Audit>,
    /// What libc sees of `global`; the base namespace's is in the executable's link map.
    pub searchlist: Guarded<SearchList>,
}

impl Namespace {
    fn vacant(id: NamespaceId) -> Namespace {
        Namespace {
            id,
            members: Guarded::new(Vec::new()),
            global: Guarded::new(Scope::default()),
            uniques: Guarded::new(Uniques::new()),
            libc: Guarded::new(None),
            interpreter: Guarded::new(None),
            auditing: Guarded::new(Audit::Audited),
            searchlist: Guarded::new(SearchList::default()),
        }
    }

    /// The program's namespace, with what the start loaded.
    pub fn base(members: Vec<ObjectId>, closure: Vec<ObjectId>, interpreter: ObjectId) -> Namespace {
        Namespace {
            members: Guarded::new(members),
            global: Guarded::new(Scope { objects: closure }),
            interpreter: Guarded::new(Some(interpreter)),
            ..Namespace::vacant(NamespaceId::BASE)
        }
    }

    pub fn is_base(&self) -> bool {
        self.id == NamespaceId::BASE
    }

    /// Whether an auditor lives here.
    ///
    /// # Safety
    /// The load lock is held, or there is one thread.
    pub unsafe fn is_auditors(&self) -> bool {
        // SAFETY: the caller's promise.
        unsafe { *self.auditing.get() == Audit::Auditor }
    }

    fn is_vacant(&self) -> bool {
        // SAFETY: all who look at namespaces hold the load lock.
        unsafe { self.members.get() }.is_empty()
    }
}

/// The namespace that a request of `caller` means: `number` is an `Lmid_t`, or asks for a new one. The load lock is held.
pub fn choose(process: &Process, number: c_long, caller: Option<ObjectId>) -> Result<&Namespace, Problem> {
    match number {
        LM_ID_CALLER => Ok(match caller {
            // SAFETY: the load lock is held.
            Some(caller) => unsafe { process.namespace_of(caller) },
            None => &process.base,
        }),
        LM_ID_NEWLM => introduce(process).ok_or(Problem::NoMoreNamespaces),
        // Whoever asks for one by its number cannot mean one that is empty (glibc elf/dl-open.c, _dl_open).
        number => {
            // SAFETY: the load lock is held.
            let mut namespaces = unsafe { process.namespaces() };
            namespaces
                .find(|namespace| c_long::from(namespace.id.0) == number && !namespace.is_vacant())
                // SAFETY: as above.
                .filter(|namespace| !unsafe { namespace.is_auditors() })
                .ok_or(Problem::InvalidNamespace)
        }
    }
}

/// A vacant namespace; `None`: libc has room for no more (`DL_NNS`).
fn introduce(process: &Process) -> Option<&Namespace> {
    // SAFETY: the load lock is held.
    let vacant = unsafe { process.namespaces() }.find(|namespace| !namespace.is_base() && namespace.is_vacant());
    let namespace = vacant.or_else(|| {
        // SAFETY: the load lock is held, and no borrow of the list lives: those of namespaces are of leaked ones.
        let others = unsafe { process.others.get_mut() };
        let id = others.len() as u16 + 1;
        (id < process.layout.namespace.count).then(|| {
            let namespace: &'static Namespace = Box::leak(Box::new(Namespace::vacant(NamespaceId(id))));
            others.push(namespace);
            namespace
        })
    })?;
    let nns = process.layout.global.nns;
    let used = process.global_record.get::<usize>(nns).max(usize::from(namespace.id.0) + 1);
    process.global_record.put(nns, used);
    Some(namespace)
}

/// The object that requests for the loader mean in `namespace`. It becomes a member when one is made.
pub fn interpreter(process: &Process, namespace: &Namespace) -> ObjectId {
    // SAFETY: the load lock is held.
    let (objects, known) = unsafe { (process.objects.get_mut(), namespace.interpreter.get_mut()) };
    *known.get_or_insert_with(|| {
        let real = &objects[process.interpreter];
        let copy = Object::decode(Kind::Interpreter, &real.path, real.placement.clone(), real.image);
        let mut copy = copy.expect("Folio was decoded before");
        copy.names = real.names.clone();
        copy.is_graphed = true;
        objects.insert(copy)
    })
}

/// Sets a namespace straight when loading into it or unloading from it is over: a loader that nobody asked for goes, and the
/// count of namespaces ends with the last one in use (*glibc elf/dl-close.c, _dl_close_worker*).
pub fn settle(process: &Process, namespace: &Namespace) {
    if namespace.is_base() {
        return;
    }
    // SAFETY: the load lock is held.
    let (objects, members, interpreter) =
        unsafe { (process.objects.get_mut(), namespace.members.get(), namespace.interpreter.get_mut()) };
    if interpreter.is_some_and(|id| !members.contains(&id)) {
        objects.remove(interpreter.take().expect("there is one"));
    }
    // SAFETY: as above.
    let highest = unsafe { process.namespaces() }.rfind(|namespace| !namespace.is_vacant());
    if namespace.is_vacant() {
        // SAFETY: as above.
        unsafe { *namespace.auditing.get_mut() = Audit::Audited };
    }
    let used = highest.map_or(1, |namespace| usize::from(namespace.id.0) + 1);
    process.global_record.put(process.layout.global.nns, used);
}
