//! Errors that cross libc: how a failed `dlopen` or `dlsym` leaves the loader.
//!
//! Inside Folio all is `Result`; only the outermost functions turn an error into a raise, holding nothing. Up to 2.36 libc
//! owns the machinery and exports it; from 2.37 on the loader does, with one chain of catchers a thread (*glibc
//! elf/dl-catch.c*). Either way a raise leaves libc's frames without unwinding them.
//!
//! # Safety
//! [`raise`] must be called with no lock held and no value with a destructor alive in any frame of Folio's.
#![allow(unsafe_code)]

use alloc::alloc::{Layout as Memory, alloc, dealloc};
use alloc::string::ToString;
use core::ffi::{c_char, c_void};
use core::ptr::{null, null_mut, with_exposed_provenance_mut};
use core::sync::atomic::{AtomicUsize, Ordering};

use folio_elf::Lossy;
use folio_link::Errno;
use folio_link::error::Error;
use folio_runtime::catch::{CatchFrame, catch, throw};
use folio_runtime::syscall::exit_group;

use crate::dl::tls::thread_pointer;
use crate::process::{Process, function, string};
use crate::report;

/// `struct dl_exception`: two strings in one allocation, which begins with the message.
#[repr(C)]
pub struct Exception {
    object: *const c_char,
    message: *const c_char,
    /// Equal to `message` if the allocation is ours to free.
    buffer: *mut c_char,
}

const NOTHING: Exception = Exception { object: null(), message: null(), buffer: null_mut() };

/// Bytes in front of an allocation that hold its size.
const PREFIX: usize = 16;

impl Exception {
    /// Copies both strings.
    fn create(object: &[u8], message: &[u8]) -> Exception {
        let size = PREFIX + message.len() + 1 + object.len() + 1;
        let memory = Memory::from_size_align(size, PREFIX).expect("strings fit in memory");
        // SAFETY: the size is not zero.
        let base = unsafe { alloc(memory) };
        if base.is_null() {
            let message = c"out of memory".as_ptr();
            return Exception { object: c"".as_ptr(), message, buffer: null_mut() };
        }
        let text = base.wrapping_add(PREFIX);
        let name = text.wrapping_add(message.len() + 1);
        // SAFETY: the allocation has room for its size, both strings and their ends.
        unsafe {
            base.cast::<usize>().write(size);
            core::ptr::copy_nonoverlapping(message.as_ptr(), text, message.len());
            text.add(message.len()).write(0);
            core::ptr::copy_nonoverlapping(object.as_ptr(), name, object.len());
            name.add(object.len()).write(0);
        }
        Exception { object: name.cast(), message: text.cast(), buffer: text.cast() }
    }
}

/// `_dl_error_free`: frees the message of an exception that says it is ours.
// SAFETY: libc alone calls, with null or the message of an exception that `Exception::create` made and that it gives up.
pub unsafe extern "C" fn error_free(message: *mut u8) {
    if message.is_null() {
        return;
    }
    let base = message.wrapping_sub(PREFIX);
    // SAFETY: libc passes back a message of `Exception::create`, whose size stands in front.
    unsafe {
        let size = base.cast::<usize>().read();
        dealloc(base, Memory::from_size_align_unchecked(size, PREFIX));
    }
}

/// `_dl_exception_create`: what libc up to 2.36 calls when it raises.
// SAFETY: libc alone calls: `result` is its structure, `object` and `message` are C strings or null.
#[unsafe(no_mangle)]
unsafe extern "C" fn _dl_exception_create(result: *mut Exception, object: *const c_char, message: *const c_char) {
    // SAFETY: C strings and a structure of the caller's.
    unsafe { result.write(Exception::create(string(object), string(message))) };
}

/// Leaves the current operation with an error.
pub fn raise(error: Error, program: &'static [u8]) -> ! {
    let errno = error.problem.errno();
    // Programs compare what dlerror(3) says: here it is glibc's sentence alone, without the requester.
    let text = error.problem.to_string();
    let object = if error.object.is_empty() { program } else { &error.object };
    let exception = Exception::create(object, text.as_bytes());
    drop(text);
    drop(error);
    signal(errno, exception)
}

/// Raises `exception` to whoever catches.
fn signal(errno: Errno, exception: Exception) -> ! {
    let process = Process::get();
    // SAFETY: written once at start.
    if let Some(signal) = unsafe { process.libc.get() }.signal_exception {
        type Signal = unsafe extern "C" fn(i32, *const Exception, *const c_char) -> !;
        // SAFETY: libc's _dl_signal_exception (up to 2.36), which copies the structure.
        unsafe { function::<Signal>(signal)(errno.0, &exception, null()) }
    }
    let catcher: *mut Catcher = with_exposed_provenance_mut(catcher_slot(process).load(Ordering::Relaxed));
    if catcher.is_null() {
        uncaught(process, errno, &exception);
    }
    // SAFETY: the slot holds the catcher of a `_dl_catch_exception` of this thread that is under way.
    unsafe {
        (*catcher).exception.write(exception);
        (*catcher).errno = errno;
        throw(&raw const (*catcher).frame, 1)
    }
}

fn uncaught(process: &Process, errno: Errno, exception: &Exception) -> ! {
    // SAFETY: strings of `Exception::create`, or of libc.
    let (object, message) = unsafe { (string(exception.object), string(exception.message)) };
    let separator = if object.is_empty() { "" } else { ": " };
    let name = Lossy(process.program);
    let what = "error while loading shared libraries";
    if errno.0 == 0 {
        report::line(format_args!("{name}: {what}: {}{separator}{}", Lossy(object), Lossy(message)));
    } else {
        report::line(format_args!("{name}: {what}: {}{separator}{}: {errno}", Lossy(object), Lossy(message)));
    }
    exit_group(report::FAILURE)
}

/// One `_dl_catch_exception` under way.
struct Catcher {
    frame: CatchFrame,
    exception: *mut Exception,
    errno: Errno,
}

/// `rtld_catch` of this thread: its innermost catcher.
fn catcher_slot(process: &Process) -> &'static AtomicUsize {
    static BEFORE_THREADS: AtomicUsize = AtomicUsize::new(0);
    let Some(offset) = process.layout.pthread.rtld_catch else { return &BEFORE_THREADS };
    let field: *mut usize = with_exposed_provenance_mut(thread_pointer() + usize::from(offset));
    // SAFETY: a word of this thread's control block.
    unsafe { AtomicUsize::from_ptr(field) }
}

/// What may raise.
// SAFETY: it is called only with the argument that came with it, by `catch_error` and `_dl_catch_exception`.
type Operation = unsafe extern "C" fn(*mut c_void);

/// Runs `operation` with `slot` holding `catcher`; gives whether it was left by a raise.
///
/// # Safety
/// `operation` may be called with `argument`, and `catcher` stays writable meanwhile.
unsafe fn run_with(slot: &AtomicUsize, catcher: *mut Catcher, operation: Operation, argument: *mut c_void) -> bool {
    let outer = slot.swap(catcher.expose_provenance(), Ordering::Relaxed);
    // SAFETY: the catcher lives until this function returns, and the slot is given back before.
    let left = unsafe { catch(operation, argument, &raw mut (*catcher).frame) } != 0;
    slot.store(outer, Ordering::Relaxed);
    left
}

/// `_dl_catch_exception` (2.37 and later): runs `operation`, and gives the errno of the error it raised, or 0. Without
/// `result`, an error raised inside is fatal.
// SAFETY: libc and `catch_error` call: `argument` is what their `operation` takes; `result` is null or their structure.
#[unsafe(no_mangle)]
unsafe extern "C" fn _dl_catch_exception(result: *mut Exception, operation: Operation, argument: *mut c_void) -> i32 {
    let slot = catcher_slot(Process::get());
    if result.is_null() {
        let outer = slot.swap(0, Ordering::Relaxed);
        // SAFETY: the caller's operation and argument.
        unsafe { operation(argument) };
        slot.store(outer, Ordering::Relaxed);
        return 0;
    }
    let mut catcher = Catcher { frame: CatchFrame::default(), exception: result, errno: Errno(0) };
    // SAFETY: the caller's operation and argument; the catcher outlives the call.
    if unsafe { run_with(slot, &raw mut catcher, operation, argument) } {
        // SAFETY: a local, written by `signal`.
        return unsafe { (&raw const catcher.errno).read_volatile() }.0;
    }
    // SAFETY: the caller's structure.
    unsafe { result.write(NOTHING) };
    0
}

/// `_dl_catch_error`: the same, taken apart (2.37 and later; before, libc's own is used).
// SAFETY: libc alone calls: `argument` is what its `operation` takes; the first three are its variables.
pub unsafe extern "C" fn catch_error(
    object: *mut *const c_char,
    message: *mut *const c_char,
    is_allocated: *mut bool,
    operation: Operation,
    argument: *mut c_void,
) -> i32 {
    let mut exception = NOTHING;
    // SAFETY: the caller's operation and argument.
    let errno = unsafe { _dl_catch_exception(&raw mut exception, operation, argument) };
    // SAFETY: three variables of the caller's.
    unsafe {
        object.write(exception.object);
        message.write(exception.message);
        is_allocated.write(!exception.message.is_null() && exception.message == exception.buffer.cast_const());
    }
    errno
}

/// `_dl_signal_exception` (2.37 and later).
// SAFETY: libc alone calls, and gives the structure away; its frames, in C, hold nothing to clean up.
#[unsafe(no_mangle)]
unsafe extern "C" fn _dl_signal_exception(errno: i32, exception: *const Exception, _occasion: *const c_char) -> ! {
    // SAFETY: the caller's structure, whose ownership passes on.
    signal(Errno(errno), unsafe { exception.read() })
}

/// `_dl_signal_error` (2.37 and later).
// SAFETY: libc alone calls: `object` and `message` are C strings or null; its frames, in C, hold nothing to clean up.
#[unsafe(no_mangle)]
unsafe extern "C" fn _dl_signal_error(
    errno: i32,
    object: *const c_char,
    _occasion: *const c_char,
    message: *const c_char,
) -> ! {
    // SAFETY: C strings of the caller's, or null.
    let (object, message) = unsafe { (string(object), string(message)) };
    let message = if message.is_empty() { b"DYNAMIC LINKER BUG!!!" } else { message };
    signal(Errno(errno), Exception::create(object, message))
}
