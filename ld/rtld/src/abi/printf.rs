//! Formats as libc passes them to the loader: `_dl_debug_printf` and `_dl_fatal_printf`.
//!
//! libc's formats have `%s`, `%d`, `%u`, `%x` and their long kinds, and hardly any flags, for at most seven arguments.
//! Arguments that are not floating come in the same places whether a function is variadic or not (psABI, *Parameter
//! Passing*), so seven words are read, whatever is there.
//!
//! # Safety
//! Called by libc with a C string, and with arguments that fit it.
#![allow(unsafe_code)]

use alloc::format;
use core::ffi::c_char;
use core::ptr::with_exposed_provenance;

use folio_runtime::output::Output;
use folio_runtime::syscall::exit_group;

use crate::debug::Lines;
use crate::process::string;
use crate::report::FAILURE;

/// `_dl_debug_printf`: what libc has to say under `LD_DEBUG`, which it says through the loader.
// SAFETY: libc alone calls: `format` is a C string of its own, and the words are what its conversions say.
#[rustfmt::skip]
pub unsafe extern "C" fn debug_printf(
    format: *const c_char, a: usize, b: usize, c: usize, d: usize, e: usize, f: usize, g: usize,
) {
    let mut lines = Lines::new();
    // SAFETY: the caller's promise.
    unsafe { write(format, [a, b, c, d, e, f, g], |text| lines.push(text)) }
}

/// `_dl_fatal_printf` (up to 2.36): prints and ends the process, for errors that nobody catches.
// SAFETY: as for `debug_printf`: libc alone calls, with a format of its own and words that fit it.
#[unsafe(no_mangle)]
#[rustfmt::skip]
unsafe extern "C" fn _dl_fatal_printf(
    format: *const c_char, a: usize, b: usize, c: usize, d: usize, e: usize, f: usize, g: usize,
) -> ! {
    let mut output = Output::stderr();
    // SAFETY: the caller's promise.
    unsafe { write(format, [a, b, c, d, e, f, g], |text| output.push(text)) }
    output.flush();
    exit_group(FAILURE)
}

/// # Safety
/// `format` is a C string, and the words are what its conversions say.
unsafe fn write(format: *const c_char, arguments: [usize; 7], mut push: impl FnMut(&[u8])) {
    let mut arguments = arguments.into_iter();
    // SAFETY: a C string.
    let mut rest = unsafe { string(format) };
    while let Some(percent) = rest.iter().position(|&byte| byte == b'%') {
        push(&rest[..percent]);
        let conversion = &rest[percent + 1..];
        let modifiers = conversion.iter().take_while(|byte| !b"sdiuxXpc%".contains(byte)).count();
        let is_long = conversion[..modifiers].iter().any(|byte| matches!(byte, b'l' | b'z' | b'Z'));
        let Some(&kind) = conversion.get(modifiers) else { return push(&rest[percent..]) };
        rest = &conversion[modifiers + 1..];
        if kind == b'%' {
            push(b"%");
            continue;
        }
        let argument = arguments.next().unwrap_or(0);
        let unsigned = if is_long { argument } else { argument as u32 as usize };
        match kind {
            // SAFETY: the format promises a C string.
            b's' => push(unsafe { string(with_exposed_provenance(argument)) }),
            b'd' | b'i' if is_long => push(format!("{}", argument as isize).as_bytes()),
            b'd' | b'i' => push(format!("{}", argument as i32).as_bytes()),
            b'u' => push(format!("{unsigned}").as_bytes()),
            b'c' => push(&[argument as u8]),
            b'p' => push(format!("{argument:#x}").as_bytes()),
            _ => push(format!("{unsigned:x}").as_bytes()),
        }
    }
    push(rest);
}
