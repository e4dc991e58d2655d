//! Relocation records: `Elf64_Rela` and the compact relative form `DT_RELR`.

pub use goblin::elf64::reloc::{
    R_X86_64_32, R_X86_64_64, R_X86_64_COPY, R_X86_64_DTPMOD64, R_X86_64_DTPOFF64, R_X86_64_GLOB_DAT,
    R_X86_64_IRELATIVE, R_X86_64_JUMP_SLOT, R_X86_64_NONE, R_X86_64_PC32, R_X86_64_RELATIVE, R_X86_64_SIZE32,
    R_X86_64_SIZE64, R_X86_64_TLSDESC, R_X86_64_TPOFF64, Rela,
};

use crate::address::Vaddr;
use crate::image::Table;
use crate::set_bits::SetBits;

/// psABI, *Relocation Types*: the relative relocation of x32.
pub const R_X86_64_RELATIVE64: u32 = 38;

/// One `Elf64_Rela`, taken apart.
#[derive(Clone, Copy, Debug)]
pub struct Relocation {
    pub offset: Vaddr,
    pub kind: u32,
    pub symbol: u32,
    pub addend: i64,
}

impl From<Rela> for Relocation {
    #[inline(always)]
    fn from(rela: Rela) -> Relocation {
        Relocation {
            offset: Vaddr(rela.r_offset),
            kind: rela.r_info as u32,
            symbol: (rela.r_info >> 32) as u32,
            addend: rela.r_addend,
        }
    }
}

/// Addresses that a `DT_RELR` table relocates, in order (gABI, *Relocation*, `SHT_RELR`).
///
/// An even word is an address; an odd one is a bitmap over the 63 words after the last address.
pub fn relr(table: Table<'_, u64>) -> impl Iterator<Item = Vaddr> + '_ {
    let mut next = 0u64;
    table.iter().flat_map(move |word| {
        let (base, bits) = if word & 1 == 0 {
            next = word.wrapping_add(8);
            (word, 1)
        } else {
            let base = next;
            next = next.wrapping_add(63 * 8);
            (base, word >> 1)
        };
        SetBits(bits).map(move |bit| Vaddr(base.wrapping_add(u64::from(bit) * 8)))
    })
}

#[cfg(test)]
#[path = "relocation_tests.rs"]
mod tests;
