//! An index over a whole scope: which symbols of which of its objects may define a name, in one look.
//!
//! Without it, a lookup asks the Bloom filter of each object up to the one that defines the name, then that object's bucket and
//! chain, and a start of a program with a hundred libraries spends most of its time so. The index is a hash table of all symbols
//! that `DT_GNU_HASH` tables hold. It is made from the hashes in their chains, so no name is read. A slot is one word: the number
//! of a symbol, counted through all objects in scope order, and as much of its hash as there is room for beside it. What a slot
//! names is compared by its name like any symbol of a chain. The index costs a pass over the chains and some hundred KiB for a
//! while, so it is made only where more lookups than that are to come.
//!
//! It lets nothing be missed. In a damaged file whose filter or whose buckets deny what its chains hold, it finds that too.

use alloc::vec::Vec;

use folio_elf::hash::GnuHash;
use folio_elf::image::{prefetch, words_equal};

use crate::object::{ObjectId, Objects};
use crate::resolve::Scope;

/// Each object's symbols begin a block of numbers of their own, so that the block tells the object.
const BLOCK: u32 = 64;

/// Slots beside each other, which fill a line of the processor's cache: a hash has one group, and what finds no room there goes
/// to the next.
const GROUP: usize = 16;
type Group = [u32; GROUP];

/// Groups that may be looked through for one hash.
const LONGEST_RUN: usize = 8;

/// Hashes are told apart by this many bits of them where slots for them have run out.
const CROWDS: usize = 16384;

/// More symbols than this have a scout. An estimate, between the 43,000 of qemu, which starts faster without one, and the 78,000
/// of ffmpeg, which starts faster with one.
const SCOUTED: u64 = 60_000;

/// Symbols between the one that is entered and the one whose slot the processor fetches.
const AHEAD: usize = 16;

/// An index over the objects of one scope.
#[derive(Debug)]
pub struct ScopeIndex<'s> {
    scope: &'s Scope,
    /// For each symbol its tag and, below, its number; 0 where there is none. The last groups are no hash's own.
    groups: Vec<Group>,
    number_bits: u32,
    /// Which place in the scope has each block of numbers.
    blocks: Vec<u16>,
    providers: Vec<Provider>,
    /// Places of objects of whose names nothing is known: they are asked always.
    unknown: Vec<u16>,
    /// Hashes for which there were not enough slots: for them, each object is asked.
    crowded: Vec<u64>,
    /// Whether what lookups read is more than a processor's second cache holds, as a rule: some 60 bytes a symbol, of which the
    /// index has five. Then a scout goes ahead of them.
    pub(crate) is_scouted: bool,
}

/// The symbols of one object.
#[derive(Clone, Copy, Debug)]
struct Provider {
    /// Number of the first symbol in its hash table, and the first number after its last.
    first: u32,
    end: u32,
    /// Index of the first in its symbol table.
    symbol_base: u32,
}

impl<'s> ScopeIndex<'s> {
    /// Builds the index of `scope` if the lookups to come, `references` at most, are worth it. `prepare` is shown the memory
    /// that is about to be written all over.
    pub fn build_if_worthwhile(
        objects: &Objects,
        scope: &'s Scope,
        references: u64,
        prepare: impl FnOnce(&mut [Group]),
    ) -> Option<ScopeIndex<'s>> {
        /// What it takes to enter a symbol, and to begin at all, in the unit of what each object takes that a lookup comes by
        /// in vain; and what a lookup saves besides, as it reads no bucket and no chain. Estimates, by which starts of clang
        /// and curl get an index, and those of bash and perl, where it made starts slower, do not.
        const ENTER: u64 = 3;
        const BEGIN: u64 = 20_000;
        const FIND: u64 = 12;
        /// A file says how many symbols it has, and need not be honest: so many take 21 MB.
        const MOST: u64 = 1 << 22;
        let depth = scope.objects.len() as u64;
        let most = references.saturating_mul(FIND + depth).checked_sub(BEGIN)? / ENTER;
        let tables = || scope.objects.iter().filter_map(|&id| objects.get(id)?.symbols?.gnu_hash);
        // There are a few symbols a bucket; counting them exactly reads the buckets.
        let symbols: u64 = tables().map(|table| 2 * table.buckets.len() as u64).sum();
        if depth == 0 || symbols > most {
            return None;
        }
        ScopeIndex::build(objects, scope, most.min(MOST), prepare)
    }

    /// `None` where there is no memory for it, or there are more objects than can be counted, or more symbols than `most`.
    fn build(
        objects: &Objects,
        scope: &'s Scope,
        most: u64,
        prepare: impl FnOnce(&mut [Group]),
    ) -> Option<ScopeIndex<'s>> {
        let mut providers = Vec::with_capacity(scope.objects.len());
        let mut unknown = Vec::new();
        // Number 0 would be an empty slot.
        let mut numbers = BLOCK;
        let mut symbols: u64 = 0;
        for (place, &id) in scope.objects.iter().enumerate() {
            let place = u16::try_from(place).ok()?;
            let tables = objects.get(id).and_then(|object| object.symbols.as_ref());
            let table = tables.and_then(|symbols| symbols.gnu_hash.as_ref());
            if table.is_none() && tables.is_some_and(|symbols| symbols.sysv_hash.is_some()) {
                unknown.push(place);
            }
            let symbol_base = table.map_or(0, |table| table.symbol_base);
            // A damaged table's buckets may name symbols that are in none of its chains.
            let chains = table.map_or(0, |table| u32::try_from(table.chains.len()).unwrap_or(u32::MAX));
            let count = table.map_or(0, GnuHash::symbol_count).saturating_sub(symbol_base).min(chains);
            let provider = Provider { first: numbers, end: numbers.checked_add(count)?, symbol_base };
            providers.push(provider);
            numbers = provider.end.checked_next_multiple_of(BLOCK)?;
            symbols += u64::from(count);
        }
        let number_bits = numbers.ilog2() + 1;
        if symbols > most || number_bits == u32::BITS {
            return None;
        }
        // Four fifths of the slots are used: with more, so many groups would be full that hashes got into crowds.
        let group_count = (symbols + symbols / 4) as usize / GROUP + 1 + LONGEST_RUN;
        // Whether there is room is asked first: slots that come as pages of zeros cannot be asked for in a way that may fail.
        Vec::<Group>::new().try_reserve_exact(group_count).ok()?;
        let (mut blocks, mut used) = (Vec::new(), Vec::new());
        blocks.try_reserve_exact((numbers / BLOCK) as usize).ok()?;
        blocks.push(0);
        used.try_reserve_exact(group_count).ok()?;
        used.resize(group_count, 0);
        let mut groups = alloc::vec![[0; GROUP]; group_count];
        prepare(&mut groups);
        let crowded = alloc::vec![0; CROWDS / 64];
        let is_scouted = symbols > SCOUTED;
        let mut index = ScopeIndex { scope, groups, number_bits, blocks, providers, unknown, crowded, is_scouted };
        index.fill(objects, &mut used);
        Some(index)
    }

    /// Enters the symbols of all objects; `used` counts the slots of each group that are, and stays in the processor's first
    /// cache. A function of its own: it is built for speed, also where it is called for once.
    #[inline(never)]
    fn fill(&mut self, objects: &Objects, used: &mut [u8]) {
        for (place, &id) in self.scope.objects.iter().enumerate() {
            let Provider { first, end, .. } = self.providers[place];
            self.blocks.extend((first..end).step_by(BLOCK as usize).map(|_| place as u16));
            let Some(table) = objects.get(id).and_then(|object| object.symbols?.gnu_hash) else { continue };
            let mut ahead = table.chains.skip(AHEAD).iter();
            for (number, hash) in (first..end).zip(table.chains.iter()) {
                if let Some(hash) = ahead.next() {
                    self.prefetch(hash);
                }
                self.enter(used, hash, number);
            }
        }
    }

    /// The same with a scout, however few symbols it has: so tests see what a scout does.
    pub fn scouted(self) -> Self {
        ScopeIndex { is_scouted: true, ..self }
    }

    /// Whether it was built from this very scope.
    #[inline(always)]
    pub fn is_of(&self, scope: &Scope) -> bool {
        core::ptr::eq(self.scope, scope)
    }

    /// The group of a hash, and its tag there. The lowest bit is no part of the hash in a chain (it ends the chain).
    #[inline(always)]
    fn group(&self, gnu_hash: u32) -> (usize, u32) {
        // Names that are alike have hashes that are alike: a product spreads them (Knuth, TAOCP 3, 6.4).
        let spread = u64::from(gnu_hash >> 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let own = (self.groups.len() - LONGEST_RUN) as u64;
        // No tag is 0, as an empty slot is.
        let tag = (spread as u32 >> self.number_bits | 1) << self.number_bits;
        ((((spread >> 32) * own) >> 32) as usize, tag)
    }

    #[inline(always)]
    fn enter(&mut self, used: &mut [u8], gnu_hash: u32, number: u32) {
        let (own, tag) = self.group(gnu_hash);
        let groups = self.groups[own..own + LONGEST_RUN].iter_mut().zip(&mut used[own..own + LONGEST_RUN]);
        for (group, used) in groups {
            if let Some(slot) = group.get_mut(usize::from(*used)) {
                *slot = tag | number;
                *used += 1;
                return;
            }
        }
        let crowd = gnu_hash as usize / 2 % CROWDS;
        self.crowded[crowd / 64] |= 1 << (crowd % 64);
    }

    #[inline(always)]
    fn is_crowded(&self, gnu_hash: u32) -> bool {
        let crowd = gnu_hash as usize / 2 % CROWDS;
        self.crowded[crowd / 64] >> (crowd % 64) & 1 != 0
    }

    /// Has the processor fetch the group of a hash.
    #[inline(always)]
    pub fn prefetch(&self, gnu_hash: u32) {
        if let Some(group) = self.groups.get(self.group(gnu_hash).0) {
            prefetch(group);
        }
    }

    #[inline(always)]
    fn numbers(&self, gnu_hash: u32) -> Numbers<'_> {
        let (own, tag) = self.group(gnu_hash);
        let mut groups = self.groups[own..own + LONGEST_RUN].iter();
        let group = groups.next();
        let tags = u32::MAX << self.number_bits;
        Numbers { tag, tags, matching: group.map_or(0, |group| words_equal(group, tags, tag)), group, groups }
    }

    /// The place of the object that a number belongs to.
    #[inline(always)]
    fn place(&self, number: u32) -> usize {
        usize::from(self.blocks[(number / BLOCK) as usize])
    }

    /// The first symbol that may define a name with this hash, for who looks ahead.
    #[inline(always)]
    pub fn first(&self, gnu_hash: u32) -> Option<(ObjectId, u32)> {
        let number = self.numbers(gnu_hash).next()?;
        let place = self.place(number);
        Some((self.scope.objects[place], self.providers[place].symbol(number)))
    }

    /// What `judge` gives for the first object for which it gives something, of those that may define a name with this hash, in
    /// scope order; it is told which of the object's symbols may do so, if that is known. The hash's lowest bit does not matter.
    #[inline(always)]
    pub fn find<R>(&self, gnu_hash: u32, mut judge: impl FnMut(ObjectId, Option<&mut Run>) -> Option<R>) -> Option<R> {
        let object = |place: usize| self.scope.objects[place];
        if self.is_crowded(gnu_hash) {
            return self.scope.objects.iter().find_map(|&id| judge(id, None));
        }
        let mut unknown = self.unknown.iter().map(|&place| usize::from(place)).peekable();
        let mut numbers = self.numbers(gnu_hash);
        let mut end = 0;
        while let Some(number) = numbers.next() {
            // Another symbol of an object that has been asked about all of them.
            if number < end {
                continue;
            }
            let place = self.place(number);
            while let Some(before) = unknown.next_if(|&unknown| unknown < place) {
                if let Some(found) = judge(object(before), None) {
                    return Some(found);
                }
            }
            let provider = self.providers[place];
            end = provider.end;
            let mut symbols = Run { first: Some(number), numbers: numbers.clone(), provider };
            if let Some(found) = judge(object(place), Some(&mut symbols)) {
                return Some(found);
            }
        }
        unknown.find_map(|place| judge(object(place), None))
    }
}

impl Provider {
    #[inline(always)]
    fn symbol(&self, number: u32) -> u32 {
        number - self.first + self.symbol_base
    }
}

/// The numbers with one tag.
///
/// Symbols are entered in scope order and go to the first free slot from their group on: of those that really have one hash,
/// each stands behind all that were entered before it. Others with the same tag may stand anywhere.
#[derive(Clone, Debug)]
struct Numbers<'i> {
    tag: u32,
    /// The bits of a slot that are its tag.
    tags: u32,
    /// The slots of the group that are still to be seen.
    matching: u32,
    group: Option<&'i Group>,
    groups: core::slice::Iter<'i, Group>,
}

impl Iterator for Numbers<'_> {
    type Item = u32;

    #[inline(always)]
    fn next(&mut self) -> Option<u32> {
        loop {
            let group = self.group?;
            if self.matching != 0 {
                let slot = group[self.matching.trailing_zeros() as usize % GROUP];
                self.matching &= self.matching - 1;
                return Some(slot & !self.tags);
            }
            // What has room has sent nothing to the next.
            self.group = self.groups.next().filter(|_| group[GROUP - 1] != 0);
            self.matching = self.group.map_or(0, |group| words_equal(group, self.tags, self.tag));
        }
    }
}

/// Symbols of one object that may have a hash, in ascending order.
#[derive(Clone, Debug)]
pub struct Run<'i> {
    /// One that was seen already.
    first: Option<u32>,
    numbers: Numbers<'i>,
    provider: Provider,
}

impl Iterator for Run<'_> {
    type Item = u32;

    #[inline(always)]
    fn next(&mut self) -> Option<u32> {
        let Provider { first, end, .. } = self.provider;
        let number = self.first.take().or_else(|| self.numbers.find(|number| (first..end).contains(number)))?;
        Some(self.provider.symbol(number))
    }
}
