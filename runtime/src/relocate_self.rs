//! Applies the interpreter's own relocations, before which no address constant in its data is true.
//!
//! The interpreter is linked with `-Bsymbolic -z defs -z text` and exports only symbols that it defines, so all that is
//! left is to add the load bias to words, and `--pack-dyn-relocs=relr` packs the list of those (gABI, "Relative Relocation
//! Table"): some twenty words, where `Elf64_Rela` would be ten kilobytes that every start had to read. The linker script
//! tells where the list is and asserts that there is no other. The dynamic section is not asked, for it lies on a page that
//! is written next, and one that was read before is first mapped and then copied, by two page faults.
//!
//! # Safety
//! The code obeys rules that the compiler does not check: no reference, no static, no panic, no call, no table of
//! addresses, hence nothing that could pass through the GOT or read unrelocated data. `Cargo.toml` compiles this crate
//! without debug assertions even in development builds for the same reason.

/// Adds the load bias to every word that the link editor marked.
///
/// An even entry is the address of one word; an odd one is a bitmap of the 63 words that follow the last one.
// SAFETY: only `_start` calls, once, before anything else runs, with where the object's address 0 is mapped and the two ends
// of the link editor's list, all of whose words are this object's and writable.
pub(crate) unsafe extern "C" fn relocate_self(base: usize, mut entry: *const usize, end: *const usize) {
    let mut place = base as *mut usize;
    while entry < end {
        // SAFETY: within the list.
        let value = unsafe { *entry };
        if value & 1 == 0 {
            place = base.wrapping_add(value) as *mut usize;
            // SAFETY: a word that the list marks.
            unsafe { *place = (*place).wrapping_add(base) };
            place = place.wrapping_add(1);
        } else {
            let mut bitmap = value >> 1;
            while bitmap != 0 {
                let word = place.wrapping_add(bitmap.trailing_zeros() as usize);
                // SAFETY: as above.
                unsafe { *word = (*word).wrapping_add(base) };
                bitmap &= bitmap - 1;
            }
            place = place.wrapping_add(63);
        }
        entry = entry.wrapping_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_base_is_added_to_each_marked_word() {
        let mut object = vec![0usize; 256];
        for (index, word) in [(100, 1), (101, 2), (163, 3), (165, 4)] {
            object[index] = word;
        }
        // One address, then a bitmap of the next 63 words (bits 0 and 62), then one more bitmap (bit 1).
        let list = [100 * 8, (1 << 63) | (1 << 1) | 1, (1 << 2) | 1];
        let base = object.as_mut_ptr() as usize;
        let ends = list.as_ptr_range();
        // SAFETY: the list marks words among the 256.
        unsafe { relocate_self(base, ends.start, ends.end) };
        assert_eq!([object[100], object[101], object[163], object[165]], [base + 1, base + 2, base + 3, base + 4]);
        assert_eq!((object[102], object[164], object[166]), (0, 0, 0));
    }

    #[test]
    fn an_empty_list_changes_nothing() {
        let mut object = [7usize; 4];
        let base = object.as_mut_ptr() as usize;
        // SAFETY: nothing is marked.
        unsafe { relocate_self(base, core::ptr::null(), core::ptr::null()) };
        assert_eq!(object, [7; 4]);
    }
}
