//! The first and the last instructions: from the kernel's hand to the program's entry point.
//!
//! The kernel enters the interpreter at `_start` with `rsp` at `argc` and every other register unspecified
//! (psABI, "Initial Stack and Register State"; elf(5)). `_start` makes two calls, and the border between them is the
//! compiler barrier: no code that the compiler may fill with addresses runs before [`relocate_self`] has returned.
//! Then it leaves for the program as glibc's start-up code expects it: `rsp` at `argc`, 16-byte aligned, `rdx` the
//! routine that `crt1` passes to `atexit` (0: none), `rbp` 0 as the mark of the outermost frame.
//!
//! [`relocate_self`]: crate::relocate_self

/// Where the program begins, what `folio_start` returns.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Start {
    /// The program's entry point, relocated.
    pub entry: usize,
    /// The address of `argc`; a multiple of 16.
    pub stack_pointer: *mut usize,
    /// The routine that the program is to call at its exit, or 0.
    pub exit_routine: usize,
}

#[cfg(not(test))]
mod entry {
    use super::Start;
    use crate::relocate_self::relocate_self;
    use core::arch::naked_asm;
    use core::mem::offset_of;

    // SAFETY: the binary defines it with this type (crate documentation).
    unsafe extern "C" {
        fn folio_start(stack: *mut usize) -> Start;
    }

    /// The interpreter's `e_entry`.
    ///
    /// `Start` has three words, so it is returned in memory that the caller provides (psABI, "Returning of Values").
    /// The two empty relocations make nothing: they keep in the file what only outsiders look for, `__tls_get_addr`
    /// for other objects and `strlen` for valgrind, which refuses to start without that symbol.
    // SAFETY: only the kernel enters here, with the stack of a new process (psABI, "Initial Stack and Register State").
    #[unsafe(naked)]
    #[unsafe(no_mangle)]
    pub unsafe extern "C" fn _start() -> ! {
        naked_asm!(
            ".cfi_startproc",
            ".cfi_undefined rip",
            ".reloc ., R_X86_64_NONE, {tls_get_addr}",
            ".reloc ., R_X86_64_NONE, {strlen}",
            ".hidden __ehdr_start",
            ".hidden __relr_start",
            ".hidden __relr_end",
            "xor ebp, ebp",
            "mov rbx, rsp",
            "and rsp, -16",
            "lea rdi, [rip + __ehdr_start]",
            "lea rsi, [rip + __relr_start]",
            "lea rdx, [rip + __relr_end]",
            "call {relocate_self}",
            "sub rsp, 32",
            "mov rdi, rsp",
            "mov rsi, rbx",
            "call {folio_start}",
            "mov rax, [rsp + {entry}]",
            "mov rdx, [rsp + {exit_routine}]",
            "mov rsp, [rsp + {stack_pointer}]",
            "xor ebx, ebx",
            "xor ecx, ecx",
            "xor esi, esi",
            "xor edi, edi",
            "xor ebp, ebp",
            "xor r8d, r8d",
            "xor r9d, r9d",
            "xor r10d, r10d",
            "xor r11d, r11d",
            "xor r12d, r12d",
            "xor r13d, r13d",
            "xor r14d, r14d",
            "xor r15d, r15d",
            "jmp rax",
            ".cfi_endproc",
            relocate_self = sym relocate_self,
            folio_start = sym folio_start,
            tls_get_addr = sym crate::tls::__tls_get_addr,
            strlen = sym crate::memory::strlen,
            entry = const offset_of!(Start, entry),
            stack_pointer = const offset_of!(Start, stack_pointer),
            exit_routine = const offset_of!(Start, exit_routine),
        )
    }
}
