//! How other objects reach their thread-local variables: `__tls_get_addr` and the entries of TLS descriptors.
//!
//! A thread's *dtv* hangs at `fs:8`. Its entries have 16 bytes: entry 0 begins with the generation that the thread has seen,
//! entry *m* with the address of module *m*'s block, or -1 as long as there is none (glibc sysdeps/generic/dl-dtv.h). What
//! is present is found here in a few instructions; the rest is the binary's `folio_tls_get_addr_slow`.
//!
//! Sources: "ELF Handling For Thread-Local Storage" (Drepper), section 4; "Thread-Local Storage Descriptors for IA32 and
//! AMD64/EM64T" (Oliva); psABI, "Thread-Local Storage".
//!
//! # Safety
//! Entries that other objects call, some with conventions of their own, which no Rust type expresses.

use crate::vector_state::{FOLIO_XSAVE_MASK, FOLIO_XSAVE_SIZE, restore_vector_state, save_vector_state};
use core::arch::naked_asm;
use core::mem::offset_of;
use core::sync::atomic::AtomicUsize;

/// What a general-dynamic reference names: `R_X86_64_DTPMOD64` and `R_X86_64_DTPOFF64`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TlsIndex {
    pub module: usize,
    pub offset: usize,
}

/// A descriptor, as `R_X86_64_TLSDESC` fills it: the caller calls `entry` with the descriptor's address in `rax`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct TlsDescriptor {
    /// The address of one of the `tlsdesc_` entries below.
    pub entry: usize,
    pub argument: usize,
}

/// What the argument of a dynamic descriptor points to.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct TlsDescriptorArgument {
    /// The generation in which the module's id was given to it. A dtv that has seen this one is good enough.
    pub generation: usize,
    pub index: TlsIndex,
}

// SAFETY: the binary defines both with these types (crate documentation).
unsafe extern "C" {
    static FOLIO_TLS_GENERATION: AtomicUsize;
    fn folio_tls_get_addr_slow(index: *mut TlsIndex) -> *mut u8;
}

/// The address of a thread-local variable in this thread.
///
/// A call of the usual convention, but for one: old GCC emitted it with the stack off by 8 (GCC bug 58066), so the slow
/// way aligns it.
///
/// # Safety
/// `fs:0` is a thread control block with a dtv, and `index` names a module that is loaded.
// SAFETY: compiled code passes a pair of its GOT, and runs only when its thread has a control block.
#[unsafe(naked)]
#[cfg_attr(not(test), unsafe(no_mangle))]
pub unsafe extern "C" fn __tls_get_addr(index: *mut TlsIndex) -> *mut u8 {
    naked_asm!(
        ".cfi_startproc",
        "mov rdx, fs:[8]",
        "mov rax, [rip + {generation}]",
        "cmp rax, [rdx]",
        "jne 22f",
        "mov rax, [rdi + {module}]",
        "shl rax, 4",
        "mov rax, [rdx + rax]",
        "cmp rax, -1",
        "je 22f",
        "add rax, [rdi + {offset}]",
        "ret",
        "22:",
        "push rbp",
        ".cfi_def_cfa_offset 16",
        ".cfi_offset rbp, -16",
        "mov rbp, rsp",
        ".cfi_def_cfa_register rbp",
        "and rsp, -16",
        "call {slow}",
        "leave",
        ".cfi_def_cfa rsp, 8",
        ".cfi_restore rbp",
        "ret",
        ".cfi_endproc",
        generation = sym FOLIO_TLS_GENERATION,
        module = const offset_of!(TlsIndex, module),
        offset = const offset_of!(TlsIndex, offset),
        slow = sym folio_tls_get_addr_slow,
    )
}

/// Entry of a descriptor of a variable in static TLS: the argument is its offset from the thread pointer.
///
/// # Safety
/// Only a descriptor's caller enters here: `rax` is the descriptor, and every other register is preserved.
// SAFETY: no Rust code calls: the binary takes the address, for descriptors whose argument is such an offset.
#[unsafe(naked)]
pub unsafe extern "C" fn tlsdesc_static() {
    naked_asm!(
        ".cfi_startproc",
        "mov rax, [rax + {argument}]",
        "ret",
        ".cfi_endproc",
        argument = const offset_of!(TlsDescriptor, argument),
    )
}

/// Entry of a descriptor of a weak variable that nobody defines: the argument is the addend, which becomes the address.
///
/// # Safety
/// As [`tlsdesc_static`].
// SAFETY: as there: the binary puts the address only into descriptors whose argument is an addend.
#[unsafe(naked)]
pub unsafe extern "C" fn tlsdesc_undefined_weak() {
    naked_asm!(
        ".cfi_startproc",
        "mov rax, [rax + {argument}]",
        "sub rax, fs:[0]",
        "ret",
        ".cfi_endproc",
        argument = const offset_of!(TlsDescriptor, argument),
    )
}

/// Entry of a descriptor of a variable in dynamic TLS: the argument points to a [`TlsDescriptorArgument`].
///
/// The fast way spills two registers below the stack pointer, where the psABI's red zone protects them from signal
/// handlers. The slow way takes them onto the stack:
///
/// ```text
///   rbp + 24   return address
///   rbp + 16   rdi
///   rbp + 8    rsi
///   rbp        rbp
///   rbp - 48   rcx rdx r8 r9 r10 r11, downwards
///   rsp        vector state
/// ```
///
/// # Safety
/// As [`tlsdesc_static`].
// SAFETY: as there: the binary puts the address only into descriptors whose argument is a `TlsDescriptorArgument`.
#[unsafe(naked)]
pub unsafe extern "C" fn tlsdesc_dynamic() {
    naked_asm!(
        ".cfi_startproc",
        "mov [rsp - 8], rdi",
        "mov [rsp - 16], rsi",
        "mov rdi, [rax + {argument}]",
        "mov rsi, fs:[8]",
        "mov rax, [rdi + {generation}]",
        "cmp rax, [rsi]",
        "ja 22f",
        "mov rax, [rdi + {module}]",
        "shl rax, 4",
        "mov rax, [rsi + rax]",
        "cmp rax, -1",
        "je 22f",
        "add rax, [rdi + {offset}]",
        "sub rax, fs:[0]",
        "mov rsi, [rsp - 16]",
        "mov rdi, [rsp - 8]",
        "ret",
        "22:",
        "sub rsp, 16",
        ".cfi_def_cfa_offset 24",
        ".cfi_offset rdi, -16",
        ".cfi_offset rsi, -24",
        "push rbp",
        ".cfi_def_cfa_offset 32",
        ".cfi_offset rbp, -32",
        "mov rbp, rsp",
        ".cfi_def_cfa_register rbp",
        "push rcx",
        ".cfi_offset rcx, -40",
        "push rdx",
        ".cfi_offset rdx, -48",
        "push r8",
        ".cfi_offset r8, -56",
        "push r9",
        ".cfi_offset r9, -64",
        "push r10",
        ".cfi_offset r10, -72",
        "push r11",
        ".cfi_offset r11, -80",
        save_vector_state!(),
        "add rdi, {index}",
        "call {slow}",
        "mov rcx, rax",
        restore_vector_state!(),
        "mov rax, rcx",
        "sub rax, fs:[0]",
        "lea rsp, [rbp - 48]",
        "pop r11",
        ".cfi_restore r11",
        "pop r10",
        ".cfi_restore r10",
        "pop r9",
        ".cfi_restore r9",
        "pop r8",
        ".cfi_restore r8",
        "pop rdx",
        ".cfi_restore rdx",
        "pop rcx",
        ".cfi_restore rcx",
        "pop rbp",
        ".cfi_def_cfa rsp, 24",
        ".cfi_restore rbp",
        "pop rsi",
        ".cfi_def_cfa_offset 16",
        ".cfi_restore rsi",
        "pop rdi",
        ".cfi_def_cfa_offset 8",
        ".cfi_restore rdi",
        "ret",
        ".cfi_endproc",
        argument = const offset_of!(TlsDescriptor, argument),
        generation = const offset_of!(TlsDescriptorArgument, generation),
        index = const offset_of!(TlsDescriptorArgument, index),
        module = const offset_of!(TlsDescriptorArgument, index.module),
        offset = const offset_of!(TlsDescriptorArgument, index.offset),
        slow = sym folio_tls_get_addr_slow,
        xsave_size = sym FOLIO_XSAVE_SIZE,
        xsave_mask = sym FOLIO_XSAVE_MASK,
    )
}

/// These run on the dtv of the test's own thread, which the host's glibc made.
#[cfg(test)]
mod tests {
    use super::*;
    use crate::vector_state::tests::{call_with_registers, for_each_form, spoil_registers};
    use core::arch::asm;
    use std::cell::Cell;
    use std::sync::atomic::Ordering::Relaxed;

    #[unsafe(no_mangle)]
    static FOLIO_TLS_GENERATION: AtomicUsize = AtomicUsize::new(0);

    std::thread_local! {
        /// Calls of the slow way, and its stack pointer's offset from a multiple of 16 at the last one.
        static SLOW: Cell<(usize, usize)> = const { Cell::new((0, 0)) };
    }

    /// Gives an address that tells the index; by its prologue it would crash on a misaligned stack.
    #[unsafe(no_mangle)]
    extern "C" fn folio_tls_get_addr_slow(index: *mut TlsIndex) -> *mut u8 {
        #[repr(align(16))]
        struct Aligned(#[allow(dead_code)] u128);
        let local = core::hint::black_box(Aligned(0));
        SLOW.set((SLOW.get().0 + 1, &raw const local as usize % 16));
        spoil_registers();
        // SAFETY: the tests pass indices.
        let TlsIndex { module, offset } = unsafe { *index };
        (module * 0x10000 + offset) as *mut u8
    }

    /// The thread pointer, and the first words of the dtv's entries 0 and 1.
    fn thread() -> (usize, usize, usize) {
        let (pointer, generation, block): (usize, usize, usize);
        // SAFETY: glibc's thread control block and dtv have these words.
        unsafe {
            asm!(
                "mov {0}, fs:[0]", "mov {1}, fs:[8]", "mov {2}, [{1} + 16]", "mov {1}, [{1}]",
                out(reg) pointer, out(reg) generation, out(reg) block,
            );
        }
        (pointer, generation, block)
    }

    /// Calls a descriptor's entry. (SAFETY: the entries under test, in a thread with a dtv.)
    fn call(entry: unsafe extern "C" fn(), argument: usize, wide: bool, skew: usize) -> usize {
        let descriptor = TlsDescriptor { entry: entry as *const () as usize, argument };
        // SAFETY: a descriptor's entry takes the descriptor in rax.
        let (result, before, after) =
            unsafe { call_with_registers(wide, descriptor.entry, &raw const descriptor as usize, skew) };
        assert_eq!(before, after);
        result
    }

    #[test]
    fn static_descriptors_give_the_argument() {
        for_each_form(|wide| assert_eq!(call(tlsdesc_static, 0xffff_ffff_ffff_ff80, wide, 0), 0xffff_ffff_ffff_ff80));
    }

    #[test]
    fn weak_undefined_descriptors_give_the_addend_as_address() {
        for_each_form(|wide| assert_eq!(call(tlsdesc_undefined_weak, 5, wide, 0).wrapping_add(thread().0), 5));
    }

    #[test]
    fn dynamic_descriptors_find_what_the_dtv_has() {
        for_each_form(|wide| {
            let (pointer, generation, block) = thread();
            assert_ne!(block, usize::MAX);
            let argument = TlsDescriptorArgument { generation, index: TlsIndex { module: 1, offset: 24 } };
            let calls = SLOW.get().0;
            let result = call(tlsdesc_dynamic, &raw const argument as usize, wide, 8);
            assert_eq!((result.wrapping_add(pointer), SLOW.get().0), (block + 24, calls));
        });
    }

    #[test]
    fn dynamic_descriptors_preserve_all_registers_on_the_slow_way() {
        for_each_form(|wide| {
            let (pointer, generation, _) = thread();
            let argument =
                TlsDescriptorArgument { generation: generation + 1, index: TlsIndex { module: 9, offset: 24 } };
            for skew in [0, 8, 16, 24, 56] {
                let calls = SLOW.get().0;
                let result = call(tlsdesc_dynamic, &raw const argument as usize, wide, skew);
                assert_eq!((result.wrapping_add(pointer), SLOW.get()), (0x90018, (calls + 1, 0)));
            }
        });
    }

    #[test]
    fn tls_get_addr_takes_both_ways() {
        for_each_form(|wide| {
            let (_, generation, block) = thread();
            let mut index = TlsIndex { module: 1, offset: 40 };
            FOLIO_TLS_GENERATION.store(generation, Relaxed);
            let calls = SLOW.get().0;
            // SAFETY: this thread has a dtv with module 1.
            assert_eq!(unsafe { __tls_get_addr(&mut index) } as usize, block + 40);
            assert_eq!(SLOW.get().0, calls);
            FOLIO_TLS_GENERATION.store(generation + 1, Relaxed);
            // SAFETY: as above.
            assert_eq!(unsafe { __tls_get_addr(&mut index) } as usize, 0x10028);
            assert_eq!(SLOW.get(), (calls + 1, 0));
            // The probe's rdi is no index: an adapter provides one, on a stack that is off by 8.
            // SAFETY: called by the probe with the index in rax.
            #[unsafe(naked)]
            unsafe extern "C" fn adapter() {
                naked_asm!("mov rdi, rax", "sub rsp, 8", "call {}", "add rsp, 8", "ret", sym __tls_get_addr)
            }
            for skew in [0, 8] {
                let adapter = adapter as *const () as usize;
                // SAFETY: the adapter takes the index in rax.
                let (result, ..) = unsafe { call_with_registers(wide, adapter, &raw const index as usize, skew) };
                assert_eq!((result, SLOW.get().1), (0x10028, 0));
            }
        });
    }
}
