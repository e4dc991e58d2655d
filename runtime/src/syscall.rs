//! The system calls themselves, for those that rustix does not offer to a program without a C library.
//!
//! Convention: psABI, "AMD64 Linux Kernel Conventions": number in `rax`, arguments in `rdi rsi rdx r10 r8 r9`, result in
//! `rax`, where -4095 to -1 are negated error numbers (syscall(2)).

use core::arch::asm;
use core::ffi::{CStr, c_char, c_int, c_void};
use linux_raw_sys::general as sys;

/// An error number, as in errno(3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Errno(pub i32);

pub type Result<T = usize> = core::result::Result<T, Errno>;

/// One system call with up to six arguments; unused ones are 0.
///
/// # Safety
/// The arguments are what the call of that number requires.
#[inline]
pub unsafe fn syscall(number: u32, arguments: [usize; 6]) -> Result {
    let [a, b, c, d, e, f] = arguments;
    let result: usize;
    // SAFETY: the kernel clobbers rcx and r11 only; what it does to memory is the caller's promise.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number as usize => result,
            in("rdi") a, in("rsi") b, in("rdx") c, in("r10") d, in("r8") e, in("r9") f,
            lateout("rcx") _, lateout("r11") _,
            options(nostack),
        );
    }
    if result > -4096_isize as usize { Err(Errno((result as i32).wrapping_neg())) } else { Ok(result) }
}

/// Ends all threads: _exit(2).
pub fn exit_group(status: i32) -> ! {
    // SAFETY: takes no pointer and does not return; the loop only satisfies the type.
    unsafe {
        loop {
            let _ = syscall(sys::__NR_exit_group, [status as usize, 0, 0, 0, 0, 0]);
        }
    }
}

/// Sets the base of the `fs` segment, the thread pointer: arch_prctl(2), `ARCH_SET_FS`.
///
/// # Safety
/// `thread_pointer` is a thread control block whose first word is its own address.
pub unsafe fn set_thread_pointer(thread_pointer: *mut c_void) -> Result {
    const ARCH_SET_FS: usize = 0x1002;
    // SAFETY: the caller's promise.
    unsafe { syscall(sys::__NR_arch_prctl, [ARCH_SET_FS, thread_pointer as usize, 0, 0, 0, 0]) }
}

/// set_tid_address(2): where the kernel writes 0 when the thread ends. Gives the caller's thread id.
///
/// # Safety
/// `tid` stays valid as long as the thread lives.
pub unsafe fn set_tid_address(tid: *mut c_int) -> Result {
    // SAFETY: the caller's promise.
    unsafe { syscall(sys::__NR_set_tid_address, [tid as usize, 0, 0, 0, 0, 0]) }
}

/// set_robust_list(2).
///
/// # Safety
/// `head` is a `struct robust_list_head` of `length` bytes that stays valid as long as the thread lives.
pub unsafe fn set_robust_list(head: *mut c_void, length: usize) -> Result {
    // SAFETY: the caller's promise.
    unsafe { syscall(sys::__NR_set_robust_list, [head as usize, length, 0, 0, 0, 0]) }
}

/// rseq(2): registers the area of this thread; `signature` precedes each abort handler (x86: 0x53053053).
///
/// # Safety
/// `area` is a `struct rseq` of `length` bytes that stays valid as long as the thread lives.
pub unsafe fn rseq(area: *mut c_void, length: u32, flags: i32, signature: u32) -> Result {
    // SAFETY: the caller's promise.
    unsafe { syscall(sys::__NR_rseq, [area as usize, length as usize, flags as usize, signature as usize, 0, 0]) }
}

/// write(2).
pub fn write(descriptor: i32, bytes: &[u8]) -> Result {
    // SAFETY: the kernel only reads the slice.
    unsafe { syscall(sys::__NR_write, [descriptor as usize, bytes.as_ptr() as usize, bytes.len(), 0, 0, 0]) }
}

/// execve(2); returns only when it fails.
///
/// # Safety
/// `path` is a string, `argv` and `envp` arrays of strings ended by a null pointer.
pub unsafe fn execve(path: *const c_char, argv: *const *const c_char, envp: *const *const c_char) -> Errno {
    // SAFETY: the caller's promise.
    let result = unsafe { syscall(sys::__NR_execve, [path as usize, argv as usize, envp as usize, 0, 0, 0]) };
    result.err().unwrap_or(Errno(0))
}

/// getrandom(2): fills a prefix of the buffer and gives its length.
pub fn getrandom(buffer: &mut [u8], flags: u32) -> Result {
    // SAFETY: the kernel writes within the slice.
    unsafe { syscall(sys::__NR_getrandom, [buffer.as_mut_ptr() as usize, buffer.len(), flags as usize, 0, 0, 0]) }
}

/// futex(2), `FUTEX_WAIT_PRIVATE` without time limit: sleeps while the word is `value`. Private as libc's locks
/// are: a waiter of the one kind is not woken by the other.
pub fn futex_wait(word: &core::sync::atomic::AtomicU32, value: u32) -> Result {
    const FUTEX_WAIT_PRIVATE: usize = 128;
    // SAFETY: the word outlives the call.
    unsafe { syscall(sys::__NR_futex, [word.as_ptr() as usize, FUTEX_WAIT_PRIVATE, value as usize, 0, 0, 0]) }
}

/// As [`futex_wait`], for at most so many nanoseconds, fewer than a second.
pub fn futex_wait_for(word: &core::sync::atomic::AtomicU32, value: u32, nanoseconds: u32) -> Result {
    const FUTEX_WAIT_PRIVATE: usize = 128;
    let limit: [i64; 2] = [0, i64::from(nanoseconds)];
    let arguments = [word.as_ptr() as usize, FUTEX_WAIT_PRIVATE, value as usize, limit.as_ptr() as usize, 0, 0];
    // SAFETY: the word and the `struct timespec` outlive the call.
    unsafe { syscall(sys::__NR_futex, arguments) }
}

/// futex(2), `FUTEX_WAKE_PRIVATE`: wakes up to `count` waiters.
pub fn futex_wake(word: &core::sync::atomic::AtomicU32, count: u32) -> Result {
    const FUTEX_WAKE_PRIVATE: usize = 129;
    // SAFETY: the word outlives the call.
    unsafe { syscall(sys::__NR_futex, [word.as_ptr() as usize, FUTEX_WAKE_PRIVATE, count as usize, 0, 0, 0]) }
}

/// clock_gettime(2), `CLOCK_MONOTONIC`, in nanoseconds.
pub fn monotonic_time() -> u64 {
    const CLOCK_MONOTONIC: usize = 1;
    let mut time = [0_u64; 2];
    // SAFETY: the kernel writes a `struct timespec`.
    let _ = unsafe { syscall(sys::__NR_clock_gettime, [CLOCK_MONOTONIC, time.as_mut_ptr() as usize, 0, 0, 0, 0]) };
    time[0].wrapping_mul(1_000_000_000).wrapping_add(time[1])
}

/// getrusage(2) of the process: page faults that memory answered, and those that the disk did.
pub fn page_faults() -> (u64, u64) {
    const RUSAGE_SELF: usize = 0;
    let mut usage = [0_u64; 18];
    // SAFETY: the kernel writes a `struct rusage`, which is 144 bytes long.
    let _ = unsafe { syscall(sys::__NR_getrusage, [RUSAGE_SELF, usage.as_mut_ptr() as usize, 0, 0, 0, 0]) };
    (usage[8], usage[9])
}

/// mseal(2), Linux 6.10: forbids every later change of these mappings.
///
/// # Safety
/// Nobody needs to unmap or protect the range again.
pub unsafe fn mseal(address: usize, length: usize) -> Result {
    // SAFETY: the caller's promise.
    unsafe { syscall(sys::__NR_mseal, [address, length, 0, 0, 0, 0]) }
}

/// mmap(2): new private memory, zeroed, readable and writable.
pub fn map_memory(length: usize) -> Result<*mut u8> {
    let protection = sys::PROT_READ | sys::PROT_WRITE;
    let flags = sys::MAP_PRIVATE | sys::MAP_ANONYMOUS;
    // SAFETY: without MAP_FIXED no existing mapping is touched.
    let address = unsafe { syscall(sys::__NR_mmap, [0, length, protection as usize, flags as usize, usize::MAX, 0]) }?;
    Ok(address as *mut u8)
}

/// prctl(2), `PR_SET_VMA_ANON_NAME`: names an anonymous mapping.
pub fn name_memory(address: *mut u8, length: usize, name: &CStr) -> Result {
    const PR_SET_VMA: usize = 0x5356_4d41;
    const PR_SET_VMA_ANON_NAME: usize = 0;
    let arguments = [PR_SET_VMA, PR_SET_VMA_ANON_NAME, address as usize, length, name.as_ptr() as usize, 0];
    // SAFETY: the kernel reads the name and changes no memory.
    unsafe { syscall(sys::__NR_prctl, arguments) }
}

/// munmap(2).
///
/// # Safety
/// Nobody uses the range afterwards.
pub unsafe fn unmap_memory(address: *mut u8, length: usize) -> Result {
    // SAFETY: the caller's promise.
    unsafe { syscall(sys::__NR_munmap, [address as usize, length, 0, 0, 0, 0]) }
}

/// mremap(2) with `MREMAP_MAYMOVE`.
///
/// # Safety
/// The range is a whole mapping of the caller, which from now on uses it at the new address only.
pub unsafe fn remap_memory(address: *mut u8, length: usize, new_length: usize) -> Result<*mut u8> {
    let flags = sys::MREMAP_MAYMOVE as usize;
    // SAFETY: the caller's promise.
    let address = unsafe { syscall(sys::__NR_mremap, [address as usize, length, new_length, flags, 0, 0]) }?;
    Ok(address as *mut u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_error_numbers() {
        assert_eq!(write(-1, b"x"), Err(Errno(9)));
    }

    #[test]
    fn memory_is_zero_and_keeps_its_bytes_when_it_moves() {
        let first = map_memory(4096).unwrap();
        // SAFETY: the page is this test's own until it is unmapped.
        unsafe {
            assert_eq!(*first, 0);
            *first.add(4095) = 7;
            let second = remap_memory(first, 4096, 1 << 20).unwrap();
            assert_eq!((*second.add(4095), *second.add(4096)), (7, 0));
            unmap_memory(second, 1 << 20).unwrap();
        }
    }

    #[test]
    fn getrandom_fills() {
        let mut bytes = [0; 32];
        assert_eq!(getrandom(&mut bytes, 0), Ok(32));
        assert_ne!(bytes, [0; 32]);
    }
}
