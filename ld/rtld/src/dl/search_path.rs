//! dlinfo(3)'s `RTLD_DI_SERINFO`: tells a program where the libraries that an object needs are searched for.
//!
//! `Dl_serinfo` of dlfcn.h: {total size, number of directories}, then {name, flags} of each, then the names. The caller asks
//! twice: for the size, then with as much memory (*glibc elf/dl-load.c, _dl_rtld_di_serinfo*).
//!
//! # Safety
//! Writes to memory of the program's, as large as the program was told before.
#![allow(unsafe_code)]

use core::ffi::c_int;

use alloc::vec::Vec;
use folio_link::graph::Loader;
use folio_link::object::ObjectId;

use crate::process::Process;

/// `dls_size` and `dls_cnt`.
#[repr(C)]
struct Information {
    size: usize,
    count: u32,
}

/// `Dl_serpath`.
#[repr(C)]
struct Directory {
    name: *mut u8,
    flags: u32,
}

/// `_dl_rtld_di_serinfo`: fills in size and number, or the directories.
// SAFETY: libc's dlinfo alone calls: `map` is a link map, and `result` the program's `Dl_serinfo`, as large as an earlier
// count said (dlinfo(3)).
#[unsafe(no_mangle)]
unsafe extern "C" fn _dl_rtld_di_serinfo(map: *mut u8, result: *mut u8, counting: bool) -> c_int {
    let process = Process::get();
    let _lock = process.lock();
    // SAFETY: libc passes a handle, which is a link map.
    let Some(object) = (unsafe { process.object_of(map) }) else { return -1 };
    let directories = search_path(process, object);
    let information: *mut Information = result.cast();
    if counting {
        let names: usize = directories.iter().map(|name| name.len() + 1).sum();
        let count = directories.len();
        let size = size_of::<Information>() + count * size_of::<Directory>() + names;
        // SAFETY: the program's structure.
        unsafe { information.write(Information { size, count: count as u32 }) };
        return 0;
    }
    // SAFETY: the program fills in what it was told before (dlinfo(3)).
    let room = unsafe { information.read() };
    let list: *mut Directory = information.wrapping_add(1).cast();
    let mut name: *mut u8 = list.wrapping_add(room.count as usize).cast();
    let end = result.wrapping_add(room.size);
    for (index, directory) in directories.iter().enumerate().take(room.count as usize) {
        // Another thread may have given the executable's lists more directories meanwhile: no name beyond the end.
        if end.addr().saturating_sub(name.addr()) <= directory.len() {
            break;
        }
        // SAFETY: the array has as many places, and the name with its NUL ends within the size.
        unsafe {
            list.add(index).write(Directory { name, flags: 0 });
            core::ptr::copy_nonoverlapping(directory.as_ptr(), name, directory.len());
            name.add(directory.len()).write(0);
        }
        name = name.wrapping_add(directory.len() + 1);
    }
    0
}

/// The directories, without a slash at their ends.
fn search_path(process: &Process, object: ObjectId) -> Vec<Vec<u8>> {
    // SAFETY: the load lock is held; nothing foreign is called.
    let (objects, members, search, disk) = unsafe {
        let namespace = process.namespace_of(object);
        (process.objects.get_mut(), namespace.members.get_mut(), process.search.get_mut(), process.disk.get_mut())
    };
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
    let mut directories = loader.search_path(object);
    for directory in &mut directories {
        match directory.as_slice() {
            b"" => directory.push(b'.'),
            b"/" => {}
            _ => directory.truncate(directory.len() - 1),
        }
    }
    directories
}
