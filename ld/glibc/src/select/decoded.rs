//! A libc as the linker decoded it, mapped or read from its file.

use folio_elf::dynamic::Extent;
use folio_elf::{Image, Symbol, Symbols, note};

use super::Libc;

/// What of a libc's decoded tables is measured.
pub struct Decoded<'o, F> {
    pub image: Image<'o>,
    pub symbols: Option<&'o Symbols<'o>>,
    pub notes: &'o [Extent],
    /// Finds the definition of an exported symbol.
    pub definition: F,
}

impl<F: Fn(&[u8]) -> Option<Symbol>> Libc for Decoded<'_, F> {
    fn build_id(&self) -> Option<&[u8]> {
        let notes = self.notes.iter();
        notes.filter_map(|extent| self.image.constant_bytes(extent.at, extent.size)).find_map(note::build_id)
    }

    fn bytes_at(&self, symbol: &str, max: usize) -> Option<&[u8]> {
        let at = (self.definition)(symbol.as_bytes())?.value();
        let left = self.image.table_to_end::<u8>(at)?.len();
        self.image.constant_bytes(at, left.min(max) as u64)
    }

    fn exports(&self, symbol: &str) -> bool {
        (self.definition)(symbol.as_bytes()).is_some()
    }

    fn imports(&self, symbol: &str) -> bool {
        let Some(symbols) = self.symbols else { return false };
        // GNU hash tables have the defined symbols alone, which come last.
        let end = symbols.gnu_hash.map_or(symbols.count(), |table| table.symbol_base);
        (0..end)
            .map_while(|index| symbols.get(index))
            .any(|entry| !entry.is_defined() && symbols.name(&entry) == Some(symbol.as_bytes()))
    }
}
