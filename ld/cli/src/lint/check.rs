//! The rules, each a question about one library.

mod relocations;
mod search_path;
mod segments;

use serde::Serialize;

use super::library::Library;
use super::rule::{Level, Rule};
pub use search_path::useless as useless_folders;

/// A rule that a library breaks.
#[derive(Debug, Serialize)]
pub struct Finding {
    pub rule: Rule,
    pub level: Level,
    /// Pages that each process has for itself because of it.
    pub private_pages: u64,
    /// KiB of the file or of the address space that it takes, shared or not.
    pub kib: u64,
    pub cause: String,
    /// Where: functions, tables, folders, with how often.
    pub places: Vec<Where>,
    pub remedy: &'static str,
}

/// One thing that a cause is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Where {
    pub name: String,
    pub count: u64,
    pub unit: &'static str,
}

impl Finding {
    fn new(rule: Rule, cause: String) -> Finding {
        let (level, remedy) = (rule.level(), rule.remedy());
        Finding { rule, level, private_pages: 0, kib: 0, cause, places: Vec::new(), remedy }
    }

    fn private(self, pages: u64) -> Finding {
        Finding { private_pages: pages, ..self }
    }

    fn kib(self, bytes: u64) -> Finding {
        Finding { kib: bytes.div_ceil(1024), ..self }
    }

    fn at(self, places: Vec<Where>) -> Finding {
        Finding { places, ..self }
    }
}

/// Everything that is to be said of a library.
pub fn findings(library: &Library) -> Vec<Finding> {
    let checks: [fn(&Library) -> Option<Finding>; 14] = [
        relocations::text_relocations,
        relocations::stale_textrel,
        segments::writable_code,
        segments::executable_stack,
        segments::no_relro,
        segments::partial_relro,
        relocations::relocated_tables,
        relocations::writable_constants,
        relocations::self_lookups,
        relocations::no_relr,
        segments::no_gnu_hash,
        segments::mixed_pages,
        segments::oversized_alignment,
        search_path::wasteful_rpath,
    ];
    checks.iter().filter_map(|check| check(library)).collect()
}

/// Counts things by name, most frequent first.
pub fn tally(names: impl Iterator<Item = String>, unit: &'static str) -> Vec<Where> {
    let mut counts = std::collections::BTreeMap::<String, u64>::new();
    for name in names {
        *counts.entry(name).or_default() += 1;
    }
    let mut places: Vec<Where> = counts.into_iter().map(|(name, count)| Where { name, count, unit }).collect();
    // Equals stay in the order of their names.
    places.sort_by_key(|place| std::cmp::Reverse(place.count));
    places
}
