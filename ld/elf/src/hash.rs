//! Symbol hash tables: `DT_GNU_HASH` and `DT_HASH`.

use core::cell::Cell;

use crate::address::Vaddr;
use crate::image::{Image, Ring, Strings, Table};

/// The hash of `DT_GNU_HASH`: Bernstein's, h = h * 33 + c from 5381.
#[inline]
pub fn gnu(name: &[u8]) -> u32 {
    name.iter().fold(5381u32, |hash, &byte| hash.wrapping_mul(33).wrapping_add(u32::from(byte)))
}

/// The string at `offset` of a string table, with its hash: one pass over it for both. None that is longer than `effort` allows.
#[inline(always)]
pub fn hashed_name<'m>(strings: &Strings<'m>, offset: u32, effort: Option<&Effort>) -> Option<(&'m [u8], u32)> {
    let tail = strings.tail(offset)?;
    let ordinary = tail.len().min(Effort::NAME);
    match hash_to_nul(&tail[..ordinary], 5381) {
        Ok((length, hash)) => Some((&tail[..length], hash)),
        Err(hash) => long_name(tail, hash, effort),
    }
}

/// The length and the hash of the string at `offset`, if it is of ordinary length.
#[inline]
pub fn of_ordinary_name(strings: &Strings, offset: u32) -> Option<(u32, u32)> {
    let tail = strings.tail(offset)?;
    let (length, hash) = hash_to_nul(&tail[..tail.len().min(Effort::NAME)], 5381).ok()?;
    Some((length as u32, hash))
}

/// The length of the string that `bytes` begin with, and its hash; that of all bytes, where it does not end among them.
///
/// Names of C++ are long, so this takes eight bytes at a time.
#[inline(always)]
fn hash_to_nul(bytes: &[u8], mut hash: u32) -> Result<(usize, u32), u32> {
    /// 33 to the power of the index.
    const POWERS: [u32; 9] = {
        let mut powers = [1u32; 9];
        let mut exponent = 1;
        while exponent < powers.len() {
            powers[exponent] = powers[exponent - 1].wrapping_mul(33);
            exponent += 1;
        }
        powers
    };
    const ONES: u64 = 0x0101_0101_0101_0101;
    let (words, rest) = bytes.as_chunks::<8>();
    for (number, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        // The lowest of these bits belongs to the first byte that is 0.
        let zeros = word.wrapping_sub(ONES) & !word & (ONES << 7);
        if zeros != 0 {
            let length = zeros.trailing_zeros() as usize / 8;
            // Zeros in front of a string do not change what it adds to the hash.
            let padded = word << 8 << (56 - 8 * length);
            return Ok((8 * number + length, hash.wrapping_mul(POWERS[length]).wrapping_add(polynomial(padded))));
        }
        hash = hash.wrapping_mul(POWERS[8]).wrapping_add(polynomial(word));
    }
    for (place, &byte) in rest.iter().enumerate() {
        if byte == 0 {
            return Ok((8 * words.len() + place, hash));
        }
        hash = hash.wrapping_mul(33).wrapping_add(u32::from(byte));
    }
    Err(hash)
}

/// The sum of eight bytes, the first of them lowest, each times a power of 33: 33⁷ for the first, 1 for the last. Neighbours
/// are added up in lanes that have room for what they may come to.
#[inline(always)]
fn polynomial(word: u64) -> u32 {
    const BYTES: u64 = 0x00ff_00ff_00ff_00ff;
    const PAIRS: u64 = 0x0000_ffff_0000_ffff;
    let pairs = (word & BYTES) * 33 + ((word >> 8) & BYTES);
    let quads = (pairs & PAIRS) * (33 * 33) + ((pairs >> 16) & PAIRS);
    (quads as u32).wrapping_mul(33 * 33 * 33 * 33).wrapping_add((quads >> 32) as u32)
}

/// The string at the begin of `tail`, whose first [`Effort::NAME`] bytes are hashed already.
#[cold]
fn long_name<'m>(tail: &'m [u8], hash: u32, effort: Option<&Effort>) -> Option<(&'m [u8], u32)> {
    let rest = tail.get(Effort::NAME..)?;
    let most = effort.map_or(rest.len(), |effort| usize::try_from(effort.left.get()).unwrap_or(usize::MAX));
    let rest = &rest[..rest.len().min(most)];
    let Ok((length, hash)) = hash_to_nul(rest, hash) else {
        // It has been read all the same.
        Effort::allows(effort, rest.len());
        return None;
    };
    Effort::allows(effort, length + 1).then_some((&tail[..Effort::NAME + length], hash))
}

/// What many lookups may take together beyond what is ordinary: entries of chains that are passed, and bytes of names.
///
/// A file may have one chain that runs through all of its table, or one name as long as its string table, and as many
/// references to that as it likes. Each lookup is then linear in the size of the file, and all of them are quadratic: hence a
/// stock for all, by their number. Honest tables hardly ever touch it, as their chains are a few entries long.
#[derive(Debug)]
pub struct Effort {
    left: Cell<u64>,
}

impl Effort {
    /// Entries of a chain that each lookup may pass in any case.
    const CHAIN: usize = 128;
    /// Length of a name that each lookup may have in any case.
    const NAME: usize = 4096;
    /// What each lookup adds to the stock. An honest table with a single chain, which is slow enough, still is searched whole
    /// as long as it has no more than twice as many symbols.
    const SHARE: u64 = 1 << 14;

    /// The stock for so many lookups.
    pub fn new(lookups: u64) -> Effort {
        Effort { left: Cell::new(lookups.saturating_add(64).saturating_mul(Self::SHARE)) }
    }

    /// Takes an amount from the stock; `false` if there is not as much left, and then there is none.
    #[cold]
    pub fn spend(&self, amount: usize) -> bool {
        let left = self.left.get().checked_sub(amount as u64);
        self.left.set(left.unwrap_or(0));
        left.is_some()
    }

    /// As [`spend`](Self::spend), where a single lookup has no stock to think of.
    pub fn allows(effort: Option<&Effort>, amount: usize) -> bool {
        effort.is_none_or(|effort| effort.spend(amount))
    }
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
    words: Ring<'m, u64>,
    shift: u32,
}

impl BloomFilter<'_> {
    /// Lets everything pass: for objects that have no filter, and those that have no symbols.
    pub fn open() -> BloomFilter<'static> {
        static ALL: u64 = u64::MAX;
        BloomFilter { words: Ring::of_one(&ALL), shift: 0 }
    }

    /// Whether a name with this hash may be defined: if not, it is not.
    #[inline(always)]
    pub fn passes(&self, hash: u32) -> bool {
        let word = self.words.get(hash as usize / 64);
        word >> (hash % 64) & self.second(word, hash) & 1 != 0
    }

    /// As [`passes`](Self::passes) for a hash whose lowest bit is not known, as chains hold it.
    #[inline(always)]
    pub fn passes_either(&self, hash: u32) -> bool {
        let word = self.words.get(hash as usize / 64);
        // Without a shift, both bits are the one.
        word & 3 << (hash & 62) != 0 && (self.shift == 0 || self.second(word, hash) & 1 != 0)
    }

    /// The second bit of a hash, lowest.
    #[inline(always)]
    fn second(&self, word: u64, hash: u32) -> u64 {
        word >> ((hash >> self.shift) % 64)
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

    /// One that cannot be used lets everything pass.
    pub fn filter(&self) -> BloomFilter<'m> {
        match self.bloom.ring() {
            Some(words) => BloomFilter { words, shift: self.bloom_shift },
            None => BloomFilter::open(),
        }
    }

    /// Has the processor fetch what [`hash_of`](Self::hash_of) reads.
    #[inline(always)]
    pub fn prefetch_hash_of(&self, index: u32) {
        if let Some(place) = index.checked_sub(self.symbol_base) {
            self.chains.prefetch(place as usize);
        }
    }

    /// The hash of a symbol that is in the table, all but its lowest bit, without a look at its name.
    #[inline(always)]
    pub fn hash_of(&self, index: u32) -> Option<u32> {
        self.chains.get(index.checked_sub(self.symbol_base)? as usize)
    }

    /// First symbol index with this hash for which `matches` gives a value.
    pub fn find<R>(&self, hash: u32, effort: Option<&Effort>, matches: impl FnMut(u32) -> Option<R>) -> Option<R> {
        if self.filter().passes(hash) { self.find_in_chain(hash, effort, matches) } else { None }
    }

    /// As [`find`](Self::find), where the Bloom filter has been asked.
    #[inline(always)]
    pub fn find_in_chain<R>(
        &self,
        hash: u32,
        effort: Option<&Effort>,
        mut matches: impl FnMut(u32) -> Option<R>,
    ) -> Option<R> {
        if self.buckets.is_empty() {
            return None;
        }
        let first = self.buckets.get((hash % self.buckets.len() as u32) as usize)?;
        let mut place = first.checked_sub(self.symbol_base)? as usize;
        // What may be passed without asking for more. Each step goes forward in a table that ends.
        let mut open = self.chains.truncated(place + Effort::CHAIN);
        loop {
            let Some(chain) = open.get(place) else {
                if place >= self.chains.len() || !Effort::allows(effort, Effort::CHAIN) {
                    return None;
                }
                open = self.chains.truncated(place + Effort::CHAIN);
                continue;
            };
            if (chain ^ hash) >> 1 == 0
                && let Some(found) = matches(u32::try_from(place).ok()?.checked_add(self.symbol_base)?)
            {
                return Some(found);
            }
            if chain & 1 != 0 {
                return None;
            }
            place += 1;
        }
    }

    /// Number of symbols in the symbol table, as far as the hash table tells.
    pub fn symbol_count(&self) -> u32 {
        let Some(mut index) = self.buckets.iter().max().filter(|&last| last >= self.symbol_base) else {
            return self.symbol_base;
        };
        while let Some(chain) = self.chains.get((index - self.symbol_base) as usize) {
            // Chains of numbers that a symbol cannot have end at the last that it can have.
            let Some(next) = index.checked_add(1).filter(|_| chain & 1 == 0) else { return index.saturating_add(1) };
            index = next;
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
    pub fn find<R>(&self, hash: u32, effort: Option<&Effort>, mut matches: impl FnMut(u32) -> Option<R>) -> Option<R> {
        if self.buckets.is_empty() {
            return None;
        }
        let mut index = self.buckets.get(hash as usize % self.buckets.len())?;
        // A damaged chain may run in a circle: no honest one is longer than the table.
        for passed in 0..self.chains.len() {
            if index == 0 || passed >= Effort::CHAIN && !Effort::allows(effort, 1) {
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
