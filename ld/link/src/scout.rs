//! Scout: walks ahead of relocation, and has the processor fetch what the lookups to come will read.
//!
//! A lookup in a large scope touches some six places of memory that nothing before it touched, each found by what the one
//! before it holds: symbol, name, slot of the index, symbol and version, name. Waiting for them is most of what
//! relocation takes there. Lookups do not depend on each other, so a scout takes each of the symbols to come one step
//! further at a time, and when relocation comes to one, all is in the cache. It decides nothing, and what it finds out by
//! the way is forgotten.

use folio_elf::relocation::{Rela, Relocation};
use folio_elf::{Table, hash};

use crate::bind::{References, is_private};
use crate::index::ScopeIndex;
use crate::object::ObjectId;

/// Symbols between one step and the next.
const STRIDE: usize = 4;

/// Steps of one symbol, and symbols that are under way.
const STEPS: usize = 5;
const WINDOW: usize = 32;

const _: () = assert!(WINDOW.is_power_of_two() && STEPS * STRIDE < WINDOW);

/// Tables that are not longer are gone through without a scout.
const SHORT: usize = 4 * WINDOW;

/// What is known of a symbol that is under way.
#[derive(Clone, Copy, Default)]
struct Way {
    symbol: u32,
    /// Its object defines the symbol itself; else it is looked up by its name.
    is_own: bool,
    hash: u32,
    /// Of the name, if it was read.
    length: u32,
    /// The first symbol that may define the name, as the index tells it.
    definition: Option<(ObjectId, u32)>,
}

/// Goes ahead in one table of relocations.
pub struct Scout<'t> {
    index: &'t ScopeIndex<'t>,
    /// What lies before the scout, and the symbol of the record that it came by last.
    rest: Table<'t, Rela>,
    last: u32,
    ways: [Option<Way>; WINDOW],
    /// Symbols that relocation has come to.
    passed: usize,
}

impl<'t> Scout<'t> {
    /// `None` where the table is too short to be worth it, or the processor's caches hold most of what is read.
    pub fn of(table: Table<'t, Rela>, references: &References<'t, '_>) -> Option<Scout<'t>> {
        let index = references.index.filter(|index| index.is_scouted && table.len() > SHORT)?;
        let mut scout = Scout { index, rest: table, last: 0, ways: [None; WINDOW], passed: 0 };
        (0..STEPS * STRIDE).for_each(|number| scout.begin(number, references));
        // Relocation waits for nobody: the first symbols go all of their way before it comes to any, the next all but a step.
        let ways = |steps: usize| 0..steps * STRIDE;
        ways(4).for_each(|number| scout.step(number, |way| way.see_symbol(references)));
        ways(3).for_each(|number| scout.step(number, |way| way.see_hash(references, index)));
        ways(2).for_each(|number| scout.step(number, |way| way.see_slot(references, index)));
        ways(1).for_each(|number| scout.step(number, |way| way.see_definition(references)));
        Some(scout)
    }

    /// Relocation has come to the next symbol: each of those that follow gets one step further.
    #[inline(never)]
    pub fn advance(&mut self, references: &References) {
        let (index, number) = (self.index, self.passed);
        self.passed += 1;
        self.begin(number + STEPS * STRIDE, references);
        self.step(number + 4 * STRIDE, |way| way.see_symbol(references));
        self.step(number + 3 * STRIDE, |way| way.see_hash(references, index));
        self.step(number + 2 * STRIDE, |way| way.see_slot(references, index));
        self.step(number + STRIDE, |way| way.see_definition(references));
    }

    /// The next symbol that records name. As a rule several records for one symbol follow each other.
    #[inline(always)]
    fn begin(&mut self, number: usize, references: &References) {
        let mut passed = 0;
        let next = loop {
            let Some(record) = self.rest.get(passed) else { break None };
            passed += 1;
            let symbol = Relocation::from(record).symbol;
            if symbol != core::mem::replace(&mut self.last, symbol) {
                break Some(symbol);
            }
        };
        self.rest = self.rest.skip(passed);
        self.ways[number % WINDOW] = next.map(|symbol| {
            references.symbols.prefetch(symbol);
            Way { symbol, ..Way::default() }
        });
    }

    #[inline(always)]
    fn step(&mut self, number: usize, see: impl FnOnce(&mut Way) -> Option<()>) {
        let slot = &mut self.ways[number % WINDOW];
        if let Some(way) = slot
            && see(way).is_none()
        {
            *slot = None;
        }
    }
}

/// The steps; `None` ends the way, where there is nothing more to fetch.
impl Way {
    #[inline(always)]
    fn see_symbol(&mut self, references: &References) -> Option<()> {
        let symbols = references.symbols;
        let symbol = symbols.get(self.symbol).filter(|symbol| !is_private(symbol))?;
        self.is_own = symbol.is_defined();
        if self.is_own {
            symbols.gnu_hash.as_ref()?.prefetch_hash_of(self.symbol);
        } else {
            symbols.strings.prefetch(symbol.0.st_name, 0);
        }
        Some(())
    }

    #[inline(always)]
    fn see_hash(&mut self, references: &References, index: &ScopeIndex) -> Option<()> {
        let symbols = references.symbols;
        (self.length, self.hash) = if self.is_own {
            (0, symbols.gnu_hash.as_ref()?.hash_of(self.symbol)?)
        } else {
            hash::of_ordinary_name(&symbols.strings, symbols.get(self.symbol)?.0.st_name)?
        };
        index.prefetch(self.hash);
        Some(())
    }

    #[inline(always)]
    fn see_slot(&mut self, references: &References, index: &ScopeIndex) -> Option<()> {
        let (provider, symbol) = index.first(self.hash)?;
        if self.is_own && provider == references.requester {
            return None;
        }
        references.objects.get(provider)?.symbols.as_ref()?.prefetch(symbol);
        self.definition = Some((provider, symbol));
        Some(())
    }

    #[inline(always)]
    fn see_definition(&mut self, references: &References) -> Option<()> {
        let (provider, symbol) = self.definition?;
        let symbols = references.objects.get(provider)?.symbols.as_ref()?;
        symbols.strings.prefetch(symbols.get(symbol)?.0.st_name, self.length);
        None
    }
}
