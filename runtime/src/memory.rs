//! The C functions on memory that compiled Rust calls by name: `memcpy memmove memset memcmp bcmp strlen`.
//!
//! They are assembly from end to end, because a compiler that meets a copying loop replaces it by a call of `memcpy`,
//! also inside `memcpy`. They use SSE2, which every x86-64 processor has, and above a threshold the string
//! instructions, which the processors of the last ten years run at the full width of the cache. No CPUID is asked
//! for better: here the usual length is that of a name, and in a virtual machine one CPUID costs more than all copies
//! of a start.
//!
//! `strlen` has a second purpose: valgrind redirects it by name, and starts no program whose interpreter lacks it.
//!
//! Semantics: ISO C, 7.24 (string.h). `memcpy` is `memmove`: an overlap costs one comparison.

use core::arch::naked_asm;
use core::ffi::{c_char, c_int};

/// Copies `n` bytes between places that may overlap; gives `dest`.
///
/// Up to 64 bytes, everything is loaded before anything is stored, from both ends towards the middle. Above, the copy
/// runs upwards unless `dest` lies inside `src .. src + n`.
///
/// # Safety
/// ISO C, 7.24.2.2.
// SAFETY: it reads the `n` bytes at `src` and writes those at `dest`, and no others.
#[unsafe(naked)]
#[cfg_attr(not(test), unsafe(no_mangle))]
pub unsafe extern "C" fn memmove(dest: *mut u8, src: *const u8, n: usize) -> *mut u8 {
    naked_asm!(
        ".cfi_startproc",
        "mov rax, rdi",
        "cmp rdx, 16",
        "jb 22f",
        "cmp rdx, 32",
        "ja 20f",
        "movups xmm0, [rsi]",
        "movups xmm1, [rsi + rdx - 16]",
        "movups [rdi], xmm0",
        "movups [rdi + rdx - 16], xmm1",
        "ret",
        "20:",
        "cmp rdx, 64",
        "ja 30f",
        "movups xmm0, [rsi]",
        "movups xmm1, [rsi + 16]",
        "movups xmm2, [rsi + rdx - 32]",
        "movups xmm3, [rsi + rdx - 16]",
        "movups [rdi], xmm0",
        "movups [rdi + 16], xmm1",
        "movups [rdi + rdx - 32], xmm2",
        "movups [rdi + rdx - 16], xmm3",
        "ret",
        // Fewer than 16 bytes: two words of the largest power of two that fits, overlapping in the middle.
        "22:",
        "cmp edx, 8",
        "jb 24f",
        "mov rcx, [rsi]",
        "mov r8, [rsi + rdx - 8]",
        "mov [rdi], rcx",
        "mov [rdi + rdx - 8], r8",
        "ret",
        "24:",
        "cmp edx, 4",
        "jb 25f",
        "mov ecx, [rsi]",
        "mov r8d, [rsi + rdx - 4]",
        "mov [rdi], ecx",
        "mov [rdi + rdx - 4], r8d",
        "ret",
        "25:",
        "cmp edx, 2",
        "jb 26f",
        "movzx ecx, word ptr [rsi]",
        "movzx r8d, byte ptr [rsi + rdx - 1]",
        "mov [rdi], cx",
        "mov [rdi + rdx - 1], r8b",
        "ret",
        "26:",
        "test edx, edx",
        "jz 27f",
        "movzx ecx, byte ptr [rsi]",
        "mov [rdi], cl",
        "27:",
        "ret",
        // More than 64 bytes.
        "30:",
        "mov rcx, rdi",
        "sub rcx, rsi",
        "cmp rcx, rdx",
        "jb 40f",
        // Upwards. The last 16 bytes are loaded first, in case a store reaches them.
        "cmp rdx, 1024",
        "jae 35f",
        "movups xmm4, [rsi + rdx - 16]",
        "lea r8, [rdi + rdx - 16]",
        "32:",
        "movups xmm0, [rsi]",
        "movups xmm1, [rsi + 16]",
        "add rsi, 32",
        "movups [rdi], xmm0",
        "movups [rdi + 16], xmm1",
        "add rdi, 32",
        "sub rdx, 32",
        "cmp rdx, 32",
        "ja 32b",
        "cmp rdx, 16",
        "jbe 33f",
        "movups xmm0, [rsi]",
        "movups [rdi], xmm0",
        "33:",
        "movups [r8], xmm4",
        "ret",
        "35:",
        "mov rcx, rdx",
        "rep movsb",
        "ret",
        // Downwards, the first 16 bytes loaded first.
        "40:",
        "movups xmm4, [rsi]",
        "42:",
        "movups xmm0, [rsi + rdx - 16]",
        "movups xmm1, [rsi + rdx - 32]",
        "movups [rdi + rdx - 16], xmm0",
        "movups [rdi + rdx - 32], xmm1",
        "sub rdx, 32",
        "cmp rdx, 32",
        "ja 42b",
        "cmp rdx, 16",
        "jbe 43f",
        "movups xmm0, [rsi + rdx - 16]",
        "movups [rdi + rdx - 16], xmm0",
        "43:",
        "movups [rax], xmm4",
        "ret",
        ".cfi_endproc",
    )
}

/// Copies `n` bytes; gives `dest`.
///
/// # Safety
/// ISO C, 7.24.2.1.
// SAFETY: `memmove` asks less than the standard does of callers of `memcpy`.
#[unsafe(naked)]
#[cfg_attr(not(test), unsafe(no_mangle))]
pub unsafe extern "C" fn memcpy(dest: *mut u8, src: *const u8, n: usize) -> *mut u8 {
    naked_asm!(".cfi_startproc", "jmp {memmove}", ".cfi_endproc", memmove = sym memmove)
}

/// Sets `n` bytes to the low byte of `c`; gives `dest`.
///
/// # Safety
/// ISO C, 7.24.6.1.
// SAFETY: it stores within the `n` bytes at `dest`, which the caller may write.
#[unsafe(naked)]
#[cfg_attr(not(test), unsafe(no_mangle))]
pub unsafe extern "C" fn memset(dest: *mut u8, c: c_int, n: usize) -> *mut u8 {
    naked_asm!(
        ".cfi_startproc",
        "mov rax, rdi",
        "movzx ecx, sil",
        "mov r8, 0x0101010101010101",
        "imul rcx, r8",
        "cmp rdx, 16",
        "jb 22f",
        "cmp rdx, 1024",
        "jae 35f",
        "movq xmm0, rcx",
        "punpcklqdq xmm0, xmm0",
        "lea r8, [rdi + rdx - 16]",
        // Whole vectors from the start, then one that ends at the end.
        "20:",
        "movups [rdi], xmm0",
        "add rdi, 16",
        "cmp rdi, r8",
        "jb 20b",
        "movups [r8], xmm0",
        "ret",
        "22:",
        "cmp edx, 8",
        "jb 24f",
        "mov [rdi], rcx",
        "mov [rdi + rdx - 8], rcx",
        "ret",
        "24:",
        "cmp edx, 4",
        "jb 25f",
        "mov [rdi], ecx",
        "mov [rdi + rdx - 4], ecx",
        "ret",
        "25:",
        "test edx, edx",
        "jz 26f",
        "mov [rdi], cl",
        "mov [rdi + rdx - 1], cl",
        "shr edx, 1",
        "mov [rdi + rdx], cl",
        "26:",
        "ret",
        "35:",
        "mov r8, rax",
        "movzx eax, sil",
        "mov rcx, rdx",
        "rep stosb",
        "mov rax, r8",
        "ret",
        ".cfi_endproc",
    )
}

/// Compares `n` bytes as unsigned numbers; gives the difference of the first that differ, or 0.
///
/// # Safety
/// ISO C, 7.24.4.1.
// SAFETY: it reads within the `n` bytes at each, which the caller may read.
#[unsafe(naked)]
#[cfg_attr(not(test), unsafe(no_mangle))]
pub unsafe extern "C" fn memcmp(a: *const u8, b: *const u8, n: usize) -> c_int {
    naked_asm!(
        ".cfi_startproc",
        "cmp rdx, 16",
        "jb 22f",
        "lea r8, [rdx - 16]",
        "xor ecx, ecx",
        // Vectors at 0, 16, … and a last one that ends at the end; rcx is the vector's place.
        "20:",
        "cmp rcx, r8",
        "cmova rcx, r8",
        "movups xmm0, [rdi + rcx]",
        "movups xmm1, [rsi + rcx]",
        "pcmpeqb xmm0, xmm1",
        "pmovmskb eax, xmm0",
        "xor eax, 0xffff",
        "jnz 21f",
        "add rcx, 16",
        "cmp rcx, rdx",
        "jb 20b",
        "ret",
        "21:",
        "bsf eax, eax",
        "add rcx, rax",
        "movzx eax, byte ptr [rdi + rcx]",
        "movzx ecx, byte ptr [rsi + rcx]",
        "sub eax, ecx",
        "ret",
        // 8 to 15 bytes: two big-endian words, overlapping in the middle.
        "22:",
        "cmp edx, 8",
        "jb 24f",
        "mov rax, [rdi]",
        "mov rcx, [rsi]",
        "cmp rax, rcx",
        "jne 23f",
        "mov rax, [rdi + rdx - 8]",
        "mov rcx, [rsi + rdx - 8]",
        "cmp rax, rcx",
        "jne 23f",
        "xor eax, eax",
        "ret",
        "23:",
        "bswap rax",
        "bswap rcx",
        "cmp rax, rcx",
        "sbb eax, eax",
        "or eax, 1",
        "ret",
        "24:",
        "xor ecx, ecx",
        "25:",
        "cmp ecx, edx",
        "jae 26f",
        "movzx eax, byte ptr [rdi + rcx]",
        "movzx r8d, byte ptr [rsi + rcx]",
        "inc ecx",
        "sub eax, r8d",
        "jz 25b",
        "ret",
        "26:",
        "xor eax, eax",
        "ret",
        ".cfi_endproc",
    )
}

/// Compares `n` bytes; gives 0 when they are equal.
///
/// # Safety
/// bcmp(3).
// SAFETY: `memcmp` asks no more than bcmp(3) does.
#[unsafe(naked)]
#[cfg_attr(not(test), unsafe(no_mangle))]
pub unsafe extern "C" fn bcmp(a: *const u8, b: *const u8, n: usize) -> c_int {
    naked_asm!(".cfi_startproc", "jmp {memcmp}", ".cfi_endproc", memcmp = sym memcmp)
}

/// The number of bytes before the first 0.
///
/// Reads whole aligned vectors: none of them leaves the page of a byte that belongs to the string.
///
/// # Safety
/// ISO C, 7.24.6.3.
// SAFETY: each vector that it reads lies in a page that holds a byte of the string or its end.
#[unsafe(naked)]
#[cfg_attr(not(test), unsafe(no_mangle))]
pub unsafe extern "C" fn strlen(s: *const c_char) -> usize {
    naked_asm!(
        ".cfi_startproc",
        "mov ecx, edi",
        "mov rax, rdi",
        "and rax, -16",
        "and ecx, 15",
        "pxor xmm0, xmm0",
        "movaps xmm1, [rax]",
        "pcmpeqb xmm1, xmm0",
        "pmovmskb edx, xmm1",
        "shr edx, cl",
        "test edx, edx",
        "jnz 21f",
        "20:",
        "add rax, 16",
        "movaps xmm1, [rax]",
        "pcmpeqb xmm1, xmm0",
        "pmovmskb edx, xmm1",
        "test edx, edx",
        "jz 20b",
        "bsf edx, edx",
        "add rax, rdx",
        "sub rax, rdi",
        "ret",
        "21:",
        "bsf eax, edx",
        "ret",
        ".cfi_endproc",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lengths around each border of the code.
    fn lengths() -> impl Iterator<Item = usize> {
        (0..=200).chain([255, 256, 511, 512, 1000, 1022, 1023, 1024, 1025, 1500, 4096, 5000])
    }

    fn pattern(length: usize) -> Vec<u8> {
        (0..length).map(|index| (index * 31 + index / 251) as u8).collect()
    }

    #[test]
    fn copies_at_every_alignment_and_overlap() {
        for n in lengths() {
            for distance in [0usize, 1, 3, 8, 15, 16, 17, 31, 33, 64, 100, 1024] {
                for (from, to) in [(7, 7 + distance), (7 + distance, 7)] {
                    let mut bytes = pattern(n + distance + 32);
                    let mut expected = bytes.clone();
                    expected.copy_within(from..from + n, to);
                    let base = bytes.as_mut_ptr();
                    // SAFETY: both ranges lie in `bytes`.
                    let result = unsafe { memmove(base.add(to), base.add(from), n) };
                    assert_eq!(result, base.wrapping_add(to));
                    assert!(bytes == expected, "{n} bytes, from {from} to {to}");
                }
            }
            let (source, mut target) = (pattern(n + 3), vec![0xee; n + 8]);
            // SAFETY: both ranges lie in their vectors.
            unsafe { memcpy(target.as_mut_ptr().add(5), source.as_ptr().add(3), n) };
            assert_eq!(target[5..5 + n], source[3..3 + n]);
            assert_eq!((&target[..5], &target[5 + n..]), (&[0xee; 5][..], &[0xee; 3][..]));
        }
    }

    #[test]
    fn sets_just_the_range() {
        for n in lengths() {
            for start in 0..17 {
                let mut bytes = vec![0x11; n + 40];
                // SAFETY: the range lies in `bytes`.
                let result = unsafe { memset(bytes.as_mut_ptr().add(start), 0x1_a5, n) };
                assert_eq!(result, bytes.as_mut_ptr().wrapping_add(start));
                let expected = [vec![0x11; start], vec![0xa5; n], vec![0x11; 40 - start]].concat();
                assert!(bytes == expected, "{n} bytes at {start}");
            }
        }
    }

    #[test]
    fn compares_by_the_first_unsigned_difference() {
        for n in lengths() {
            let a = pattern(n);
            let mut b = a.clone();
            // SAFETY: both vectors have n bytes.
            let compare = |a: &[u8], b: &[u8]| unsafe { memcmp(a.as_ptr(), b.as_ptr(), n).signum() };
            assert_eq!(compare(&a, &b), 0);
            for place in 0..n.min(1100) {
                b[place] = a[place].wrapping_add(128);
                // A later difference of the opposite sign must not count.
                if let Some(last) = b.last_mut().filter(|_| place + 1 < n) {
                    *last = if a[place] < 128 { 0 } else { 255 };
                }
                let expected = a.as_slice().cmp(b.as_slice()) as i32;
                assert_eq!((compare(&a, &b), compare(&b, &a)), (expected, -expected), "{n} bytes at {place}");
                b.copy_from_slice(&a);
            }
        }
    }

    #[test]
    fn strlen_stays_within_the_page() {
        let page = crate::syscall::map_memory(8192).unwrap();
        // SAFETY: the second page is unmapped, so that a read beyond the first is a crash; every string ends before it.
        unsafe {
            crate::syscall::unmap_memory(page.add(4096), 4096).unwrap();
            memset(page, b'x'.into(), 4096);
            *page.add(4095) = 0;
            for start in (0..4096).rev().filter(|start| *start > 3900 || start % 7 == 0) {
                assert_eq!(strlen(page.add(start).cast()), 4095 - start);
            }
            *page.add(3) = 0;
            assert_eq!((strlen(page.cast()), strlen(page.add(3).cast()), strlen(page.add(2).cast())), (3, 0, 1));
            crate::syscall::unmap_memory(page, 4096).unwrap();
        }
    }
}
