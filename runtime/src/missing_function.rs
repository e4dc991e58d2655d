//! Stubs for functions that nobody defines yet: each call of one looks the function up.
//!
//! All bindings are made at start, but programs that were tested with lazy binding rely on references that are resolved only
//! when they are used, if at all. Such a reference is bound to a stub of its own. The stubs exist in advance: code that is
//! made at run time would need a page that is first writable and then executable, and these cost no memory until they
//! are run.
//!
//! # Safety
//! Assembly that is entered with the arguments of an unknown function and passes them on untouched.

use crate::vector_state::{FOLIO_XSAVE_MASK, FOLIO_XSAVE_SIZE, restore_vector_state, save_vector_state};
use core::arch::{global_asm, naked_asm};

/// How many references can be bound to a stub.
pub const STUB_COUNT: usize = 4096;

/// `push index; jmp common`, padded.
type Stub = [u8; 16];

// SAFETY: the stubs are the assembly below; the binary defines the function with this type (crate documentation).
unsafe extern "C" {
    static folio_missing_function_stubs: [Stub; STUB_COUNT];
    fn folio_missing_function(index: usize) -> *const u8;
}

/// The address of a stub: a function that calls `folio_missing_function(index)` and then what that gave, with the
/// arguments it was called with.
pub fn stub_address(index: usize) -> Option<usize> {
    let stubs = &raw const folio_missing_function_stubs;
    (index < STUB_COUNT).then(|| stubs.cast::<Stub>().wrapping_add(index) as usize)
}

// The instructions are spelled in bytes so that all have one length. The escape is a rule for the frame's address that
// holds in each of them: rsp + 8, and 8 more when the low bits of rip say that the index has been pushed
// (DW_CFA_def_cfa_expression: rsp + 8 + (((rip & 15) >= 5) << 3)), as linkers write it for a PLT.
global_asm!(
    ".pushsection .missing_function_stubs, \"ax\", @progbits",
    ".p2align 4",
    ".globl folio_missing_function_stubs",
    ".hidden folio_missing_function_stubs",
    ".type folio_missing_function_stubs, @function",
    "folio_missing_function_stubs:",
    ".cfi_startproc",
    ".cfi_escape 0x0f, 0x0b, 0x77, 0x08, 0x80, 0x00, 0x3f, 0x1a, 0x35, 0x2a, 0x33, 0x24, 0x22",
    ".set .Lindex, 0",
    ".rept {count}",
    ".byte 0x68",
    ".long .Lindex",
    ".byte 0xe9",
    ".long {common} - . - 4",
    ".p2align 4, 0xcc",
    ".set .Lindex, .Lindex + 1",
    ".endr",
    ".cfi_endproc",
    ".size folio_missing_function_stubs, . - folio_missing_function_stubs",
    ".popsection",
    count = const STUB_COUNT,
    common = sym look_up_and_call,
);

/// What all stubs share. Of the registers only `r11` is lost, which the psABI gives to such code ("Procedure Linkage
/// Table").
///
/// ```text
///   rbp + 16   return address of the caller
///   rbp + 8    index
///   rbp        rbp
///   rbp - 64   rax rcx rdx rsi rdi r8 r9 r10, downwards
///   rsp        vector state
/// ```
// SAFETY: only the stubs above jump here, each with its index on the stack.
#[unsafe(naked)]
unsafe extern "C" fn look_up_and_call() {
    naked_asm!(
        ".cfi_startproc",
        ".cfi_def_cfa_offset 16",
        "push rbp",
        ".cfi_def_cfa_offset 24",
        ".cfi_offset rbp, -24",
        "mov rbp, rsp",
        ".cfi_def_cfa_register rbp",
        "push rax",
        "push rcx",
        "push rdx",
        "push rsi",
        "push rdi",
        "push r8",
        "push r9",
        "push r10",
        save_vector_state!(),
        "mov rdi, [rbp + 8]",
        "call {missing_function}",
        "mov r11, rax",
        restore_vector_state!(),
        "lea rsp, [rbp - 64]",
        "pop r10",
        "pop r9",
        "pop r8",
        "pop rdi",
        "pop rsi",
        "pop rdx",
        "pop rcx",
        "pop rax",
        "pop rbp",
        ".cfi_def_cfa rsp, 16",
        ".cfi_restore rbp",
        "lea rsp, [rsp + 8]",
        ".cfi_def_cfa_offset 8",
        "jmp r11",
        ".cfi_endproc",
        missing_function = sym folio_missing_function,
        xsave_size = sym FOLIO_XSAVE_SIZE,
        xsave_mask = sym FOLIO_XSAVE_MASK,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vector_state::tests::{call_with_registers, for_each_form, spoil_registers};
    use std::cell::Cell;

    std::thread_local! {
        static TARGET: Cell<usize> = const { Cell::new(0) };
        static INDEX: Cell<usize> = const { Cell::new(0) };
    }

    #[unsafe(no_mangle)]
    extern "C" fn folio_missing_function(index: usize) -> *const u8 {
        INDEX.set(index);
        spoil_registers();
        TARGET.get() as *const u8
    }

    #[test]
    fn every_stub_tells_its_index() {
        extern "C" fn target() -> usize {
            77
        }
        for_each_form(|_| {
            TARGET.set(target as *const () as usize);
            for index in 0..STUB_COUNT {
                let stub = stub_address(index).unwrap();
                // SAFETY: a stub passes on to the target, which has this type.
                let stub: extern "C" fn() -> usize = unsafe { core::mem::transmute(stub) };
                assert_eq!((stub(), INDEX.get()), (77, index));
            }
        });
        assert_eq!(stub_address(STUB_COUNT), None);
    }

    #[test]
    fn arguments_in_registers_and_on_the_stack_arrive() {
        type Function =
            extern "C" fn(u64, f64, u64, f64, u64, f64, u64, f64, u64, f64, u64, f64, u64, f64, f64, f64, u64) -> f64;
        #[rustfmt::skip]
        #[allow(clippy::too_many_arguments)]
        extern "C" fn target(a: u64, b: f64, c: u64, d: f64, e: u64, f: f64, g: u64, h: f64, i: u64, j: f64, k: u64, l: f64, m: u64, n: f64, o: f64, p: f64, q: u64) -> f64 {
            [a as f64, b, c as f64, d, e as f64, f, g as f64, h, i as f64, j, k as f64, l, m as f64, n, o, p, q as f64]
                .iter().enumerate().map(|(place, value)| (place + 1) as f64 * value).sum()
        }
        for_each_form(|_| {
            TARGET.set(target as *const () as usize);
            // SAFETY: as above.
            let stub: Function = unsafe { core::mem::transmute(stub_address(4095).unwrap()) };
            let result = stub(1, 2., 3, 4., 5, 6., 7, 8., 9, 10., 11, 12., 13, 14., 15., 16., 17);
            assert_eq!(result, (1..=17).map(|n| f64::from(n * n)).sum());
        });
    }

    #[test]
    fn the_function_finds_every_register_as_it_was() {
        // SAFETY: it touches nothing and returns.
        #[unsafe(naked)]
        unsafe extern "C" fn target() {
            naked_asm!("ret")
        }
        for_each_form(|wide| {
            TARGET.set(target as *const () as usize);
            for skew in [0, 8] {
                // SAFETY: the stub leads to a function that does nothing.
                let (rax, before, mut after) =
                    unsafe { call_with_registers(wide, stub_address(3).unwrap(), 0x1234, skew) };
                // r11 is lost by design.
                assert_eq!(after.general[9], target as *const () as u64);
                after.general[9] = before.general[9];
                assert_eq!((rax, before), (0x1234, after));
            }
        });
    }
}
