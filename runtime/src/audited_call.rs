//! Calls through the PLT of an object whose calls an auditor wants to see (rtld-audit(7), `la_x86_64_gnu_pltenter`).
//!
//! The PLT pushes the index of a relocation and the second word of the GOT, and jumps to the third word, which is
//! [`audited_call`] (psABI, *Procedure Linkage Table*). It shows the binary all argument registers in a [`CallRegisters`],
//! goes on to the function that the binary names, and, if an auditor wants to see the return too, calls it on a copy of the
//! arguments on the stack and shows its results in a [`CallResults`]. Both structures are those of `<bits/link.h>`.
//!
//! Vector registers are shown at the width that the binary says (`FOLIO_VECTOR_WIDTH`, in bytes: 32 or 64, else 16). The structures have an
//! `xmm` register twice; whoever changes one of the two need not know of the other: [`CallRegisters::merge`].
//!
//! # Safety
//! Assembly that is entered with the arguments of an unknown function.

use core::arch::naked_asm;
use core::sync::atomic::AtomicU32;

/// A vector register, the low bits first.
pub type Vector = [u64; 8];

/// `La_x86_64_regs`.
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug)]
pub struct CallRegisters {
    /// `rdx r8 r9 rcx rsi rdi rbp rsp`.
    pub general: [u64; 8],
    pub xmm: [[u64; 2]; 8],
    pub vectors: [Vector; 8],
    unused: [u64; 8],
}

/// `La_x86_64_retval`.
#[repr(C, align(16))]
#[derive(Clone, Copy, Debug)]
pub struct CallResults {
    pub rax: u64,
    pub rdx: u64,
    pub xmm: [[u64; 2]; 2],
    /// `st(0)` and `st(1)`.
    pub x87: [[u64; 2]; 2],
    pub vectors: [Vector; 2],
    unused: [u64; 4],
}

const _: () = assert!(size_of::<CallRegisters>() == 768 && size_of::<CallResults>() == 240);

/// Makes the two copies of each register agree: what was changed from `before` in `xmm` alone counts, and clears what lies
/// above it, as any instruction on an `xmm` register of the VEX kind does; else what `vectors` holds.
fn merge(xmm: &mut [[u64; 2]], vectors: &mut [Vector], before: &[[u64; 2]]) {
    // Most of these registers hold nothing: no branch depends on what is in them, for memory checkers would object.
    let differ = |a: &[u64], b: &[u64]| {
        let difference = (a[0] ^ b[0]) | (a[1] ^ b[1]);
        core::hint::black_box((difference | difference.wrapping_neg()) as i64 >> 63) as u64
    };
    for ((xmm, vector), before) in xmm.iter_mut().zip(vectors).zip(before) {
        let is_changed = differ(&xmm[..], &before[..]);
        let is_alone = is_changed & differ(&xmm[..], &vector[..2]);
        for (place, low) in xmm.iter_mut().enumerate() {
            *low = (*low & is_changed) | (vector[place] & !is_changed);
            vector[place] = (*low & is_changed) | (vector[place] & !is_changed);
        }
        vector[2..].iter_mut().for_each(|high| *high &= !is_alone);
    }
}

impl CallRegisters {
    /// Takes over what was changed since `before`.
    pub fn merge(&mut self, before: &[[u64; 2]; 8]) {
        merge(&mut self.xmm, &mut self.vectors, before);
    }
}

impl CallResults {
    /// Takes over what was changed since `before`.
    pub fn merge(&mut self, before: &[[u64; 2]; 2]) {
        merge(&mut self.xmm, &mut self.vectors, before);
    }
}

// SAFETY: the binary defines them with these types (crate documentation).
unsafe extern "C" {
    static FOLIO_VECTOR_WIDTH: AtomicU32;
    /// Gives the function to go on to, and writes the bytes of arguments on the stack to `frame_size` if the return is of
    /// interest; a negative number is there otherwise.
    fn folio_audited_call(
        plt: *const u8,
        index: usize,
        registers: *mut CallRegisters,
        frame_size: *mut isize,
    ) -> *const u8;
    fn folio_audited_return(plt: *const u8, index: usize, registers: *const CallRegisters, results: *mut CallResults);
}

/// Moves vector registers to or from `[rsp + at]`, at their full width; the `xmm` width needs nothing, as the other copies
/// are moved by hand. `rax` is lost.
macro_rules! move_vectors {
    (store $($number:literal at $at:literal),*) => {
        move_vectors!($(["[rsp + ", $at, "], "] [$number]),*)
    };
    (load $($number:literal at $at:literal),*) => {
        move_vectors!($([""] [$number, ", [rsp + ", $at, "]"]),*)
    };
    // What stands before and after the kind of register in each move.
    ($([$($before:literal),*] [$($after:literal),*]),*) => {
        concat!(
            "mov eax, [rip + {vector_width}]\n cmp eax, 64\n je 71f\n cmp eax, 32\n je 72f\n",
            $("movaps ", $($before,)* "xmm", $($after,)* "\n",)*
            "jmp 73f\n 71:\n",
            $("vmovups ", $($before,)* "zmm", $($after,)* "\n",)*
            "jmp 73f\n 72:\n",
            $("vmovups ", $($before,)* "ymm", $($after,)* "\n",)*
            "73:\n",
        )
    };
}

/// What the third word of an audited GOT points to.
///
/// ```text
///   rbp + 24   return address of the caller, its arguments behind
///   rbp + 16   index of the relocation
///   rbp + 8    second word of the GOT
///   rbp        rbp
///   rbp - 24   rbx rax r10, downwards
///   rbp - 32   size of the arguments on the stack, or -1
///   rbp - 40   results on the stack of the x87
///   rsp        CallRegisters, and below them CallResults
/// ```
///
/// # Safety
/// Only the first entry of a PLT enters here.
// SAFETY: no Rust code calls: its address is all that the binary takes, for the third word of an audited GOT.
#[unsafe(naked)]
pub unsafe extern "C" fn audited_call() {
    naked_asm!(
        ".cfi_startproc",
        ".cfi_def_cfa_offset 24",
        "push rbp",
        ".cfi_def_cfa_offset 32",
        ".cfi_offset rbp, -32",
        "mov rbp, rsp",
        ".cfi_def_cfa_register rbp",
        "push rbx",
        ".cfi_offset rbx, -40",
        "push rax",
        "push r10",
        "push -1",
        "push 0",
        "and rsp, -64",
        "sub rsp, 768",
        "mov [rsp], rdx",
        "mov [rsp + 8], r8",
        "mov [rsp + 16], r9",
        "mov [rsp + 24], rcx",
        "mov [rsp + 32], rsi",
        "mov [rsp + 40], rdi",
        "mov rax, [rbp]",
        "mov [rsp + 48], rax",
        "lea rax, [rbp + 24]",
        "mov [rsp + 56], rax",
        "movaps [rsp + 64], xmm0",
        "movaps [rsp + 80], xmm1",
        "movaps [rsp + 96], xmm2",
        "movaps [rsp + 112], xmm3",
        "movaps [rsp + 128], xmm4",
        "movaps [rsp + 144], xmm5",
        "movaps [rsp + 160], xmm6",
        "movaps [rsp + 176], xmm7",
        move_vectors!(store 0 at 192, 1 at 256, 2 at 320, 3 at 384, 4 at 448, 5 at 512, 6 at 576, 7 at 640),
        "mov rdi, [rbp + 8]",
        "mov rsi, [rbp + 16]",
        "mov rdx, rsp",
        "lea rcx, [rbp - 32]",
        "call {audited_call}",
        "mov r11, rax",
        move_vectors!(load 0 at 192, 1 at 256, 2 at 320, 3 at 384, 4 at 448, 5 at 512, 6 at 576, 7 at 640),
        "mov rbx, rsp",
        "mov rcx, [rbp - 32]",
        "test rcx, rcx",
        "jns 2f",
        // Nobody wants to see the return: go on as if there had been nothing.
        "mov rdx, [rbx]",
        "mov r8, [rbx + 8]",
        "mov r9, [rbx + 16]",
        "mov rcx, [rbx + 24]",
        "mov rsi, [rbx + 32]",
        "mov rdi, [rbx + 40]",
        "mov r10, [rbp - 24]",
        "mov rax, [rbp - 16]",
        "mov rbx, [rbp - 8]",
        ".cfi_remember_state",
        ".cfi_restore rbx",
        "mov rsp, rbp",
        "pop rbp",
        ".cfi_def_cfa rsp, 24",
        ".cfi_restore rbp",
        "lea rsp, [rsp + 16]",
        ".cfi_def_cfa_offset 8",
        "jmp r11",
        ".cfi_restore_state",
        // The arguments on the stack once more, below.
        "2:",
        "add rcx, 15",
        "and rcx, -16",
        "sub rsp, rcx",
        "lea rsi, [rbp + 32]",
        "mov rdi, rsp",
        "rep movsb",
        "mov rdx, [rbx]",
        "mov r8, [rbx + 8]",
        "mov r9, [rbx + 16]",
        "mov rcx, [rbx + 24]",
        "mov rsi, [rbx + 32]",
        "mov rdi, [rbx + 40]",
        "mov r10, [rbp - 24]",
        "mov rax, [rbp - 16]",
        "call r11",
        "lea rsp, [rbx - 256]",
        "mov [rsp], rax",
        "mov [rsp + 8], rdx",
        "movaps [rsp + 16], xmm0",
        "movaps [rsp + 32], xmm1",
        move_vectors!(store 0 at 80, 1 at 144),
        // As many results as the x87 has; an empty register shows by C3 and C0 without C2.
        "xor eax, eax",
        "mov [rsp + 48], rax",
        "mov [rsp + 56], rax",
        "mov [rsp + 64], rax",
        "mov [rsp + 72], rax",
        "fxam",
        "fnstsw ax",
        "and ah, 0x45",
        "cmp ah, 0x41",
        "je 3f",
        "fstp tbyte ptr [rsp + 48]",
        "inc qword ptr [rbp - 40]",
        "fxam",
        "fnstsw ax",
        "and ah, 0x45",
        "cmp ah, 0x41",
        "je 3f",
        "fstp tbyte ptr [rsp + 64]",
        "inc qword ptr [rbp - 40]",
        "3:",
        "mov rdi, [rbp + 8]",
        "mov rsi, [rbp + 16]",
        "mov rdx, rbx",
        "mov rcx, rsp",
        "call {audited_return}",
        "cmp qword ptr [rbp - 40], 1",
        "jb 5f",
        "je 4f",
        "fld tbyte ptr [rsp + 64]",
        "4:",
        "fld tbyte ptr [rsp + 48]",
        "5:",
        move_vectors!(load 0 at 80, 1 at 144),
        "mov rax, [rsp]",
        "mov rdx, [rsp + 8]",
        "mov rbx, [rbp - 8]",
        ".cfi_restore rbx",
        "mov rsp, rbp",
        "pop rbp",
        ".cfi_def_cfa rsp, 24",
        ".cfi_restore rbp",
        "lea rsp, [rsp + 16]",
        ".cfi_def_cfa_offset 8",
        "ret",
        ".cfi_endproc",
        vector_width = sym FOLIO_VECTOR_WIDTH,
        audited_call = sym folio_audited_call,
        audited_return = sym folio_audited_return,
    )
}
