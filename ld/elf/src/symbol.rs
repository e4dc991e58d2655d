//! The dynamic symbol table with its names, hash table and version indices.

pub use goblin::elf64::sym::Sym;
pub use goblin::elf64::sym::{
    STB_GLOBAL, STB_GNU_UNIQUE, STB_LOCAL, STB_WEAK, STT_COMMON, STT_FUNC, STT_GNU_IFUNC, STT_NOTYPE, STT_OBJECT,
    STT_TLS, STV_DEFAULT, STV_HIDDEN, STV_INTERNAL, STV_PROTECTED,
};

use crate::address::Vaddr;
use crate::dynamic::Dynamic;
use crate::hash::{GnuHash, SysvHash};
use crate::image::{Image, Strings, Table};

/// `st_shndx` of a symbol that is not defined here, and of one whose value is no address.
pub const SHN_UNDEF: u16 = 0;
pub const SHN_ABS: u16 = 0xfff1;

/// `Elf64_Versym`: the bit that hides a definition from references without a version.
pub const VERSYM_HIDDEN: u16 = 0x8000;

/// An `Elf64_Sym` with its accessors.
#[repr(transparent)]
#[derive(Clone, Copy, Debug)]
pub struct Symbol(pub Sym);

impl Symbol {
    #[inline(always)]
    pub fn kind(&self) -> u8 {
        self.0.st_info & 0xf
    }

    #[inline(always)]
    pub fn binding(&self) -> u8 {
        self.0.st_info >> 4
    }

    #[inline(always)]
    pub fn visibility(&self) -> u8 {
        self.0.st_other & 3
    }

    #[inline(always)]
    pub fn value(&self) -> Vaddr {
        Vaddr(self.0.st_value)
    }

    #[inline(always)]
    pub fn is_defined(&self) -> bool {
        self.0.st_shndx != SHN_UNDEF
    }

    #[inline(always)]
    pub fn is_absolute(&self) -> bool {
        self.0.st_shndx == SHN_ABS
    }
}

/// The dynamic symbols of one object.
#[derive(Clone, Copy, Debug)]
pub struct Symbols<'m> {
    pub table: Table<'m, Sym>,
    pub strings: Strings<'m>,
    pub versym: Option<Table<'m, u16>>,
    pub gnu_hash: Option<GnuHash<'m>>,
    pub sysv_hash: Option<SysvHash<'m>>,
}

impl<'m> Symbols<'m> {
    /// The tables that `dynamic` names; one that is not in the image counts as absent.
    pub fn decode(image: &Image<'m>, dynamic: &Dynamic<'m>) -> Symbols<'m> {
        let table = dynamic.symtab.and_then(|at| image.table_to_end(at));
        Symbols {
            table: table.unwrap_or(Table::EMPTY),
            strings: dynamic.strings,
            versym: dynamic.versym.and_then(|at| image.table_to_end(at)),
            gnu_hash: dynamic.gnu_hash.and_then(|at| GnuHash::decode(image, at)),
            sysv_hash: dynamic.hash.and_then(|at| SysvHash::decode(image, at)),
        }
    }

    #[inline(always)]
    pub fn get(&self, index: u32) -> Option<Symbol> {
        self.table.get(index as usize).map(Symbol)
    }

    pub fn name(&self, symbol: &Symbol) -> Option<&'m [u8]> {
        self.strings.get(u64::from(symbol.0.st_name))
    }

    /// A symbol's name for a message: of a longer one no more than what a reader may want.
    pub fn shown_name(&self, symbol: &Symbol) -> &'m [u8] {
        self.strings.beginning(symbol.0.st_name, 4096)
    }

    /// `Elf64_Versym` of a symbol; `None` when the object has no versions.
    #[inline(always)]
    pub fn version_index(&self, index: u32) -> Option<u16> {
        self.versym.as_ref()?.get(index as usize)
    }

    /// Has the processor fetch a symbol and its version index.
    #[inline(always)]
    pub fn prefetch(&self, index: u32) {
        self.table.prefetch(index as usize);
        if let Some(versym) = &self.versym {
            versym.prefetch(index as usize);
        }
    }

    /// Number of symbols that the hash tables know of.
    pub fn count(&self) -> u32 {
        match (&self.gnu_hash, &self.sysv_hash) {
            (_, Some(hash)) => u32::try_from(hash.chains.len()).unwrap_or(u32::MAX),
            (Some(hash), None) => hash.symbol_count(),
            (None, None) => 0,
        }
    }
}
