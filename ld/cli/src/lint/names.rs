//! Names for addresses: sections and symbols, where a file has them.

use std::ops::Range;

use object::{Object, ObjectSection, ObjectSymbol, SectionKind};

/// What a file's section headers and symbol tables say.
#[derive(Debug, Default)]
pub struct Names {
    sections: Vec<(Range<u64>, String)>,
    /// By address.
    symbols: Vec<(Range<u64>, String)>,
}

impl Names {
    pub fn read(file: &[u8]) -> Names {
        let Ok(file) = object::File::parse(file) else { return Names::default() };
        let sections = file
            .sections()
            .filter(|section| section.address() != 0 && section.kind() != SectionKind::UninitializedTls)
            .filter_map(|section| {
                let end = section.address().checked_add(section.size())?;
                Some((section.address()..end, section.name().ok()?.to_owned()))
            })
            .collect();
        let mut symbols: Vec<(Range<u64>, String)> = file
            .symbols()
            .chain(file.dynamic_symbols())
            .filter(|symbol| symbol.is_definition() && symbol.address() != 0 && symbol.size() != 0)
            .filter_map(|symbol| {
                let end = symbol.address().checked_add(symbol.size())?;
                let name = symbol.name().ok().filter(|name| !name.is_empty())?;
                Some((symbol.address()..end, name.to_owned()))
            })
            .collect();
        symbols.sort_by(|(a, x), (b, y)| (a.start, x).cmp(&(b.start, y)));
        symbols.dedup_by_key(|(range, _)| range.start);
        Names { sections, symbols }
    }

    pub fn section(&self, at: u64) -> Option<&str> {
        self.sections.iter().find(|(range, _)| range.contains(&at)).map(|(_, name)| name.as_str())
    }

    /// The addresses of a section.
    pub fn section_named(&self, wanted: &str) -> Option<Range<u64>> {
        self.sections.iter().find(|(_, name)| name == wanted).map(|(range, _)| range.clone())
    }

    /// The function or variable that an address lies in.
    pub fn symbol(&self, at: u64) -> Option<(&Range<u64>, &str)> {
        let behind = self.symbols.partition_point(|(range, _)| range.start <= at);
        let (range, name) = self.symbols.get(behind.checked_sub(1)?)?;
        range.contains(&at).then_some((range, name))
    }

    /// A name for an address: that of its symbol, else that of its section.
    pub fn describe(&self, at: u64) -> String {
        match (self.symbol(at), self.section(at)) {
            (Some((_, name)), _) => name.to_owned(),
            (None, Some(section)) => format!("{section} (no symbols)"),
            (None, None) => "(no names)".to_owned(),
        }
    }
}
