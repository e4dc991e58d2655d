//! Rules about relocations: which pages they make private, which could be fewer or cheaper.

use std::collections::BTreeMap;

use folio_elf::dynamic::DF_TEXTREL;
use folio_elf::relocation::R_X86_64_64;
use folio_elf::symbol::{STB_GLOBAL, STT_FUNC, STT_GNU_IFUNC, STV_DEFAULT};
use folio_link::placement::PAGE;

use super::{Finding, Where, tally};
use crate::lint::library::{Library, Place};
use crate::lint::pack;
use crate::lint::rule::Rule;

/// Size in bytes of an `Elf64_Rela`.
const RELA: u64 = 24;

/// Tables that fill less than this are not worth a word: every library has some pointers.
const FEW_PAGES: usize = 2;

/// As many pointers in `.data` are worth a look.
const SOME_POINTERS: u64 = 16;

fn in_text<'l>(library: &'l Library) -> impl Iterator<Item = &'l Place> {
    library.places.iter().filter(|place| library.is_constant(place.at))
}

pub fn text_relocations(library: &Library) -> Option<Finding> {
    let count = in_text(library).count();
    if count == 0 {
        return None;
    }
    let pages = library.by_page(|place| library.is_constant(place.at)).len() as u64;
    let cause = format!(
        "{count} relocations in memory that is not writable, on {pages} of {} such pages: code that was not compiled to be \
         position-independent",
        library.weight.shared + library.weight.changed_text,
    );
    let places = tally(in_text(library).map(|place| library.names.describe(place.at)), "relocations");
    Some(Finding::new(Rule::TextRelocations, cause).private(pages).at(places))
}

pub fn stale_textrel(library: &Library) -> Option<Finding> {
    let is_set = library.object.dynamic.as_ref()?.flags & DF_TEXTREL != 0;
    let is_stale = is_set && in_text(library).next().is_none();
    is_stale.then(|| Finding::new(Rule::StaleTextrel, "DT_TEXTREL without a relocation in text".to_owned()))
}

pub fn relocated_tables(library: &Library) -> Option<Finding> {
    let is_table = |place: &Place| place.is_relative() && !library.is_constant(place.at);
    let pages = library.by_page(is_table);
    if pages.len() <= FEW_PAGES {
        return None;
    }
    let count = library.places.iter().filter(|place| is_table(place)).count();
    let sealed = pages.keys().filter(|&&page| library.is_sealed(page)).count();
    let cause =
        format!("{count} relative relocations on {} pages, of which {sealed} are read-only afterwards", pages.len());
    let names = library.places.iter().filter(|place| is_table(place)).map(|place| library.names.describe(place.at));
    Some(Finding::new(Rule::RelocatedTables, cause).private(pages.len() as u64).at(tally(names, "pointers")))
}

/// Variables in `.data` that consist of pointers for the larger part.
pub fn writable_constants(library: &Library) -> Option<Finding> {
    let data = library.names.section_named(".data")?;
    let is_pointer = |place: &&Place| data.contains(&place.at) && (place.is_relative() || place.kind == R_X86_64_64);
    let mut tables: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    for place in library.places.iter().filter(is_pointer) {
        // Without a symbol it cannot be told what belongs together.
        if let Some(symbol) = library.names.symbol(place.at) {
            tables.entry(&symbol.name).or_insert((0, symbol.size)).0 += 1;
        }
    }
    tables.retain(|_, (count, size)| *count >= 4 && *count * 2 >= *size / 8);
    let table = |(name, (count, _)): (&str, (u64, u64))| Where { name: name.to_owned(), count, unit: "pointers" };
    let mut places: Vec<Where> = tables.into_iter().map(table).collect();
    places.sort_by_key(|place| std::cmp::Reverse(place.count));
    let count: u64 = places.iter().map(|table| table.count).sum();
    if count < SOME_POINTERS {
        return None;
    }
    let cause = format!("{} variables in .data hold {count} pointers that relocations set", places.len());
    Some(Finding::new(Rule::WritableConstants, cause).kib(count * 8).at(places))
}

/// References to symbols that the library itself defines, and that it would look up all the same.
pub fn self_lookups(library: &Library) -> Option<Finding> {
    let symbols = library.object.symbols.as_ref()?;
    let own = |place: &Place| {
        let symbol = symbols.get(place.symbol).filter(|_| place.symbol != 0)?;
        // A weak definition may be one of several, of which the program must have one: C++ counts on that.
        let is_own = symbol.is_defined() && symbol.binding() == STB_GLOBAL && symbol.visibility() == STV_DEFAULT;
        is_own.then_some(symbol)
    };
    let found: Vec<(&Place, folio_elf::Symbol)> =
        library.places.iter().filter_map(|place| Some((place, own(place)?))).collect();
    if found.is_empty() {
        return None;
    }
    let calls = found.iter().filter(|(place, _)| place.is_call).count();
    let is_function = |symbol: &folio_elf::Symbol| matches!(symbol.kind(), STT_FUNC | STT_GNU_IFUNC);
    let addresses = found.iter().filter(|(place, symbol)| !place.is_call && is_function(symbol)).count();
    let mut indices: Vec<u32> = found.iter().map(|(place, _)| place.symbol).collect();
    indices.sort_unstable();
    indices.dedup();
    let cause = format!(
        "{} references to {} of its own symbols go by name: {calls} calls, {addresses} addresses of functions, {} variables",
        found.len(),
        indices.len(),
        found.len() - calls - addresses,
    );
    let names =
        found.iter().filter_map(|(_, symbol)| Some(String::from_utf8_lossy(symbols.name(symbol)?).into_owned()));
    Some(Finding::new(Rule::SelfLookups, cause).at(tally(names, "references")))
}

pub fn no_relr(library: &Library) -> Option<Finding> {
    let mut loose: Vec<u64> = pack::packable(library).map(|place| place.at).collect();
    loose.sort_unstable();
    loose.dedup();
    let (before, after) = (loose.len() as u64 * RELA, pack::encode(&loose).len() as u64 * 8);
    let saved = before.saturating_sub(after);
    if saved < PAGE {
        return None;
    }
    let cause = format!("{} relative relocations take {before} bytes; DT_RELR would take {after}", loose.len());
    Some(Finding::new(Rule::NoRelr, cause).kib(saved))
}
