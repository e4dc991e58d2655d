//! Symbol hash tables: `DT_GNU_HASH` and `DT_HASH`.

use crate::address::Vaddr;
use crate::image::{Image, Strings, Table};

/// The hash of `DT_GNU_HASH`: Bernstein's, h = h * 33 + c from 5381.
#[inline]
pub fn gnu(name: &[u8]) -> u32 {
    name.iter().fold(5381u32, |hash, &byte| hash.wrapping_mul(33).wrapping_add(u32::from(byte)))
}

/// The string at `offset` of a string table, with its hash: one pass over it for both.
#[inline]
pub fn hashed_name<'m>(strings: &Strings<'m>, offset: u32) -> Option<(&'m [u8], u32)> {
    let tail = strings.tail(offset)?;
    let mut hash = 5381u32;
    for (length, &byte) in tail.iter().enumerate() {
        if byte == 0 {
            return Some((&tail[..length], hash));
        }
        hash = hash.wrapping_mul(33).wrapping_add(u32::from(byte));
    }
    None
}

/// The hash of `DT_HASH`, also that of versions (gABI, *Hash Table*).
pub fn sysv(name: &[u8]) -> u32 {
    name.iter().fold(0u32, |hash, &byte| {
        let hash = (hash << 4).wrapping_add(u32::from(byte));
        let high = hash & 0xf000_0000;
        (hash ^ (high >> 24)) & !high
    })
}

/// The Bloom filter of a `DT_GNU_HASH`: two bits of one word for each name that is defined.
#[derive(Clone, Copy, Debug)]
pub struct BloomFilter<'m> {
    /// A power of two of them; none in the filter that lets everything pass.
    words: Table<'m, u64>,
    shift: u32,
}

impl BloomFilter<'_> {
    /// For objects that have no filter, and those that have no symbols.
    pub const OPEN: BloomFilter<'static> = BloomFilter { words: Table::EMPTY, shift: 0 };

    /// Whether a name with this hash may be defined: if not, it is not.
    #[inline(always)]
    pub fn passes(&self, hash: u32) -> bool {
        let word = (hash as usize / 64) & self.words.len().wrapping_sub(1);
        match self.words.get(word) {
            Some(word) => (word >> (hash % 64)) & (word >> ((hash >> self.shift) % 64)) & 1 != 0,
            None => true,
        }
    }
}

/// `DT_GNU_HASH`: a Bloom filter, buckets of first symbol indices, and chains of hashes whose lowest bit ends them.
#[derive(Clone, Copy, Debug)]
pub struct GnuHash<'m> {
    /// Index of the first symbol that is in the table.
    pub symbol_base: u32,
    pub bloom_shift: u32,
    pub bloom: Table<'m, u64>,
    pub buckets: Table<'m, u32>,
    pub chains: Table<'m, u32>,
}

impl<'m> GnuHash<'m> {
    pub fn decode(image: &Image<'m>, at: Vaddr) -> Option<GnuHash<'m>> {
        let [bucket_count, symbol_base, bloom_words, bloom_shift] = image.read::<[u32; 4]>(at)?;
        if !bloom_words.is_power_of_two() || bloom_shift > 31 {
            return None;
        }
        let bloom_at = at.checked_add(16)?;
        let bloom = image.table::<u64>(bloom_at, u64::from(bloom_words))?;
        let buckets_at = bloom_at.checked_add(u64::from(bloom_words) * 8)?;
        let buckets = image.table::<u32>(buckets_at, u64::from(bucket_count))?;
        let chains_at = buckets_at.checked_add(u64::from(bucket_count) * 4)?;
        Some(GnuHash {
            symbol_base,
            bloom_shift,
            bloom,
            buckets,
            // An empty table may end exactly where its segment does.
            chains: image.table_to_end(chains_at).unwrap_or(Table::EMPTY),
        })
    }

    /// Whether the Bloom filter lets `hash` pass: if not, the name is not defined here.
    #[inline(always)]
    pub fn may_contain(&self, hash: u32) -> bool {
        self.filter().passes(hash)
    }

    pub fn filter(&self) -> BloomFilter<'m> {
        BloomFilter { words: self.bloom, shift: self.bloom_shift }
    }

    /// First symbol index with this hash for which `matches` gives a value.
    #[inline]
    pub fn find<R>(&self, hash: u32, mut matches: impl FnMut(u32) -> Option<R>) -> Option<R> {
        if !self.may_contain(hash) || self.buckets.is_empty() {
            return None;
        }
        let mut index = self.buckets.get((hash % self.buckets.len() as u32) as usize)?;
        if index < self.symbol_base {
            return None;
        }
        // The index grows with each step and the chain table is finite, so this ends.
        loop {
            let chain = self.chains.get((index - self.symbol_base) as usize)?;
            if (chain ^ hash) >> 1 == 0
                && let Some(found) = matches(index)
            {
                return Some(found);
            }
            if chain & 1 != 0 {
                return None;
            }
            index = index.checked_add(1)?;
        }
    }

    /// Number of symbols in the symbol table, as far as the hash table tells.
    pub fn symbol_count(&self) -> u32 {
        let Some(mut index) = self.buckets.iter().max().filter(|&last| last >= self.symbol_base) else {
            return self.symbol_base;
        };
        while let Some(chain) = self.chains.get((index - self.symbol_base) as usize) {
            index = index.saturating_add(1);
            if chain & 1 != 0 {
                break;
            }
        }
        index
    }
}

/// `DT_HASH`: buckets and chains of symbol indices (gABI, *Hash Table*).
#[derive(Clone, Copy, Debug)]
pub struct SysvHash<'m> {
    pub buckets: Table<'m, u32>,
    pub chains: Table<'m, u32>,
}

impl<'m> SysvHash<'m> {
    pub fn decode(image: &Image<'m>, at: Vaddr) -> Option<SysvHash<'m>> {
        let bucket_count: u32 = image.read(at)?;
        let chain_count: u32 = image.read(at.checked_add(4)?)?;
        let buckets_at = at.checked_add(8)?;
        let buckets = image.table(buckets_at, u64::from(bucket_count))?;
        let chains = image.table(buckets_at.checked_add(u64::from(bucket_count) * 4)?, u64::from(chain_count))?;
        Some(SysvHash { buckets, chains })
    }

    /// First symbol index in the chain of `hash` for which `matches` gives a value.
    pub fn find<R>(&self, hash: u32, mut matches: impl FnMut(u32) -> Option<R>) -> Option<R> {
        if self.buckets.is_empty() {
            return None;
        }
        let mut index = self.buckets.get(hash as usize % self.buckets.len())?;
        // A damaged chain may run in a circle: no honest one is longer than the table.
        for _ in 0..self.chains.len() {
            if index == 0 {
                return None;
            }
            if let Some(found) = matches(index) {
                return Some(found);
            }
            index = self.chains.get(index as usize)?;
        }
        None
    }
}

#[cfg(test)]
#[path = "hash_tests.rs"]
mod tests;
