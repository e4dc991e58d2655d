//! Saving all that a caller may hold in vector registers, around a call into Rust from code that expects no call at all.
//!
//! Rust uses the SSE registers freely, and a caller that resolves a function or a TLS descriptor may hold arguments or
//! live values in any vector register, at its full width. Saving by hand loses the upper halves, so the processor does it:
//! XSAVE or XSAVEC with what the operating system enabled, FXSAVE where there is neither (Intel SDM volume 1, chapter
//! 13, "Managing State Using the XSAVE Feature Set").
//!
//! The binary sets two numbers, once, before another object runs:
//!
//! - `FOLIO_XSAVE_SIZE`: the size of the area in bytes, at least what CPUID leaf 0xD tells for the mask and the form;
//!   0 (as long as nobody asked) means FXSAVE, which saves `xmm0` to `xmm15` only.
//! - `FOLIO_XSAVE_MASK`: the state components to save. Bit 63 says that the form is compacted, as in XCOMP_BV, so that
//!   XSAVEC is used; the processor ignores it in the mask.

use core::sync::atomic::{AtomicU64, AtomicUsize};

// SAFETY: the binary defines both with these types (crate documentation).
unsafe extern "C" {
    pub(crate) static FOLIO_XSAVE_SIZE: AtomicUsize;
    pub(crate) static FOLIO_XSAVE_MASK: AtomicU64;
}

/// In the mask: the area has the compacted form.
pub const COMPACTED: u64 = 1 << 63;

/// Assembly that lowers and aligns `rsp` and saves the vector state at it. Changes `rax rcx rdx` and the flags; takes
/// the operands `xsave_size` and `xsave_mask`.
///
/// Of the area's header, all but its first 16 bytes must be 0 when it is restored, and XSAVE reads the first word too.
macro_rules! save_vector_state {
    () => {
        "
        mov rcx, [rip + {xsave_size}]
        test rcx, rcx
        jz 62f
        sub rsp, rcx
        and rsp, -64
        xor eax, eax
        mov [rsp + 512], rax
        mov [rsp + 520], rax
        mov [rsp + 528], rax
        mov [rsp + 536], rax
        mov [rsp + 544], rax
        mov [rsp + 552], rax
        mov [rsp + 560], rax
        mov [rsp + 568], rax
        mov rax, [rip + {xsave_mask}]
        mov rdx, rax
        shr rdx, 32
        test edx, edx
        js 63f
        xsave64 [rsp]
        jmp 64f
    62:
        sub rsp, 512
        and rsp, -16
        fxsave64 [rsp]
        jmp 64f
    63:
        xsavec64 [rsp]
    64:
        "
    };
}

/// Assembly that restores what [`save_vector_state`] saved at `rsp`, and leaves `rsp` there. Changes `rax rdx` and the
/// flags.
macro_rules! restore_vector_state {
    () => {
        "
        cmp qword ptr [rip + {xsave_size}], 0
        je 65f
        mov rax, [rip + {xsave_mask}]
        mov rdx, rax
        shr rdx, 32
        xrstor64 [rsp]
        jmp 66f
    65:
        fxrstor64 [rsp]
    66:
        "
    };
}

pub(crate) use {restore_vector_state, save_vector_state};

/// What the tests of the trampolines share: the binary's numbers, each form that this processor has, and a call that
/// checks every register.
#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use core::arch::naked_asm;
    use core::arch::x86_64::__cpuid_count;
    use std::sync::atomic::Ordering::Relaxed;
    use std::sync::{Mutex, PoisonError};

    #[unsafe(no_mangle)]
    static FOLIO_XSAVE_SIZE: AtomicUsize = AtomicUsize::new(0);
    #[unsafe(no_mangle)]
    static FOLIO_XSAVE_MASK: AtomicU64 = AtomicU64::new(0);

    /// Runs a test once a form; the flag says whether the form keeps 256 bits.
    pub(crate) fn for_each_form(mut test: impl FnMut(bool)) {
        static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
        let _guard = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        FOLIO_XSAVE_SIZE.store(0, Relaxed);
        test(false);
        if !is_x86_feature_detected!("avx") {
            return;
        }
        let (low, high): (u32, u32);
        // SAFETY: AVX implies that the operating system enabled XGETBV.
        unsafe { core::arch::asm!("xgetbv", in("ecx") 0, lateout("eax") low, lateout("edx") high) };
        let mask = u64::from(high) << 32 | u64::from(low);
        let size = |leaf: u32| __cpuid_count(0xd, leaf).ebx as usize;
        FOLIO_XSAVE_MASK.store(mask, Relaxed);
        FOLIO_XSAVE_SIZE.store(size(0), Relaxed);
        test(true);
        if is_x86_feature_detected!("xsavec") {
            FOLIO_XSAVE_MASK.store(mask | COMPACTED, Relaxed);
            FOLIO_XSAVE_SIZE.store(size(1), Relaxed);
            test(true);
        }
        FOLIO_XSAVE_SIZE.store(0, Relaxed);
    }

    /// All registers that a trampoline could spoil: `rcx rdx rbx rbp rsi rdi r8` to `r15`, and sixteen vectors.
    #[repr(C, align(32))]
    #[derive(Clone, Debug, PartialEq)]
    pub(crate) struct Registers {
        pub(crate) vectors: [[u64; 4]; 16],
        pub(crate) general: [u64; 14],
    }

    impl Registers {
        pub(crate) fn distinct() -> Self {
            let word = |seed: usize| (seed as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            Self {
                vectors: std::array::from_fn(|n| std::array::from_fn(|lane| word(100 + 4 * n + lane))),
                general: std::array::from_fn(word),
            }
        }

        /// What remains when only the lower halves of the vectors count.
        pub(crate) fn narrow(mut self) -> Self {
            self.vectors.iter_mut().for_each(|vector| vector[2..].fill(0));
            self
        }
    }

    /// Destroys every register that a callee may, as code between a save and a restore does.
    pub(crate) fn spoil_registers() {
        macro_rules! spoil {
            ($vectors:literal) => {
                core::arch::asm!(
                    "mov rax, -1",
                    "mov rcx, rax",
                    "mov rdx, rax",
                    "mov rsi, rax",
                    "mov rdi, rax",
                    "mov r8, rax",
                    "mov r9, rax",
                    "mov r10, rax",
                    "mov r11, rax",
                    $vectors,
                    clobber_abi("C"),
                )
            };
        }
        // SAFETY: all changed registers are declared.
        unsafe {
            if is_x86_feature_detected!("avx") {
                spoil!("vzeroall");
            } else {
                spoil!("pxor xmm0, xmm0; movaps xmm1, xmm0; movaps xmm8, xmm0; movaps xmm15, xmm0");
            }
        }
    }

    /// Defines a function that loads all registers, sets `rax`, calls `entry` on a stack that is off by `skew` bytes, and
    /// stores all registers back; it gives `rax`.
    macro_rules! define_probe {
        ($name:ident, $move:literal, $vector:literal) => {
            // SAFETY: tests alone call: they built what lies at `entry` for that, and `registers` is their variable.
            #[unsafe(naked)]
            pub(crate) unsafe extern "C" fn $name(
                rax: usize,
                entry: usize,
                registers: *mut Registers,
                skew: usize,
            ) -> usize {
                naked_asm!(
                    "push rbx",
                    "push rbp",
                    "push r12",
                    "push r13",
                    "push r14",
                    "push r15",
                    "sub rsp, 8",
                    "mov r15, rsp",
                    "sub rsp, rcx",
                    // On the stack of the call: the entry, the registers' address and the old stack pointer.
                    "sub rsp, 32",
                    "mov [rsp], rsi",
                    "mov [rsp + 8], rdx",
                    "mov [rsp + 16], r15",
                    "mov rax, rdi",
                    concat!($move, " ", $vector, "0, [rdx]"),
                    concat!($move, " ", $vector, "1, [rdx + 32]"),
                    concat!($move, " ", $vector, "2, [rdx + 64]"),
                    concat!($move, " ", $vector, "3, [rdx + 96]"),
                    concat!($move, " ", $vector, "4, [rdx + 128]"),
                    concat!($move, " ", $vector, "5, [rdx + 160]"),
                    concat!($move, " ", $vector, "6, [rdx + 192]"),
                    concat!($move, " ", $vector, "7, [rdx + 224]"),
                    concat!($move, " ", $vector, "8, [rdx + 256]"),
                    concat!($move, " ", $vector, "9, [rdx + 288]"),
                    concat!($move, " ", $vector, "10, [rdx + 320]"),
                    concat!($move, " ", $vector, "11, [rdx + 352]"),
                    concat!($move, " ", $vector, "12, [rdx + 384]"),
                    concat!($move, " ", $vector, "13, [rdx + 416]"),
                    concat!($move, " ", $vector, "14, [rdx + 448]"),
                    concat!($move, " ", $vector, "15, [rdx + 480]"),
                    "mov rcx, [rdx + 512]",
                    "mov rbx, [rdx + 528]",
                    "mov rbp, [rdx + 536]",
                    "mov rsi, [rdx + 544]",
                    "mov rdi, [rdx + 552]",
                    "mov r8, [rdx + 560]",
                    "mov r9, [rdx + 568]",
                    "mov r10, [rdx + 576]",
                    "mov r11, [rdx + 584]",
                    "mov r12, [rdx + 592]",
                    "mov r13, [rdx + 600]",
                    "mov r14, [rdx + 608]",
                    "mov r15, [rdx + 616]",
                    "mov rdx, [rdx + 520]",
                    "call [rsp]",
                    "mov [rsp], rdx",
                    "mov rdx, [rsp + 8]",
                    "mov [rdx + 512], rcx",
                    "mov [rdx + 528], rbx",
                    "mov [rdx + 536], rbp",
                    "mov [rdx + 544], rsi",
                    "mov [rdx + 552], rdi",
                    "mov [rdx + 560], r8",
                    "mov [rdx + 568], r9",
                    "mov [rdx + 576], r10",
                    "mov [rdx + 584], r11",
                    "mov [rdx + 592], r12",
                    "mov [rdx + 600], r13",
                    "mov [rdx + 608], r14",
                    "mov [rdx + 616], r15",
                    "mov rcx, [rsp]",
                    "mov [rdx + 520], rcx",
                    concat!($move, " [rdx], ", $vector, "0"),
                    concat!($move, " [rdx + 32], ", $vector, "1"),
                    concat!($move, " [rdx + 64], ", $vector, "2"),
                    concat!($move, " [rdx + 96], ", $vector, "3"),
                    concat!($move, " [rdx + 128], ", $vector, "4"),
                    concat!($move, " [rdx + 160], ", $vector, "5"),
                    concat!($move, " [rdx + 192], ", $vector, "6"),
                    concat!($move, " [rdx + 224], ", $vector, "7"),
                    concat!($move, " [rdx + 256], ", $vector, "8"),
                    concat!($move, " [rdx + 288], ", $vector, "9"),
                    concat!($move, " [rdx + 320], ", $vector, "10"),
                    concat!($move, " [rdx + 352], ", $vector, "11"),
                    concat!($move, " [rdx + 384], ", $vector, "12"),
                    concat!($move, " [rdx + 416], ", $vector, "13"),
                    concat!($move, " [rdx + 448], ", $vector, "14"),
                    concat!($move, " [rdx + 480], ", $vector, "15"),
                    "mov rsp, [rsp + 16]",
                    "add rsp, 8",
                    "pop r15",
                    "pop r14",
                    "pop r13",
                    "pop r12",
                    "pop rbp",
                    "pop rbx",
                    "ret",
                )
            }
        };
    }

    define_probe!(probe_narrow, "movups", "xmm");
    define_probe!(probe_wide, "vmovups", "ymm");

    /// Calls `entry` with all registers loaded, on aligned and on misaligned stacks. Gives `rax`, and the registers before
    /// and after as far as the form keeps them.
    ///
    /// # Safety
    /// `entry` can be called with that `rax` and any other registers.
    pub(crate) unsafe fn call_with_registers(
        wide: bool,
        entry: usize,
        rax: usize,
        skew: usize,
    ) -> (usize, Registers, Registers) {
        let before = if wide { Registers::distinct() } else { Registers::distinct().narrow() };
        let mut after = before.clone();
        let probe = if wide { probe_wide } else { probe_narrow };
        // SAFETY: the caller's promise; the wide probe is used where AVX is.
        let result = unsafe { probe(rax, entry, &mut after, skew) };
        (result, before, after)
    }
}
