//! Names for addresses: sections and symbols, where a file has them.

use std::ops::Range;

use crate::object::{self, Section, Symbol};

/// What a file's section headers and symbol tables say.
#[derive(Debug, Default)]
pub struct Names {
    sections: Vec<Section>,
    symbols: Vec<Symbol>,
}

impl Names {
    pub fn read(file: &[u8]) -> Names {
        let (sections, symbols) = object::names(file);
        Names { sections, symbols }
    }

    pub fn section(&self, at: u64) -> Option<&str> {
        self.sections.iter().find(|section| section.range.contains(&at)).map(|section| section.name.as_str())
    }

    /// The addresses of a section.
    pub fn section_named(&self, wanted: &str) -> Option<Range<u64>> {
        self.sections.iter().find(|section| section.name == wanted).map(|section| section.range.clone())
    }

    /// The function or variable that an address lies in.
    pub fn symbol(&self, at: u64) -> Option<&Symbol> {
        let behind = self.symbols.partition_point(|symbol| symbol.address <= at);
        self.symbols.get(behind.checked_sub(1)?).filter(|symbol| at < symbol.end())
    }

    /// A name for an address: that of its symbol, else that of its section.
    pub fn describe(&self, at: u64) -> String {
        match (self.symbol(at), self.section(at)) {
            (Some(symbol), _) => symbol.name.clone(),
            (None, Some(section)) => format!("{section} (no symbols)"),
            (None, None) => "(no names)".to_owned(),
        }
    }
}
