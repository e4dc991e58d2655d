//! Non-local exit: leaves an operation from any depth, over frames that are not ours.
//!
//! From glibc 2.37 on, libc hands the loader a function that may raise an error inside the loader, and expects the raise
//! to come out of `_dl_catch_exception` (*glibc elf/dl-catch.c*). The frames between are libc's and the loader's; they
//! are not unwound, only left, as setjmp(3) and longjmp(3) do it without the signal mask. So nobody between a raise and its
//! catch may hold a lock or a value with a destructor.
//!
//! # Safety
//! Assembly that changes the stack pointer. What callers promise stands at each function.

use core::arch::naked_asm;
use core::ffi::c_void;
use core::mem::offset_of;

/// Where [`throw`] goes back to: the stack of a [`catch`] under way, on which that call has saved its caller's
/// registers, and the control words that a callee must preserve (psABI, "Registers").
#[repr(C)]
#[derive(Debug, Default)]
pub struct CatchFrame {
    stack_pointer: usize,
    mxcsr: u32,
    control_word: u16,
}

/// Runs `operation(argument)`. Gives 0 when it returned, and what [`throw`] was given when it was left by that.
///
/// Stack, from the frame's stack pointer upwards: padding, `r15 r14 r13 r12 rbx rbp`, return address.
///
/// # Safety
/// `operation` may be called with `argument`; `frame` is writable, stays so during the operation, and is not used for a
/// throw after this call has returned.
// SAFETY: what the psABI has a callee preserve is saved, and restored on both ways back.
#[unsafe(naked)]
pub unsafe extern "C" fn catch(
    operation: unsafe extern "C" fn(*mut c_void),
    argument: *mut c_void,
    frame: *mut CatchFrame,
) -> usize {
    naked_asm!(
        ".cfi_startproc",
        "push rbp",
        ".cfi_adjust_cfa_offset 8",
        ".cfi_rel_offset rbp, 0",
        "push rbx",
        ".cfi_adjust_cfa_offset 8",
        ".cfi_rel_offset rbx, 0",
        "push r12",
        ".cfi_adjust_cfa_offset 8",
        ".cfi_rel_offset r12, 0",
        "push r13",
        ".cfi_adjust_cfa_offset 8",
        ".cfi_rel_offset r13, 0",
        "push r14",
        ".cfi_adjust_cfa_offset 8",
        ".cfi_rel_offset r14, 0",
        "push r15",
        ".cfi_adjust_cfa_offset 8",
        ".cfi_rel_offset r15, 0",
        "sub rsp, 8",
        ".cfi_adjust_cfa_offset 8",
        "mov [rdx + {stack_pointer}], rsp",
        "stmxcsr [rdx + {mxcsr}]",
        "fnstcw [rdx + {control_word}]",
        "mov rax, rdi",
        "mov rdi, rsi",
        "call rax",
        // The operation has preserved the registers: only the stack is taken down.
        "add rsp, 56",
        ".cfi_adjust_cfa_offset -56",
        ".cfi_restore rbx",
        ".cfi_restore r12",
        ".cfi_restore r13",
        ".cfi_restore r14",
        ".cfi_restore r15",
        "xor eax, eax",
        ".cfi_restore rbp",
        "ret",
        ".cfi_endproc",
        stack_pointer = const offset_of!(CatchFrame, stack_pointer),
        mxcsr = const offset_of!(CatchFrame, mxcsr),
        control_word = const offset_of!(CatchFrame, control_word),
    )
}

/// Makes the [`catch`] that fills `frame` return `value`.
///
/// # Safety
/// That call is under way in this thread, and no frame between holds a lock or a destructor. `value` is not 0.
// SAFETY: with the call under way, its frame is on the stack as `catch` left it, return address included.
#[unsafe(naked)]
pub unsafe extern "C" fn throw(frame: *const CatchFrame, value: usize) -> ! {
    naked_asm!(
        ".cfi_startproc",
        "ldmxcsr [rdi + {mxcsr}]",
        "fnclex",
        "fldcw [rdi + {control_word}]",
        "mov rax, rsi",
        "mov rsp, [rdi + {stack_pointer}]",
        ".cfi_def_cfa rsp, 64",
        ".cfi_rel_offset rbp, 48",
        ".cfi_rel_offset rbx, 40",
        ".cfi_rel_offset r12, 32",
        ".cfi_rel_offset r13, 24",
        ".cfi_rel_offset r14, 16",
        ".cfi_rel_offset r15, 8",
        "mov r15, [rsp + 8]",
        "mov r14, [rsp + 16]",
        "mov r13, [rsp + 24]",
        "mov r12, [rsp + 32]",
        "mov rbx, [rsp + 40]",
        "mov rbp, [rsp + 48]",
        "add rsp, 56",
        ".cfi_def_cfa_offset 8",
        ".cfi_restore rbp",
        ".cfi_restore rbx",
        ".cfi_restore r12",
        ".cfi_restore r13",
        ".cfi_restore r14",
        ".cfi_restore r15",
        "ret",
        ".cfi_endproc",
        stack_pointer = const offset_of!(CatchFrame, stack_pointer),
        mxcsr = const offset_of!(CatchFrame, mxcsr),
        control_word = const offset_of!(CatchFrame, control_word),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::arch::asm;

    struct Descent {
        frame: *mut CatchFrame,
        depth: usize,
        reached: usize,
    }

    /// Goes down, spoils every callee-saved register and control word, and throws at the bottom if there is a frame.
    // SAFETY: the tests alone call, with a Descent whose frame is null or that of a catch under way.
    unsafe extern "C" fn descend(descent: *mut c_void) {
        // SAFETY: the tests' Descent; a frame that is not null is that of a catch under way.
        unsafe {
            let descent = &mut *descent.cast::<Descent>();
            descent.reached += 1;
            if descent.reached < descent.depth {
                descend((&raw mut *descent).cast());
                descent.reached += 1000;
            } else if !descent.frame.is_null() {
                let (mxcsr, control_word) = (0x3f80_u32, 0x0f7f_u16);
                asm!(
                    "ldmxcsr [{mxcsr}]", "fldcw [{word}]",
                    "mov rbx, -1", "mov r12, -1", "mov r13, -1", "mov r14, -1", "mov r15, -1", "mov rbp, -1",
                    "mov esi, 42", "and rsp, -16", "call {throw}",
                    mxcsr = in(reg) &mxcsr, word = in(reg) &control_word, in("rdi") descent.frame, throw = sym throw,
                    options(noreturn),
                );
            }
        }
    }

    /// Calls `catch` with known values in the callee-saved registers; gives its result and their sum afterwards.
    fn catch_with_registers(descent: &mut Descent, frame: *mut CatchFrame) -> (usize, usize) {
        let (result, sum): (usize, usize);
        // SAFETY: `descend` takes a Descent; the registers are restored, and everything else is declared.
        unsafe {
            asm!(
                "push rbx", "push rbp",
                "mov ebx, 1", "mov ebp, 2", "mov r12d, 4", "mov r13d, 8", "mov r14d, 16", "mov r15d, 32",
                "call {catch}",
                "lea rcx, [rbx + rbp]", "add rcx, r12", "add rcx, r13", "add rcx, r14", "add rcx, r15",
                "pop rbp", "pop rbx",
                catch = sym catch,
                inlateout("rdi") descend as *const () => _, inlateout("rsi") &raw mut *descent => _,
                inlateout("rdx") frame => _, lateout("rax") result, lateout("rcx") sum,
                out("r12") _, out("r13") _, out("r14") _, out("r15") _, clobber_abi("C"),
            );
        }
        (result, sum)
    }

    fn control_words() -> (u32, u16) {
        let (mut mxcsr, mut word) = (0_u32, 0_u16);
        // SAFETY: both instructions store into the two variables.
        unsafe { asm!("stmxcsr [{}]", "fnstcw [{}]", in(reg) &mut mxcsr, in(reg) &mut word) };
        // The sticky flags of mxcsr are not control bits.
        (mxcsr & !0x3f, word)
    }

    #[test]
    fn an_operation_that_returns_gives_0() {
        let mut frame = CatchFrame::default();
        let mut descent = Descent { frame: core::ptr::null_mut(), depth: 5, reached: 0 };
        assert_eq!(catch_with_registers(&mut descent, &mut frame), (0, 63));
        assert_eq!(descent.reached, 4005);
    }

    #[test]
    fn a_throw_restores_stack_registers_and_control_words() {
        let before = control_words();
        for depth in 1..50 {
            let mut frame = CatchFrame::default();
            let pointer = &raw mut frame;
            let mut descent = Descent { frame: pointer, depth, reached: 0 };
            assert_eq!(catch_with_registers(&mut descent, pointer), (42, 63));
            assert_eq!(descent.reached, depth);
            assert_eq!(control_words(), before);
        }
    }

    #[test]
    fn catches_nest() {
        // SAFETY: called with the frame of the catch around it.
        unsafe extern "C" fn outer(outer_frame: *mut c_void) {
            let mut frame = CatchFrame::default();
            let pointer = &raw mut frame;
            let mut descent = Descent { frame: pointer, depth: 3, reached: 0 };
            // SAFETY: the inner frame is filled by this catch, the outer one by the test's.
            unsafe {
                assert_eq!(catch(descend, (&raw mut descent).cast(), pointer), 42);
                throw(outer_frame.cast(), 7);
            }
        }
        let mut frame = CatchFrame::default();
        let pointer = &raw mut frame;
        // SAFETY: as above.
        assert_eq!(unsafe { catch(outer, pointer.cast(), pointer) }, 7);
    }
}
