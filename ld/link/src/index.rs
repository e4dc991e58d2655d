//! An index over a whole scope: which of its objects may define a name, in one look.
//!
//! Without it, a lookup asks the Bloom filter of each object up to the one that defines the name, and a start of a program
//! with a hundred libraries spends most of its time so. The index is a table of bit sets: row *r* has a bit for each object
//! with some symbol whose hash falls into row *r*. It is made from the hashes that `DT_GNU_HASH` chains hold, so no name is
//! read; what it lets pass is asked as before. It costs a pass over these chains and some hundred KiB for a while, so it is
//! made only where more lookups than that are to come.

use alloc::vec::Vec;

use folio_elf::SetBits;

use crate::object::{ObjectId, Objects};
use crate::resolve::Scope;

/// Objects in one word of a row.
const WORD: usize = 64;

/// An index over the objects of one scope, as they were when it was built.
#[derive(Debug)]
pub struct ScopeIndex {
    objects: Vec<ObjectId>,
    /// Rows of `width` words; a power of two of them.
    rows: Vec<u64>,
    width: usize,
    row_mask: u32,
}

impl ScopeIndex {
    /// Builds the index of `scope` if the lookups to come, `references` at most, are worth it.
    pub fn build_if_worthwhile(objects: &Objects, scope: &Scope, references: u64) -> Option<ScopeIndex> {
        /// Cost of entering a symbol, and of asking one object's filter in vain, in about the same unit.
        const ENTER: u64 = 2;
        const ASK: u64 = 1;
        let depth = scope.objects.len() as u64;
        if depth < 8 {
            return None;
        }
        // A lookup walks half of the scope, if definitions lie anywhere in it.
        let walking = references.saturating_mul(depth / 2).saturating_mul(ASK);
        let tables = || scope.objects.iter().filter_map(|&id| objects.get(id)?.symbols?.gnu_hash);
        // There are a few symbols a bucket; counting them exactly would read the buckets.
        let symbols: u64 = tables().map(|table| 2 * table.buckets.len() as u64).sum();
        if walking <= symbols.saturating_mul(2 * ENTER) {
            return None;
        }
        ScopeIndex::build(objects, scope, symbols)
    }

    /// `None` where there is no memory for it.
    fn build(objects: &Objects, scope: &Scope, symbols: u64) -> Option<ScopeIndex> {
        const FEWEST_ROWS: usize = 1 << 10;
        const MOST_WORDS: usize = 1 << 17;
        let width = scope.objects.len().div_ceil(WORD);
        let most_rows = (MOST_WORDS / width).next_power_of_two();
        let wanted = usize::try_from(symbols / 4).unwrap_or(usize::MAX).min(most_rows);
        let row_count = wanted.next_power_of_two().clamp(FEWEST_ROWS.min(most_rows), most_rows);
        // Whether there is room is asked first: rows that come as pages of zeros cannot be asked for in a way that may fail.
        Vec::<u64>::new().try_reserve_exact(row_count * width).ok()?;
        let rows = alloc::vec![0; row_count * width];
        let mut index = ScopeIndex { objects: scope.objects.clone(), rows, width, row_mask: row_count as u32 - 1 };
        for (place, &id) in scope.objects.iter().enumerate() {
            let Some(symbols) = objects.get(id).and_then(|object| object.symbols.as_ref()) else { continue };
            let (word, bit) = (place / WORD, 1u64 << (place % WORD));
            match &symbols.gnu_hash {
                Some(table) => {
                    let count = table.symbol_count().saturating_sub(table.symbol_base) as usize;
                    for hash in table.chains.truncated(count).iter() {
                        let row = index.row(hash);
                        index.rows[row + word] |= bit;
                    }
                }
                // Nothing is known of its names: it is asked always.
                None if symbols.sysv_hash.is_some() => {
                    for row in index.rows.chunks_exact_mut(width) {
                        row[word] |= bit;
                    }
                }
                None => {}
            }
        }
        Some(index)
    }

    /// Where the row of a hash begins. The lowest bit is no part of the hash in a chain (it ends the chain).
    #[inline(always)]
    fn row(&self, gnu_hash: u32) -> usize {
        ((gnu_hash >> 1) & self.row_mask) as usize * self.width
    }

    /// The objects that may define a name with this hash, in scope order.
    #[inline]
    pub fn candidates(&self, gnu_hash: u32) -> impl Iterator<Item = ObjectId> + '_ {
        let row = self.row(gnu_hash);
        let words = self.rows.get(row..row + self.width).unwrap_or_default();
        words.iter().enumerate().flat_map(move |(word, &bits)| {
            SetBits(bits).filter_map(move |bit| self.objects.get(word * WORD + bit as usize).copied())
        })
    }
}
