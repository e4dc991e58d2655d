//! How findings look: a report for each library, or a table of the worst.

use std::collections::BTreeMap;
use std::fmt::Write;

use anstyle::{AnsiColor, Style};
use serde::Serialize;

use super::{Examined, Finding, Level, Report, Rule};
use crate::table::{indented, table};

/// As many places are named with a finding; JSON has them all.
const SHOWN: usize = 5;

impl Report {
    pub fn text(&self) -> String {
        let mut text = match self.worst {
            Some(count) => self.worst_table(count),
            None => self.libraries.iter().map(Examined::text).collect::<Vec<_>>().join("\n"),
        };
        if !self.unreadable.is_empty() {
            text += "\n";
        }
        for file in &self.unreadable {
            let _ = writeln!(text, "{}: {}", file.path.display(), file.error);
        }
        if !self.denied.is_empty() {
            let denied: Vec<&str> = self.denied.iter().copied().collect();
            let _ = writeln!(text, "\nDenied: {}", denied.join(", "));
        }
        text
    }

    fn worst_table(&self, count: usize) -> String {
        let mut ranked: Vec<&Examined> = self.libraries.iter().collect();
        ranked.sort_by_key(|library| (std::cmp::Reverse(library.private_kib), &library.path));
        let mut rows = table(&[
            "library",
            ">private KiB",
            ">of text",
            ">sealed",
            ">zeros",
            ">shared KiB",
            ">relocations",
            "rules that it breaks",
        ]);
        for library in ranked.iter().take(count) {
            let mut rules: Vec<&Finding> = library.findings.iter().collect();
            rules.sort_by_key(|finding| finding.level);
            let rules: Vec<&str> = rules.iter().map(|finding| finding.rule.name()).collect();
            let weight = &library.weight;
            rows.add_row([
                library.path.display().to_string(),
                library.private_kib.to_string(),
                (weight.changed_text * 4).to_string(),
                (weight.sealed * 4).to_string(),
                (weight.zeros * 4).to_string(),
                library.shared_kib.to_string(),
                library.relocations.to_string(),
                rules.join(" "),
            ]);
        }
        let mut text = indented(&rows, 0);
        text += "\nPrivate: what each process has for itself as soon as the library is loaded. Sealed: of it, read-only after \
                 relocation.\n\n";
        text += &self.rule_table();
        let sum = |part: fn(&Examined) -> u64| self.libraries.iter().map(part).sum::<u64>();
        let _ = writeln!(
            text,
            "\n{} libraries: {} KiB can be shared, {} KiB are private to each process that loads them.",
            self.libraries.len(),
            sum(|library| library.shared_kib),
            sum(|library| library.private_kib),
        );
        text
    }

    /// How many libraries break each rule, and what it costs.
    fn rule_table(&self) -> String {
        let mut rules: BTreeMap<Rule, (u64, u64, u64)> = BTreeMap::new();
        for finding in self.libraries.iter().flat_map(|library| &library.findings) {
            let sum = rules.entry(finding.rule).or_default();
            *sum = (sum.0 + 1, sum.1 + finding.private_pages * 4, sum.2 + finding.kib);
        }
        let mut rows = table(&["rule", ">libraries", ">private KiB", ">other KiB", "what it means"]);
        for (rule, (count, private, other)) in rules {
            let numbers = [count, private, other].map(|number| number.to_string());
            rows.add_row([rule.name(), &numbers[0], &numbers[1], &numbers[2], rule.summary()]);
        }
        indented(&rows, 0)
    }
}

impl Examined {
    pub fn text(&self) -> String {
        let bold = Style::new().bold();
        let mut text = format!("{bold}{}{bold:#}\n", self.path.display());
        let weight = &self.weight;
        let mut rows = table(&["pages", ">pages", ">KiB", "in each process"]);
        let lines: [(&str, u64, &str); 5] = [
            ("code and constants", weight.shared, "the file's own: in memory once"),
            ("code that is relocated", weight.changed_text, "private as soon as it is loaded"),
            ("data that is relocated", weight.relocated_data, "private as soon as it is loaded"),
            ("other data", weight.other_data, "the file's own until it is written"),
            ("zeros", weight.zeros, "no memory until they are written"),
        ];
        for (what, pages, becomes) in lines.iter().filter(|(_, pages, _)| *pages > 0) {
            rows.add_row([*what, &pages.to_string(), &(pages * 4).to_string(), *becomes]);
        }
        text += &indented(&rows, 2);
        if weight.sealed > 0 {
            let _ = writeln!(text, "  Of the relocated pages, {} are read-only after relocation.", weight.sealed);
        }
        let _ = writeln!(
            text,
            "  {} relocations; {} KiB private to each process, {} KiB shared.",
            self.relocations, self.private_kib, self.shared_kib,
        );
        if self.findings.is_empty() {
            text += "  Nothing to improve.\n";
        }
        for finding in &self.findings {
            text += "\n";
            text += &finding.text();
        }
        text
    }
}

impl Finding {
    fn text(&self) -> String {
        let (word, colour) = match self.level {
            Level::Error => ("error", AnsiColor::Red),
            Level::Warning => ("warning", AnsiColor::Yellow),
            Level::Note => ("note", AnsiColor::Cyan),
        };
        let style = colour.on_default().bold();
        let mut text = format!("  {style}{word}{style:#} {}: {}\n", self.rule.name(), self.cause);
        match (self.private_pages, self.kib) {
            (0, 0) => {}
            (0, kib) => drop(writeln!(text, "    costs {kib} KiB, not private to a process")),
            (pages, _) => drop(writeln!(text, "    costs {pages} pages, {} KiB, in each process", pages * 4)),
        }
        for place in self.places.iter().take(SHOWN) {
            let _ = writeln!(text, "    {:>8} {}  {}", place.count, place.unit, place.name);
        }
        if self.places.len() > SHOWN {
            let rest: u64 = self.places[SHOWN..].iter().map(|place| place.count).sum();
            let _ = writeln!(text, "    {rest:>8} {}  in {} more", self.places[0].unit, self.places.len() - SHOWN);
        }
        let _ = writeln!(text, "    remedy: {}", self.remedy);
        text
    }
}

/// A rule as `--list-rules` shows it.
#[derive(Debug, Serialize)]
pub struct Catalogue {
    pub rule: Rule,
    pub level: Level,
    pub summary: &'static str,
    pub remedy: &'static str,
    pub fixable: bool,
}

pub fn catalogue() -> Vec<Catalogue> {
    let entry = |rule: Rule| Catalogue {
        rule,
        level: rule.level(),
        summary: rule.summary(),
        remedy: rule.remedy(),
        fixable: rule.is_fixable(),
    };
    Rule::ALL.into_iter().map(entry).collect()
}

pub fn catalogue_text(catalogue: &[Catalogue]) -> String {
    let mut text = String::new();
    for entry in catalogue {
        let level = match entry.level {
            Level::Error => "error",
            Level::Warning => "warning",
            Level::Note => "note",
        };
        let fix = if entry.fixable { "; --fix can" } else { "" };
        let _ =
            writeln!(text, "{} ({level}{fix})\n  {}\n  remedy: {}\n", entry.rule.name(), entry.summary, entry.remedy);
    }
    text
}
