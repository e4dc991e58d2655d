//! Standard descriptors of a set-user-ID program: whoever starts it with one of them closed would otherwise have the
//! first file that it opens take that place, and its messages written there (*glibc csu/check_fds.c*).
//!
//! # Safety
//! Asks about descriptor numbers that may not be open, which has no effect.
#![allow(unsafe_code)]

use core::ffi::CStr;

use folio_runtime::syscall::exit_group;
use rustix::fd::{BorrowedFd, IntoRawFd};
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::{Errno, fcntl_getfd};

use crate::report::FAILURE;

/// Reading from the first is of no use, and writing to the others is lost without harm.
const STANDARD: [(i32, &CStr, OFlags); 3] =
    [(0, c"/dev/full", OFlags::WRONLY), (1, c"/dev/null", OFlags::RDWR), (2, c"/dev/null", OFlags::RDWR)];

/// Opens those of the three that are closed; a program that cannot have them does not start.
pub fn open_standard() {
    for (number, device, access) in STANDARD {
        // SAFETY: the number is only asked about, and may be that of no open file.
        let descriptor = unsafe { BorrowedFd::borrow_raw(number) };
        if fcntl_getfd(descriptor) != Err(Errno::BADF) {
            continue;
        }
        // The lowest free number is given, so it is this one.
        let opened = openat(CWD, device, access | OFlags::NOFOLLOW, Mode::empty()).map(IntoRawFd::into_raw_fd);
        if opened != Ok(number) {
            exit_group(FAILURE);
        }
    }
}
