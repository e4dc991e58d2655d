//! Files that are shorter than what is mapped of them: the kernel answers an access behind their end with SIGBUS (mmap(2)),
//! and a start answers that with a sentence.
//!
//! What Folio maps itself was compared with the size of the file before. A handler is needed all the same: the kernel maps
//! programs without that comparison, any file may be cut while it is being loaded, and a disk may fail. It is there while
//! Folio alone is at work, so no program ever sees it. An opening in a running program has none: there a handler would be
//! every thread's, and might replace the program's own.
//!
//! # Safety
//! The handler ends the process or gives way to the default; it uses nothing but constants and the kernel's arguments.
#![allow(unsafe_code)]

use alloc::vec::Vec;
use core::ffi::{CStr, c_char};
use core::ptr::null_mut;
use core::sync::atomic::{AtomicPtr, Ordering};

use folio_link::error::{Error, Problem};
use folio_runtime::signal::{self, Action};
use folio_runtime::stack::Stack;
use linux_raw_sys::general::SIGBUS;

use crate::image::{adopt, files};
use crate::report::{self, LOADING};

/// `argv[0]`.
static PROGRAM: AtomicPtr<c_char> = AtomicPtr::new(null_mut());

/// What is done about SIGBUS before and after a start.
#[derive(Debug)]
pub struct Watch(Option<Action>);

impl Watch {
    /// From here on, files may be short.
    pub fn begin(stack: &Stack) -> Watch {
        let name = stack.arguments().next().unwrap_or(c"ld-folio.so.1");
        PROGRAM.store(name.as_ptr().cast_mut(), Ordering::Relaxed);
        // SAFETY: the handler touches nothing that the start changes.
        Watch(unsafe { signal::set_handler(SIGBUS, on_short_file) }.ok())
    }

    /// Before foreign code runs.
    pub fn end(self) {
        if let Some(before) = self.0 {
            // SAFETY: it was set when Folio came.
            let _ = unsafe { signal::set(SIGBUS, &before) };
        }
    }
}

extern "C" fn on_short_file(_: u32, info: *const u8, context: *const u8) {
    // SAFETY: the kernel's arguments.
    let access = unsafe { signal::access(info, context) };
    if !adopt::is_own(access.instruction) {
        // An IFUNC resolver's: the access is made again, and is the program's affair.
        // SAFETY: the default.
        let _ = unsafe { signal::set(SIGBUS, &Action::DEFAULT) };
        return;
    }
    // SAFETY: a string of the initial stack.
    let program = unsafe { CStr::from_ptr(PROGRAM.load(Ordering::Relaxed)) }.to_bytes();
    let file = file_at(access.address).unwrap_or_default();
    report::fatal(program, LOADING, &Error::new(&file, Problem::Truncated))
}

/// The file that is mapped at an address, from `/proc/self/maps` (proc(5)).
fn file_at(address: usize) -> Option<Vec<u8>> {
    let maps = files::read_all(c"/proc/self/maps")?;
    let number = |digits: &[u8]| usize::from_str_radix(core::str::from_utf8(digits).ok()?, 16).ok();
    let line = maps.split(|&byte| byte == b'\n').find(|line| {
        let mut range = line.splitn(3, |&byte| byte == b'-' || byte == b' ').filter_map(number);
        range.next().zip(range.next()).is_some_and(|(start, end)| (start..end).contains(&address))
    })?;
    let path = line.iter().position(|&byte| byte == b'/')?;
    Some(line[path..].to_vec())
}
