//! All that is known of one private page.

use std::collections::BTreeMap;

use serde::Serialize;

use super::page::{Cause, State};
use super::survey::{Mapped, Segment, Survey};
use crate::object::Kind;
use crate::process::PAGE;

/// A page that one process has for itself.
#[derive(Debug, Serialize)]
pub struct PrivatePage<'s> {
    pub pid: u32,
    pub path: &'s str,
    pub segment: Kind,
    pub state: State,
    /// Where it lies in the process.
    pub address: u64,
    /// Where its bytes are in the file.
    pub offset: Option<u64>,
    pub cause: Option<Cause>,
    /// How many relocations of which kind the linker stored.
    pub relocations: BTreeMap<&'static str, u64>,
    pub sections: Vec<&'s str>,
    /// Symbols into which somebody other than the linker wrote.
    pub written: Vec<String>,
}

/// Every private page of every process, with its cause.
pub fn private_pages(survey: &Survey) -> Vec<PrivatePage<'_>> {
    let mut pages = Vec::new();
    for mapped in &survey.objects {
        for segment in &mapped.segments {
            for (process, held) in survey.processes.iter().zip(&segment.held) {
                let Some(held) = held else { continue };
                for (index, cell) in held.cells.iter().enumerate() {
                    if cell.state < State::PrivateClean {
                        continue;
                    }
                    pages.push(PrivatePage {
                        pid: process.pid,
                        path: &mapped.path,
                        segment: segment.kind,
                        state: cell.state,
                        address: held.address(index).unwrap_or(0),
                        offset: mapped.offset(segment, index),
                        cause: cell.cause,
                        relocations: mapped.relocations(segment, index),
                        sections: mapped.sections(segment, index),
                        written: written(mapped, segment, index, held.written.get(&index)),
                    });
                }
            }
        }
    }
    pages
}

impl Mapped {
    /// Where in the file a cell's bytes are.
    pub fn offset(&self, segment: &Segment, cell: usize) -> Option<u64> {
        let page = segment.first + cell as u64;
        match (&self.object, segment.kind) {
            (_, Kind::Anonymous) => None,
            (Some(object), _) => object.offset(page),
            (None, _) => page.checked_mul(PAGE),
        }
    }

    pub fn relocations(&self, segment: &Segment, cell: usize) -> BTreeMap<&'static str, u64> {
        self.object.as_ref().map(|object| object.relocations(segment.first + cell as u64)).unwrap_or_default()
    }

    pub fn sections(&self, segment: &Segment, cell: usize) -> Vec<&str> {
        let page = segment.first + cell as u64;
        let sections = self.object.iter().flat_map(|object| object.sections_at(page));
        sections.map(|section| section.name.as_str()).collect()
    }

    /// Symbols that have bytes on a cell's page.
    pub fn symbols(&self, segment: &Segment, cell: usize) -> impl Iterator<Item = &str> {
        let start = (segment.first + cell as u64).wrapping_mul(PAGE);
        let symbols = self.object.iter().flat_map(move |object| object.symbols_at(start..start.saturating_add(PAGE)));
        symbols.map(|symbol| symbol.name.as_str())
    }
}

/// Names for changed words: the symbol, or else the section, each once.
pub fn written(mapped: &Mapped, segment: &Segment, cell: usize, words: Option<&Vec<u16>>) -> Vec<String> {
    let (Some(object), Some(words)) = (&mapped.object, words) else { return Vec::new() };
    let page = (segment.first + cell as u64).wrapping_mul(PAGE);
    let mut names: Vec<String> = Vec::new();
    for word in words {
        let at = page.wrapping_add(u64::from(*word));
        let symbol = object.symbols_at(at..at.saturating_add(8)).next().map(|symbol| &symbol.name);
        let section =
            || object.sections.iter().find(|section| section.range.contains(&at)).map(|section| &section.name);
        if let Some(name) = symbol.or_else(section)
            && names.last() != Some(name)
        {
            names.push(name.clone());
        }
    }
    names
}
