//! Applies the interpreter's own relocations, before which no address constant in its data is true.
//!
//! The interpreter is linked with `-Bsymbolic -z defs -z text` and exports only symbols that it defines, so all that is
//! left are `R_X86_64_RELATIVE` relocations, plain (gABI, "Relocation") or packed (`DT_RELR`), whose formula is *B + A*.
//!
//! # Safety
//! The code obeys rules that the compiler does not check: no reference, no static, no panic, no call, no table of
//! addresses, hence nothing that could pass through the GOT or read unrelocated data. Whatever is not expected ends in
//! `ud2`, because there is nobody to tell it to. `Cargo.toml` compiles this crate without debug assertions even in
//! development builds for the same reason.

use core::arch::asm;

/// `Elf64_Dyn`, read by value only.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Dynamic {
    tag: usize,
    value: usize,
}

/// `Elf64_Rela`, read by value only.
#[repr(C)]
#[derive(Clone, Copy)]
struct Rela {
    offset: usize,
    info: usize,
    addend: usize,
}

const DT_NULL: usize = 0;
const DT_PLTRELSZ: usize = 2;
const DT_RELA: usize = 7;
const DT_RELASZ: usize = 8;
const DT_RELSZ: usize = 18;
const DT_RELRSZ: usize = 35;
const DT_RELR: usize = 36;
const R_X86_64_RELATIVE: usize = 8;

fn trap() -> ! {
    // SAFETY: `ud2` stops the process by SIGILL.
    unsafe { asm!("ud2", options(noreturn, nomem, nostack)) }
}

/// The value of the first entry with that tag, or 0. One loop a tag: a choice among many tags would become a table.
///
/// # Safety
/// `dynamic` is a dynamic array, ended by `DT_NULL`.
unsafe fn value_of(wanted: usize, mut dynamic: *const Dynamic) -> usize {
    loop {
        // SAFETY: the array lasts to DT_NULL, which ends the loop.
        let Dynamic { tag, value } = unsafe { *dynamic };
        if tag == wanted {
            return value;
        }
        if tag == DT_NULL {
            return 0;
        }
        dynamic = dynamic.wrapping_add(1);
    }
}

/// Adds the load bias to every word that the link editor marked.
///
/// # Safety
/// `base` is where the object's address 0 is mapped and `dynamic` its dynamic array, ended by `DT_NULL`; nothing has
/// been relocated yet, and no other thread exists.
pub(crate) unsafe extern "C" fn relocate_self(base: usize, dynamic: *const Dynamic) {
    // SAFETY: the caller's promise.
    let (rela, rela_size, relr, relr_size, others) = unsafe {
        (
            value_of(DT_RELA, dynamic),
            value_of(DT_RELASZ, dynamic),
            value_of(DT_RELR, dynamic),
            value_of(DT_RELRSZ, dynamic),
            value_of(DT_PLTRELSZ, dynamic) | value_of(DT_RELSZ, dynamic),
        )
    };
    if others != 0 {
        trap();
    }

    let mut entry = base.wrapping_add(rela) as *const Rela;
    let end = base.wrapping_add(rela).wrapping_add(rela_size) as *const Rela;
    while entry < end {
        // SAFETY: within DT_RELA's table.
        let Rela { offset, info, addend } = unsafe { *entry };
        if info != R_X86_64_RELATIVE {
            trap();
        }
        // SAFETY: the link editor put the relocation on a writable word of this object.
        unsafe { *(base.wrapping_add(offset) as *mut usize) = base.wrapping_add(addend) };
        entry = entry.wrapping_add(1);
    }

    // gABI, "Relative Relocation Table": an even entry is the address of one word; an odd one is a bitmap of the 63
    // words that follow the last one.
    let mut entry = base.wrapping_add(relr) as *const usize;
    let end = base.wrapping_add(relr).wrapping_add(relr_size) as *const usize;
    let mut place = base as *mut usize;
    while entry < end {
        // SAFETY: within DT_RELR's table.
        let value = unsafe { *entry };
        if value & 1 == 0 {
            place = base.wrapping_add(value) as *mut usize;
            // SAFETY: as above, a writable word of this object.
            unsafe { *place = (*place).wrapping_add(base) };
            place = place.wrapping_add(1);
        } else {
            let mut bitmap = value >> 1;
            let mut word = place;
            while bitmap != 0 {
                if bitmap & 1 != 0 {
                    // SAFETY: as above, a writable word of this object.
                    unsafe { *word = (*word).wrapping_add(base) };
                }
                bitmap >>= 1;
                word = word.wrapping_add(1);
            }
            place = place.wrapping_add(63);
        }
        entry = entry.wrapping_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An object of 256 words at an address that is its base: tables in its first half, data in the second.
    fn object(words: &[(usize, usize)], dynamic: &[(usize, usize)]) -> (Vec<usize>, usize) {
        let mut object = vec![0usize; 256];
        for &(index, word) in words {
            object[index] = word;
        }
        let base = object.as_mut_ptr() as usize;
        let mut array: Vec<Dynamic> = dynamic.iter().map(|&(tag, value)| Dynamic { tag, value }).collect();
        array.push(Dynamic { tag: DT_NULL, value: 0 });
        // SAFETY: the tests' relocations stay in the 256 words.
        unsafe { relocate_self(base, array.as_ptr()) };
        (object, base)
    }

    #[test]
    fn rela_stores_base_plus_addend() {
        let (object, base) = object(
            &[(0, 128 * 8), (1, R_X86_64_RELATIVE), (2, 0x40), (3, 200 * 8), (4, R_X86_64_RELATIVE), (5, 0x1000)],
            &[(DT_RELA, 0), (DT_RELASZ, 48)],
        );
        assert_eq!((object[128], object[129], object[200]), (base + 0x40, 0, base + 0x1000));
    }

    #[test]
    fn relr_adds_the_base_to_each_marked_word() {
        // One address, then a bitmap of the next 63 words (bits 0 and 62), then one more bitmap (bit 1).
        let (object, base) = object(
            &[(0, 100 * 8), (1, (1 << 63) | (1 << 1) | 1), (2, (1 << 2) | 1), (100, 1), (101, 2), (163, 3), (165, 4)],
            &[(DT_RELR, 0), (DT_RELRSZ, 24)],
        );
        assert_eq!([object[100], object[101], object[163], object[165]], [base + 1, base + 2, base + 3, base + 4]);
        assert_eq!((object[102], object[164], object[166]), (0, 0, 0));
    }
}
