//! The rest of the loader's ABI: functions that libc and its family import by name (`linker-scripts/exports.map`).
#![allow(unsafe_code)]

use alloc::boxed::Box;
use core::ffi::c_int;
use core::ptr::{null, with_exposed_provenance_mut};

use folio_glibc::layout::TunableKind;
use folio_glibc::tunables::Value;
use rustix::mm::MprotectFlags;

use crate::dl::threads;
use crate::image::execstack;
use crate::process::Process;

/// Empty: the version node that it is in must exist.
#[unsafe(no_mangle)]
pub extern "C" fn __rtld_version_placeholder() {}

/// A tunable's value as libc receives it. From 2.39 on a string is passed by the address of its start and length.
#[repr(C)]
union TunableValue {
    number: u64,
    text: *const u8,
    sized_text: *const (*const u8, usize),
}

/// libc's function that takes a tunable's value into use.
// SAFETY: `__tunable_get_val` calls it with a value of the type of the tunable that it was passed for.
type Callback = unsafe extern "C" fn(*mut TunableValue);

/// `__tunable_get_val`: stores the value of a tunable by the width of its type, and calls `callback` if the user set it.
// SAFETY: libc alone calls: `result` is its variable of the tunable's type, and `callback`, if any, takes such a value.
#[unsafe(no_mangle)]
unsafe extern "C" fn __tunable_get_val(id: c_int, result: *mut u8, callback: Option<Callback>) {
    let process = Process::get();
    // SAFETY: tunables do not change after the start.
    let tunables = unsafe { process.tunables.get() };
    let found = usize::try_from(id).ok().and_then(|id| Some((tunables.tunable(id)?, tunables.by_id(id)?)));
    let Some((tunable, value)) = found else {
        panic!("libc asked for tunable {id}, which its layout table does not have");
    };
    let mut out = match value {
        Value::Number(number) => TunableValue { number },
        Value::String(None) => TunableValue { text: null() },
        // Strings lie in the environment, which has NULs where they end.
        Value::String(Some(text)) if process.layout.behaviour.tunable_strings_have_length => {
            TunableValue { sized_text: Box::leak(Box::new((text.as_ptr(), text.len()))) }
        }
        Value::String(Some(text)) => TunableValue { text: text.as_ptr() },
    };
    let width = if tunable.kind == TunableKind::Int32 { 4 } else { 8 };
    // SAFETY: libc passes a variable of the tunable's type.
    unsafe { core::ptr::copy_nonoverlapping((&raw const out).cast(), result, width) };
    if let (Some(callback), true) = (callback, tunables.is_set(id as usize)) {
        // SAFETY: libc's own function, which takes the value.
        unsafe { callback(&raw mut out) };
    }
}

/// `__tunable_is_initialized` (2.39 and later): whether the user set a tunable.
#[unsafe(no_mangle)]
extern "C" fn __tunable_is_initialized(id: c_int) -> bool {
    // SAFETY: tunables do not change after the start.
    let tunables = unsafe { Process::get().tunables.get() };
    usize::try_from(id).is_ok_and(|id| tunables.is_set(id))
}

/// `_dl_x86_get_cpu_features`: what libraries that were built against old versions ask.
#[unsafe(no_mangle)]
extern "C" fn _dl_x86_get_cpu_features(_leaves: u32) -> *const u8 {
    let process = Process::get();
    with_exposed_provenance_mut(process.ro.address(process.layout.global_ro.cpu_features))
}

/// `__nptl_change_stack_perm` (up to 2.40): makes a thread's stack executable.
// SAFETY: libc alone calls, with the control block of a thread that it is creating.
#[unsafe(no_mangle)]
unsafe extern "C" fn __nptl_change_stack_perm(thread: *mut u8) -> c_int {
    let (start, size) = threads::own_stack(Process::get(), thread.expose_provenance());
    match execstack::protect(start, size, MprotectFlags::empty()) {
        Ok(()) => 0,
        Err(errno) => errno.0,
    }
}
