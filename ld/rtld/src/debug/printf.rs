//! `_dl_debug_printf`: what libc has to say under `LD_DEBUG`, which it says through the loader.
//!
//! libc passes formats with `%s`, `%d`, `%u`, `%x` and their long kinds, and hardly any flags. Arguments that are not floating
//! come in the same registers whether a function is variadic or not (psABI, *Parameter Passing*), so five are read.
//!
//! # Safety
//! Called by libc with a C string, and with arguments that fit it.
#![allow(unsafe_code)]

use core::ffi::c_char;
use core::fmt::Write;
use core::ptr::with_exposed_provenance;

use super::Lines;
use crate::process::string;

/// Says what libc asks to be said.
///
/// # Safety
/// `format` is a C string, and the words are what its conversions say.
pub unsafe extern "C" fn debug_printf(format: *const c_char, a: usize, b: usize, c: usize, d: usize, e: usize) {
    let mut arguments = [a, b, c, d, e].into_iter();
    let mut lines = Lines::new();
    // SAFETY: a C string.
    let mut rest = unsafe { string(format) };
    while let Some(percent) = rest.iter().position(|&byte| byte == b'%') {
        lines.push(&rest[..percent]);
        let conversion = &rest[percent + 1..];
        let modifiers = conversion.iter().take_while(|byte| !b"sdiuxXpc%".contains(byte)).count();
        let is_long = conversion[..modifiers].iter().any(|byte| matches!(byte, b'l' | b'z' | b'Z'));
        let Some(&kind) = conversion.get(modifiers) else { return lines.push(&rest[percent..]) };
        rest = &conversion[modifiers + 1..];
        if kind == b'%' {
            lines.push(b"%");
            continue;
        }
        let argument = arguments.next().unwrap_or(0);
        let unsigned = if is_long { argument } else { argument as u32 as usize };
        let _ = match kind {
            b's' => {
                // SAFETY: the format promises a C string.
                lines.push(unsafe { string(with_exposed_provenance(argument)) });
                Ok(())
            }
            b'd' | b'i' if is_long => write!(lines, "{}", argument as isize),
            b'd' | b'i' => write!(lines, "{}", argument as i32),
            b'u' => write!(lines, "{unsigned}"),
            b'c' => write!(lines, "{}", char::from(argument as u8)),
            b'p' => write!(lines, "{argument:#x}"),
            _ => write!(lines, "{unsigned:x}"),
        };
    }
    lines.push(rest);
}
