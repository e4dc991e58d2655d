//! The loader as a library: what libc's `dlopen`, `dlclose` and `dlsym` call through `_rtld_global_ro`.
//!
//! # Safety
//! Functions with C types, called by libc as it calls glibc's own. Each takes the load lock, works with `Result`, gives the
//! lock back, and only then raises.
#![allow(unsafe_code)]

use core::ffi::{c_char, c_int, c_long, c_void};
use core::ptr::{null, null_mut, with_exposed_provenance_mut};

use alloc::vec::Vec;
use folio_elf::symbol::STB_WEAK;
use folio_link::error::{Error, Problem};
use folio_link::resolve::{self, Class, Reference, Scope};
use folio_link::version::Version;

use crate::debug;
use crate::dl::exception::raise;
use crate::dl::find_object;
use crate::dl::fork;
use crate::dl::open::{self, Mode};
use crate::dl::unload;
use crate::process::{Arguments, Process, string};
use crate::processor;

/// `_dl_open`: gives the link map of the object that `file` means, loading it and what it needs.
// SAFETY: libc alone calls: `file` is the C string that dlopen(3) was given, and `argv` and `envp` are the process's
// NULL-terminated arrays.
pub unsafe extern "C" fn open(
    file: *const c_char,
    mode: c_int,
    caller: usize,
    namespace: c_long,
    argc: c_int,
    argv: *mut *mut c_char,
    envp: *mut *mut c_char,
) -> *mut u8 {
    let process = Process::get();
    // SAFETY: libc passes a C string.
    let name = unsafe { string(file) };
    fork::prepare_for(process);
    let outcome = {
        let _lock = process.lock();
        let caller = with_exposed_provenance_mut(find_object::map_at(caller));
        // SAFETY: link maps of loaded objects, or null.
        let caller = unsafe { process.object_of(caller) };
        let arguments = Arguments { argc, argv, envp };
        open::open(process, name, Mode::from_bits_retain(mode as u32) - Mode::AUDIT, caller, namespace, arguments)
    };
    match outcome {
        Ok(Some(map)) => map.base(),
        Ok(None) => null_mut(),
        Err(error) => raise(error, b""),
    }
}

/// `_dl_close`: takes one opening of an object back. `map` is compared, and read only if it is that of an open object.
pub extern "C" fn close(map: *mut u8) {
    let process = Process::get();
    let outcome = {
        let _lock = process.lock();
        unload::close(process, map)
    };
    if let Err(error) = outcome {
        raise(error, b"");
    }
}

/// `struct r_found_version`.
#[repr(C)]
pub struct FoundVersion {
    name: *const c_char,
    hash: u32,
    hidden: i32,
    filename: *const c_char,
}

/// `struct r_scope_elem`.
#[repr(C)]
struct ScopeElement {
    list: *const *mut u8,
    count: u32,
}

/// `type_class` bits and `flags` bits (*glibc sysdeps/generic/ldsodefs.h*).
const CLASS_PLT: c_int = 1;
const CLASS_COPY: c_int = 2;
const ADD_DEPENDENCY: c_int = 1;
const RETURN_NEWEST: c_int = 2;

/// `_dl_lookup_symbol_x`: finds the definition of `name` in a NULL-terminated list of scopes. Gives the defining object's
/// link map and puts the symbol's address into `*reference`; both null for a weak reference that nobody defines.
// SAFETY: libc alone calls: `name` is the C string that dlsym(3) was given; `requester` and `skip` are link maps or null;
// `reference` is its variable with null or a symbol in it; `scopes` is a link map's NULL-terminated array; `version` is null
// or its structure.
pub unsafe extern "C" fn lookup_symbol_x(
    name: *const c_char,
    requester: *mut u8,
    reference: *mut *const c_void,
    scopes: *const *const c_void,
    version: *const FoundVersion,
    class: c_int,
    flags: c_int,
    skip: *mut u8,
) -> *mut u8 {
    let process = Process::get();
    let outcome = {
        let _lock = process.lock();
        // SAFETY: C strings, and link maps that Folio made.
        let (name, requester, skip) = unsafe { (string(name), process.object_of(requester), process.object_of(skip)) };
        // SAFETY: null or a structure of libc's.
        let wanted = unsafe { version.as_ref() }.map(|version| Version {
            // SAFETY: its name is a C string.
            name: unsafe { string(version.name) },
            hash: version.hash,
            exact: version.hidden != 0,
        });
        let class = match class {
            class if class & CLASS_COPY != 0 => Class::Copy,
            class if class & CLASS_PLT != 0 => Class::Call,
            _ => Class::Address,
        };
        let mut looked_up = Reference::new(name, wanted.as_ref(), class);
        looked_up.newest = flags & RETURN_NEWEST != 0;
        // SAFETY: scope arrays of link maps, which are not freed.
        let scopes = unsafe { read_scopes(process, scopes) };
        // SAFETY: the load lock is held.
        let objects = unsafe { process.objects.get() };
        let first = scopes.iter().flat_map(|scope| &scope.objects).next().copied();
        let namespace = match first.or(requester) {
            // SAFETY: the load lock is held; objects in scopes are loaded.
            Some(id) => unsafe { process.namespace_of(id) },
            None => &process.base,
        };
        // SAFETY: as above.
        let uniques = unsafe { namespace.uniques.get_mut() };
        let found = match debug::Lookups::watching(process) {
            None => resolve::lookup(objects, &scopes, &looked_up, skip, uniques, None),
            Some(mut watch) => watch.look_up(objects, &scopes, &looked_up, skip, uniques, requester),
        };
        match found {
            Some(definition) => {
                processor::note_reference(process, definition.id());
                if let Some(requester) = requester.filter(|_| flags & ADD_DEPENDENCY != 0) {
                    open::note_binding(process, requester, definition.object);
                }
                let symbols = objects[definition.object].symbols.as_ref().expect("the definition is in it");
                let symbol = symbols.table.memory() + 24 * u64::from(definition.index);
                // SAFETY: the load lock is held.
                let map = unsafe { process.state(definition.object) }.map.base();
                Ok((map, symbol as usize))
            }
            // SAFETY: null, or a symbol of libc's.
            None if unsafe { is_weak(*reference) } => Ok((null_mut(), 0)),
            None => {
                let requester = requester.map(|id| objects[id].display_name(process.program)).unwrap_or_default();
                let problem = Problem::UndefinedSymbol {
                    name: name.to_vec(),
                    version: wanted.map(|version| version.name.to_vec()),
                };
                let error = Error::new(requester, problem);
                debug::failed("symbol lookup error", &error, false);
                Err(error)
            }
        }
    };
    match outcome {
        Ok((map, symbol)) => {
            // SAFETY: a variable of the caller's.
            unsafe { reference.write(core::ptr::with_exposed_provenance(symbol)) };
            map
        }
        Err(error) => {
            // SAFETY: as above.
            unsafe { reference.write(null()) };
            raise(error, b"")
        }
    }
}

/// Whether `symbol` is a weak reference.
///
/// # Safety
/// `symbol` is null or an `Elf64_Sym`.
unsafe fn is_weak(symbol: *const c_void) -> bool {
    // `st_info` is the fifth byte of an Elf64_Sym.
    // SAFETY: the caller passes null or an Elf64_Sym.
    !symbol.is_null() && unsafe { symbol.cast::<u8>().add(4).read() } >> 4 == STB_WEAK
}

/// The scopes that libc passes, as Folio's own.
///
/// # Safety
/// `scopes` is a NULL-terminated array of scope elements that list link maps.
unsafe fn read_scopes(process: &Process, scopes: *const *const c_void) -> Vec<Scope> {
    let mut read = Vec::new();
    let mut next = scopes;
    loop {
        // SAFETY: a NULL-terminated array of elements.
        let element = unsafe { *next }.cast::<ScopeElement>();
        // SAFETY: elements lie in link maps.
        let Some(element) = (unsafe { element.as_ref() }) else { return read };
        next = next.wrapping_add(1);
        let objects = (0..element.count as usize)
            // SAFETY: the list has that many link maps.
            .filter_map(|index| unsafe { process.object_of(*element.list.add(index)) })
            .collect();
        read.push(Scope { objects });
    }
}

/// `_dl_mcount`: call counting for a profiled object; there is none (sprof(1)).
#[unsafe(no_mangle)]
pub extern "C" fn _dl_mcount(_from: usize, _to: usize) {}

/// `__rtld_libc_freeres`: what memory checkers ask at exit; Folio's memory is not from malloc.
pub extern "C" fn libc_freeres() {}
