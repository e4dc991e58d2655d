//! Signal handlers as the kernel knows them: what is set, and what a handler is told (rt_sigaction(2), sigreturn(2)).
//!
//! # Safety
//! A handler runs in the middle of anything. What it may do stands at [`set_handler`].

use core::arch::naked_asm;

use linux_raw_sys::general as sys;

use crate::syscall::{Result, syscall};

/// The kernel's `struct sigaction`, which is not the C library's.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Action {
    handler: usize,
    flags: usize,
    restorer: usize,
    mask: u64,
}

impl Action {
    /// `SIG_DFL`.
    pub const DEFAULT: Action = Action { handler: 0, flags: 0, restorer: 0, mask: 0 };
}

/// What a handler is told of an access that failed.
#[derive(Clone, Copy, Debug)]
pub struct Access {
    pub address: usize,
    /// The instruction that made it.
    pub instruction: usize,
}

/// Bytes of a `sigset_t` of the kernel's.
const MASK_SIZE: usize = 8;
/// `siginfo_t.si_addr`, and `ucontext_t.uc_mcontext.gregs[REG_RIP]`.
const SI_ADDR: usize = 16;
const REG_RIP: usize = 40 + 8 * 16;

/// Has `handler` called for a signal that a failed access brings; gives what was set before. When the handler returns, the
/// access is made again.
///
/// # Safety
/// The handler makes no use of what the interrupted code may be changing.
pub unsafe fn set_handler(signal: u32, handler: extern "C" fn(u32, *const u8, *const u8)) -> Result<Action> {
    let action = Action {
        handler: handler as *const () as usize,
        flags: (sys::SA_SIGINFO | sys::SA_RESTORER) as usize,
        restorer: return_from_handler as *const () as usize,
        mask: 0,
    };
    // SAFETY: the caller's promise; the restorer is the kernel's way back.
    unsafe { set(signal, &action) }
}

/// Sets what [`set_handler`] gave, or the default.
///
/// # Safety
/// The action was set before, or is the default.
pub unsafe fn set(signal: u32, action: &Action) -> Result<Action> {
    let mut before = Action::DEFAULT;
    let arguments = [signal as usize, (&raw const *action) as usize, (&raw mut before) as usize, MASK_SIZE, 0, 0];
    // SAFETY: the kernel reads the one structure and fills in the other.
    unsafe { syscall(sys::__NR_rt_sigaction, arguments) }?;
    Ok(before)
}

/// What the arguments of a handler say.
///
/// # Safety
/// They are those that the kernel gave it.
pub unsafe fn access(info: *const u8, context: *const u8) -> Access {
    // SAFETY: both fields lie in the kernel's structures.
    unsafe {
        Access {
            address: info.add(SI_ADDR).cast::<usize>().read(),
            instruction: context.add(REG_RIP).cast::<usize>().read(),
        }
    }
}

/// What a handler returns to: rt_sigreturn(2).
// SAFETY: only the kernel has the address, and makes a handler return here on the stack that rt_sigreturn(2) takes down.
#[unsafe(naked)]
unsafe extern "C" fn return_from_handler() {
    naked_asm!("mov eax, {number}", "syscall", "ud2", number = const sys::__NR_rt_sigreturn)
}

/// Whether the eight bytes at `address` can be read: asks the kernel, which answers where this process would be ended.
///
/// rt_sigprocmask(2) copies the mask, if its address is not 0, before it looks at what is to be done with it, and a value that
/// stands for nothing changes nothing.
pub fn is_readable(address: usize) -> bool {
    const EFAULT: i32 = 14;
    const NOTHING: usize = usize::MAX;
    // SAFETY: no mask is set, and none is asked for.
    let result = unsafe { syscall(sys::__NR_rt_sigprocmask, [NOTHING, address, 0, MASK_SIZE, 0, 0]) };
    address != 0 && result.err().is_none_or(|errno| errno.0 != EFAULT)
}

#[cfg(test)]
mod tests {
    use core::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::syscall::{map_memory, unmap_memory};

    static SEEN: AtomicUsize = AtomicUsize::new(0);

    /// Makes the page that could not be read one that can.
    extern "C" fn mend(_: u32, info: *const u8, context: *const u8) {
        // SAFETY: the kernel's arguments.
        let access = unsafe { access(info, context) };
        assert_ne!(access.instruction, 0);
        SEEN.store(access.address, Ordering::Relaxed);
        let arguments = [access.address & !4095, 4096, sys::PROT_READ as usize, 0, 0, 0];
        // SAFETY: a page of the test's own.
        unsafe { syscall(sys::__NR_mprotect, arguments) }.unwrap();
    }

    #[test]
    fn a_handler_learns_the_address_and_what_was_set_comes_back() {
        let page = map_memory(4096).unwrap();
        // SAFETY: the page is this test's, and no other test of this process faults.
        unsafe {
            syscall(sys::__NR_mprotect, [page as usize, 4096, 0, 0, 0, 0]).unwrap();
            assert!(!is_readable(page as usize) && !is_readable(0));
            let before = set_handler(sys::SIGSEGV, mend).unwrap();
            assert_eq!(page.add(24).cast::<u64>().read_volatile(), 0);
            assert_eq!(SEEN.load(Ordering::Relaxed), page as usize + 24);
            let ours = set(sys::SIGSEGV, &before).unwrap();
            assert_eq!(ours.handler, mend as *const () as usize);
            assert!(is_readable(page as usize));
            unmap_memory(page, 4096).unwrap();
        }
    }
}
