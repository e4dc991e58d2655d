//! Publish: what libc finds in `_rtld_global_ro`, `_rtld_global` and the link maps.
//!
//! All of it is written before libc's first instruction runs; link maps of objects that are opened later are added here too.
#![allow(unsafe_code)]

use alloc::boxed::Box;
use alloc::vec::Vec;

use folio_glibc::layout::Layout;
use folio_link::object::{Kind, Object, ObjectId, Objects};
use folio_link::resolve::{Class, Reference, Scope, find_in};
use folio_link::version::Version;
use folio_runtime::stack::Stack;
use linux_raw_sys::auxvec::{AT_CLKTCK, AT_HWCAP2, AT_MINSIGSTKSZ, AT_PAGESZ};

use crate::abi::link_map::LinkMap;
use crate::abi::printf;
use crate::abi::record::Record;
use crate::audit::Watched;
use crate::dl::dlfcn;
use crate::dl::exception;
use crate::dl::find_object;
use crate::dl::tls;
use crate::namespace::{Namespace, NamespaceId};
use crate::process::{Process, ScopeName, State};

/// `AT_HWCAP3` and `AT_HWCAP4` (linux 6.9).
const AT_HWCAP3: u32 = 29;
const AT_HWCAP4: u32 = 30;

/// The x87 control word that the kernel gives a process (psABI, *Process Initialization*), glibc `_FPU_DEFAULT`.
const FPU_CONTROL: u16 = 0x37f;

/// The kind of a recursive mutex: `PTHREAD_MUTEX_RECURSIVE_NP`.
const RECURSIVE: u32 = 1;
/// Offset of `__kind` in `pthread_mutex_t`.
const MUTEX_KIND: u16 = 16;

/// Fills in what follows from the kernel's auxiliary vector.
pub fn kernel_facts(layout: &Layout, ro: Record, stack: &Stack) {
    let r = &layout.global_ro;
    ro.put(r.pagesize, stack.auxiliary_value(AT_PAGESZ));
    ro.put(r.minsigstacksize, stack.auxiliary_value(AT_MINSIGSTKSZ));
    ro.put(r.clktck, stack.auxiliary_value(AT_CLKTCK) as u32);
    ro.put(r.fpu_control, FPU_CONTROL);
    ro.put(r.hwcap2, stack.auxiliary_value(AT_HWCAP2));
    if let Some(hwcap3) = r.hwcap3 {
        ro.put(hwcap3, stack.auxiliary_value(AT_HWCAP3));
    }
    if let Some(hwcap4) = r.hwcap4 {
        ro.put(hwcap4, stack.auxiliary_value(AT_HWCAP4));
    }
    ro.put(r.auxv, stack.auxv().expose_provenance());
}

/// Fills in the functions that libc calls through `_rtld_global_ro`: Folio's own, and the vDSO's. There is one thread.
pub fn functions(process: &Process) {
    let (ro, r) = (process.ro, &process.layout.global_ro);
    let libc_owns_exceptions = process.layout.behaviour.libc_owns_exceptions;
    // SAFETY: written once, before there is a second thread.
    let libcs = unsafe { process.libc.get() };
    let catch_error = match libcs.catch_error {
        Some(libcs) if libc_owns_exceptions => libcs.0 as usize,
        _ => exception::catch_error as *const () as usize,
    };
    let functions = [
        (r.debug_printf, printf::debug_printf as *const () as usize),
        (r.mcount, dlfcn::_dl_mcount as *const () as usize),
        (r.lookup_symbol_x, dlfcn::lookup_symbol_x as *const () as usize),
        (r.open, dlfcn::open as *const () as usize),
        (r.close, dlfcn::close as *const () as usize),
        (r.catch_error, catch_error),
        (r.error_free, exception::error_free as *const () as usize),
        (r.tls_get_addr_soft, tls::tls_get_addr_soft as *const () as usize),
        (r.libc_freeres, dlfcn::libc_freeres as *const () as usize),
        (r.find_object, find_object::find_object as *const () as usize),
    ];
    for (offset, function) in functions {
        ro.put(offset, function);
    }
    if let Some(readonly_area) = r.readonly_area {
        ro.put(readonly_area, find_object::readonly_area as *const () as usize);
    }
    if let Some(id) = process.vdso {
        // SAFETY: one thread.
        let (objects, state) = unsafe { (process.objects.get(), process.state(id)) };
        vdso(process.layout, ro, &objects[id], state.map);
    }
}

/// Fills in the vDSO's functions, which libc calls instead of the kernel (vdso(7)).
fn vdso(layout: &Layout, ro: Record, object: &Object, map: LinkMap) {
    let r = &layout.global_ro;
    ro.put(r.sysinfo_map, map.address());
    ro.put(r.sysinfo_dso, object.address(object.placement.start()).0);
    let version = Version { name: b"LINUX_2.6", hash: folio_elf::hash::sysv(b"LINUX_2.6"), exact: false };
    let functions: [(Option<u16>, &[u8]); 6] = [
        (Some(r.vdso_clock_gettime64), b"__vdso_clock_gettime"),
        (Some(r.vdso_gettimeofday), b"__vdso_gettimeofday"),
        (Some(r.vdso_time), b"__vdso_time"),
        (Some(r.vdso_getcpu), b"__vdso_getcpu"),
        (Some(r.vdso_clock_getres_time64), b"__vdso_clock_getres"),
        (r.vdso_getrandom, b"__vdso_getrandom"),
    ];
    for (offset, name) in functions {
        let reference = Reference::new(name, Some(&version), Class::Call);
        if let (Some(offset), Some((_, symbol))) = (offset, find_in(object, &reference)) {
            ro.put(offset, object.address(symbol.value()).0);
        }
    }
}

/// Fills in `_rtld_global` before there are objects: locks, counters, stack permissions.
pub fn prepare_global(layout: &Layout, global: Record, stack_flags: u32) {
    let g = &layout.global;
    for lock in [g.load_lock, g.load_write_lock, g.load_tls_lock] {
        global.put(lock + MUTEX_KIND, RECURSIVE);
    }
    global.put(g.nns, 1usize);
    global.put(g.stack_flags, stack_flags);
    global.put(g.tls_dtv_slotinfo_list, tls::SLOTS.introduce());
}

/// Where objects are added.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    pub namespace: NamespaceId,
    /// The last link map of the namespace's list.
    pub last: Option<LinkMap>,
    /// Folio's own, for what stands for it in other namespaces; none at the start.
    pub interpreter: Option<LinkMap>,
}

impl Place {
    pub const START: Place = Place { namespace: NamespaceId::BASE, last: None, interpreter: None };

    /// The end of a namespace's list. The load lock is held.
    pub fn end_of(process: &Process, namespace: &Namespace) -> Place {
        // SAFETY: the load lock is held.
        let (states, members) = unsafe { (process.states.get(), namespace.members.get()) };
        let map = |id: &ObjectId| Some(states.get(id.0 as usize)?.as_ref()?.map);
        Place {
            namespace: namespace.id,
            last: members.iter().rev().find_map(map),
            interpreter: map(&process.interpreter),
        }
    }
}

/// Makes link maps and states for `ids`, in this order, and appends them to the namespace's list. Those that have them
/// already, because auditors were told of them, learn what they need. `auditors` is how many keep something of each.
pub fn add_objects(
    layout: &Layout,
    global: Record,
    objects: &Objects,
    states: &mut Vec<Option<State>>,
    place: Place,
    ids: &[ObjectId],
    auditors: usize,
) {
    let l = &layout.link_map;
    let list = layout.global.ns + place.namespace.0 * layout.namespace.size;
    let mut last = place.last;
    let mut added = 0;
    for &id in ids {
        let object = &objects[id];
        let needed = object.needed.iter().map(|needed| needed.0 as usize).collect();
        let index = id.0 as usize;
        if states.len() <= index {
            states.resize_with(index + 1, || None);
        }
        if let Some(state) = &mut states[index] {
            state.needed = needed;
            continue;
        }
        added += 1;
        let map = LinkMap::create(layout, id, object, place.interpreter.is_none());
        map.record().put(l.ns, usize::from(place.namespace.0));
        if let (Kind::Interpreter, Some(real)) = (object.kind, place.interpreter) {
            map.stand_for(layout, real);
        }
        states[index] = Some(State {
            map,
            namespace: place.namespace,
            scopes: Vec::new(),
            closure: Scope::default(),
            sorted: Vec::new(),
            needed,
            bound: Vec::new(),
            was_bound: false,
            opens: 0,
            global: false,
            relocated: false,
            initialised: false,
            stays: false,
            watched: (0..auditors).map(|_| Watched::new(map)).collect(),
            calls: None,
            published: Published::default(),
            descriptors: Vec::new(),
        });
        map.record().put(l.prev, last.map_or(0, LinkMap::address));
        match last {
            Some(last) => last.record().put(l.next, map.address()),
            None => global.put(list + layout.namespace.loaded, map.address()),
        }
        last = Some(map);
    }
    // Only now that all are there may `l_loader` refer to them.
    for &id in ids {
        if let (Some(loader), Some(state)) = (objects[id].loader, &states[id.0 as usize]) {
            let loader = states[loader.0 as usize].as_ref().map_or(0, |loader| loader.map.address());
            state.map.record().put(l.loader, loader);
        }
    }
    let nloaded = list + layout.namespace.nloaded;
    global.put(nloaded, global.get::<u32>(nloaded) + added);
    let adds = layout.global.load_adds;
    global.put(adds, global.get::<u64>(adds) + u64::from(added));
}

/// Puts a namespace's list into the order of its members: auditors were told of its objects in the order in which they were
/// mapped, and filtees stand before their filters, whatever was mapped first.
///
/// # Safety
/// The load lock is held, or there is one thread; all members are on the list.
pub unsafe fn reorder(process: &Process, namespace: &Namespace) {
    let l = &process.layout.link_map;
    let mut previous: Option<LinkMap> = None;
    // SAFETY: the caller's promise.
    for &id in unsafe { namespace.members.get() } {
        // SAFETY: as above.
        let map = unsafe { process.state(id) }.map;
        map.record().put(l.prev, previous.map_or(0, LinkMap::address));
        map.record().put(l.next, 0usize);
        match previous {
            Some(previous) => previous.record().put(l.next, map.address()),
            None => {
                let loaded = process.namespace_field(namespace.id, process.layout.namespace.loaded);
                process.global_record.put(loaded, map.address());
            }
        }
        previous = Some(map);
    }
}

/// The arrays of an object that libc's `dlsym` walks: `l_searchlist` and `l_scope`.
///
/// They are replaced and freed at once, although glibc waits for readers (`THREAD_GSCOPE_WAIT`): libc's `dlsym` holds the
/// load lock all the way (*glibc dlfcn/dlsym.c*), and so does Folio's lookup, the only other reader.
#[derive(Debug, Default)]
#[expect(dead_code, reason = "owned here; libc reads them through the link map")]
pub struct Published {
    searchlist: Box<[usize]>,
    scopes: Box<[usize]>,
}

/// `struct r_scope_elem` {list, length} of a namespace's main search list, and the list.
#[derive(Debug, Default)]
pub struct SearchList {
    element: [usize; 2],
    list: Box<[usize]>,
}

/// Writes an object's closure and scopes where libc's `dlsym` walks them; the closure of the executable is the main list.
///
/// # Safety
/// The load lock is held, or there is one thread.
pub unsafe fn scopes(process: &Process, id: ObjectId) {
    // SAFETY: the caller's promise.
    let (states, namespace) = unsafe { (process.states.get(), process.namespace_of(id)) };
    let l = &process.layout.link_map;
    let map = |id: ObjectId| states[id.0 as usize].as_ref().expect("objects in scopes are loaded").map;
    // SAFETY: as above.
    let state = unsafe { process.state(id) };
    let closure = match &state.closure {
        // SAFETY: as above.
        _ if id == process.executable => unsafe { &process.base.global.get().objects[..] },
        closure if closure.objects.is_empty() => &[id],
        closure => &closure.objects,
    };
    let searchlist: Box<[usize]> = closure.iter().map(|&id| map(id).address()).collect();
    let own_element = |owner: ObjectId| map(owner).record().address(l.searchlist);
    let element = |name: &ScopeName| match *name {
        ScopeName::Global if namespace.is_base() => own_element(process.executable),
        // SAFETY: as above.
        ScopeName::Global => unsafe { namespace.searchlist.get() }.element.as_ptr().expose_provenance(),
        ScopeName::ClosureOf(root) => own_element(root),
        ScopeName::Itself => own_element(id),
    };
    let scopes: Box<[usize]> = state.scopes.iter().map(element).chain([0]).collect();
    let record = state.map.record();
    record.put(l.searchlist, searchlist.as_ptr().expose_provenance());
    record.put(l.searchlist + 8, searchlist.len() as u32);
    record.put(l.scope, scopes.as_ptr().expose_provenance());
    // SAFETY: as above; the borrows of the states have ended.
    unsafe { process.state_mut(id) }.published = Published { searchlist, scopes };
}

/// Writes a namespace's main search list; the base namespace's is in the executable's link map.
///
/// # Safety
/// The load lock is held, or there is one thread.
pub unsafe fn global_scope(process: &Process, namespace: &Namespace) {
    let main_searchlist = process.namespace_field(namespace.id, process.layout.namespace.main_searchlist);
    if !namespace.is_base() {
        // SAFETY: the caller's promise.
        let (global, searchlist) = unsafe { (namespace.global.get(), namespace.searchlist.get_mut()) };
        // SAFETY: as above.
        let address = |&id: &ObjectId| unsafe { process.state(id) }.map.address();
        let list: Box<[usize]> = global.objects.iter().map(address).collect();
        searchlist.element = [list.as_ptr().expose_provenance(), list.len()];
        searchlist.list = list;
        process.global_record.put(main_searchlist, searchlist.element.as_ptr().expose_provenance());
        return;
    }
    // SAFETY: the caller's promise.
    let executable = unsafe {
        scopes(process, process.executable);
        process.state(process.executable).map.record()
    };
    let layout = process.layout;
    let searchlist = layout.link_map.searchlist;
    process.global_record.put(main_searchlist, executable.address(searchlist));
}

/// `_dl_initial_searchlist`: the main search list as it is at the start. libc compares it with a list that it would have
/// allocated itself, and looks at it only then (*glibc elf/dl-libc.c, free_mem*).
pub fn initial_scope(process: &Process) {
    let layout = process.layout;
    // SAFETY: one thread.
    let executable = unsafe { process.state(process.executable) }.map.record();
    let (list, initial) = (layout.link_map.searchlist, layout.global_ro.initial_searchlist);
    process.ro.put(initial, executable.get::<u64>(list));
    process.ro.put(initial + 8, executable.get::<u32>(list + 8));
}

/// Notes which object is a namespace's libc.
///
/// # Safety
/// The load lock is held, or there is one thread.
pub unsafe fn libc(process: &Process, namespace: &Namespace, libc: Option<ObjectId>) {
    // SAFETY: the caller's promise.
    let map = unsafe {
        *namespace.libc.get_mut() = libc;
        libc.map_or(0, |libc| process.state(libc).map.address())
    };
    process.global_record.put(process.namespace_field(namespace.id, process.layout.namespace.libc_map), map);
}

/// Relocates the addresses of a writable dynamic section in place, as libc, debuggers and programs that walk it expect
/// (*glibc elf/get-dynamic-info.h*, `ADJUST_DYN_INFO`).
pub fn adjust_dynamic(object: &Object) {
    let (Some(dynamic), Some(extent)) = (&object.dynamic, object.placement.dynamic) else { return };
    if !object.placement.dynamic_writable || object.image.bias().0 == 0 {
        return;
    }
    for (index, entry) in dynamic.entries().iter().enumerate() {
        // DT_PLTGOT, HASH, STRTAB, SYMTAB, RELA, JMPREL, RELR, GNU_HASH, VERSYM.
        if matches!(entry.d_tag, 3..=7 | 23 | 36 | 0x6fff_fef5 | 0x6fff_fff0) {
            let place = folio_elf::Vaddr(extent.at.0.wrapping_add(16 * index as u64 + 8));
            let _ = object.image.store(place, object.address(folio_elf::Vaddr(entry.d_val)).0);
        }
    }
}
