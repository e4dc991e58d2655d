//! The profile as text: what was done, for which library, and how lookups went.

use std::fmt::Write;

use super::{Library, Profile};
use crate::draw::{base_name, fitting, grouped};
use crate::table::{indented, table};

/// Libraries that have a line of their own.
const LINES: usize = 20;

/// Microseconds; nothing is shown as a dot, so that what counts is seen.
fn time(microseconds: f64) -> String {
    if microseconds < 0.05 {
        return "·".to_owned();
    }
    let tenths = (microseconds * 10.0).round() as u64;
    format!("{}.{}", grouped(tenths / 10), tenths % 10)
}

fn count(number: u64) -> String {
    if number == 0 { "·".to_owned() } else { grouped(number) }
}

fn share(part: f64) -> String {
    format!("{:.1} %", part * 100.0)
}

impl Profile {
    pub fn text(&self) -> String {
        let mut text = String::new();
        let _ = writeln!(
            text,
            "{}: {} µs from the request to the program's entry, {} µs of them for fork and exec, {} µs in the linker.",
            self.program,
            time(self.kernel + self.linker),
            time(self.kernel),
            time(self.linker)
        );
        let _ = writeln!(
            text,
            "The fastest of {} starts; in the median the linker took {} µs, at most {} µs. Page faults are those of another start.\n",
            self.runs,
            time(self.median),
            time(self.slowest)
        );
        text + &self.parts_text()
            + "\n"
            + &self.libraries_text()
            + "\n"
            + &self.lookups_text()
            + "\n"
            + &self.relocations_text()
    }

    fn parts_text(&self) -> String {
        let mut table = table(&["what the linker did", ">µs", ">share", ">faults", ">from disk"]);
        for part in self.parts.iter().filter(|part| part.time > 0.0) {
            table.add_row([
                part.label.to_owned(),
                time(part.time),
                share(part.share),
                count(part.minor_faults + part.major_faults),
                count(part.major_faults),
            ]);
        }
        table.add_row([
            "all".to_owned(),
            time(self.linker),
            share(1.0),
            count(self.minor_faults + self.major_faults),
            count(self.major_faults),
        ]);
        indented(&table, 0)
    }

    fn libraries_text(&self) -> String {
        let mut table = table(&[
            "for which object",
            ">µs",
            ">share",
            ">files",
            ">map",
            ">relocate",
            ">lookups",
            ">resolvers",
            ">initializers",
            ">faults",
        ]);
        let row = |library: &Library, name: String| {
            [
                name,
                time(library.time),
                share(library.share),
                time(library.files),
                time(library.map),
                time(library.relocate),
                time(library.lookup),
                time(library.resolve),
                time(library.initialise),
                count(library.minor_faults + library.major_faults),
            ]
        };
        for library in self.libraries.iter().take(LINES) {
            table.add_row(row(library, base_name(&library.path).to_owned()));
        }
        if self.libraries.len() > LINES {
            let rest = Library::sum(&self.libraries[LINES..]);
            table.add_row(row(&rest, format!("{} more", self.libraries.len() - LINES)));
        }
        indented(&table, 0)
    }

    fn lookups_text(&self) -> String {
        let mut table = table(&[
            "lookups of",
            ">lookups",
            ">ns each",
            ">repeated",
            ">asked",
            ">Bloom misses",
            ">resolvers",
            ">longest",
            "for",
        ]);
        let row = |library: &Library, name: String| {
            [
                name,
                count(library.lookups),
                count((library.lookup * 1e3 / library.lookups.max(1) as f64) as u64),
                count(library.repeated),
                count(library.asked),
                count(library.filtered),
                count(library.resolvers),
                count(library.longest),
                fitting(library.longest_symbol.as_deref().unwrap_or_default(), 40),
            ]
        };
        let mut by_number: Vec<&Library> = self.libraries.iter().filter(|library| library.lookups > 0).collect();
        by_number.sort_by_key(|library| std::cmp::Reverse(library.lookups));
        for library in by_number.iter().take(LINES) {
            table.add_row(row(library, base_name(&library.path).to_owned()));
        }
        let all = Library::sum(&self.libraries);
        table.add_row(row(&all, "all".to_owned()));
        indented(&table, 0)
            + "Asked: objects that lookups came by. A Bloom miss is one whose filter knew that it has no such name. Repeated:\n\
               relocations that took the answer of the one before.\n"
    }

    fn relocations_text(&self) -> String {
        let mut table = table(&["relocations", ">number", ">most of them", "in"]);
        for kind in &self.relocations {
            table.add_row([
                kind.kind.to_owned(),
                grouped(kind.count),
                grouped(kind.of_most),
                base_name(&kind.most).to_owned(),
            ]);
        }
        indented(&table, 0)
    }
}

impl Library {
    /// Several in one line.
    fn sum(libraries: &[Library]) -> Library {
        let mut all = Library::default();
        for one in libraries {
            all.time += one.time;
            all.share += one.share;
            all.files += one.files;
            all.map += one.map;
            all.relocate += one.relocate;
            all.lookup += one.lookup;
            all.resolve += one.resolve;
            all.initialise += one.initialise;
            all.minor_faults += one.minor_faults;
            all.major_faults += one.major_faults;
            all.lookups += one.lookups;
            all.repeated += one.repeated;
            all.asked += one.asked;
            all.filtered += one.filtered;
            all.resolvers += one.resolvers;
            if one.longest > all.longest {
                all.longest = one.longest;
                all.longest_symbol.clone_from(&one.longest_symbol);
            }
        }
        all
    }
}
