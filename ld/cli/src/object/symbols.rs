//! Names for the addresses of an object: its sections, and the symbols of its symbol tables.

use std::ops::Range;

use object::{Object, ObjectSection, ObjectSymbol, SectionKind};

/// A section that is in memory when the object is loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    pub name: String,
    pub range: Range<u64>,
}

/// A function or variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Symbol {
    pub address: u64,
    pub size: u64,
    pub name: String,
}

impl Symbol {
    pub fn end(&self) -> u64 {
        self.address.saturating_add(self.size.max(1))
    }
}

/// Both in the order of their addresses; what a file does not have, or has in no readable form, is left out.
pub fn read(file: &[u8]) -> (Vec<Section>, Vec<Symbol>) {
    let Ok(file) = object::File::parse(file) else { return (Vec::new(), Vec::new()) };
    let mut sections: Vec<Section> = file
        .sections()
        // The template of thread-local zeros has an address that belongs to its neighbours.
        .filter(|section| section.address() != 0 && section.kind() != SectionKind::UninitializedTls)
        .filter_map(|section| {
            let end = section.address().checked_add(section.size())?;
            Some(Section { name: section.name().ok()?.to_owned(), range: section.address()..end })
        })
        .collect();
    sections.sort_by_key(|section| section.range.start);
    let mut symbols: Vec<Symbol> = file
        .symbols()
        .chain(file.dynamic_symbols())
        .filter(|symbol| symbol.is_definition() && symbol.address() != 0 && symbol.size() != 0)
        .filter_map(|symbol| {
            let name = symbol.name().ok().filter(|name| !name.is_empty())?;
            Some(Symbol { address: symbol.address(), size: symbol.size(), name: name.to_owned() })
        })
        .collect();
    symbols.sort_by(|a, b| (a.address, b.size, &a.name).cmp(&(b.address, a.size, &b.name)));
    // One name for an address is enough: aliases say nothing about the page.
    symbols.dedup_by_key(|symbol| symbol.address);
    (sections, symbols)
}
