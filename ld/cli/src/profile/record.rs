//! The record of a start that the interpreter writes (`LD_FOLIO_PROFILE`), read. Times become microseconds from the linker's
//! first look on.

use anyhow::{Context, Result, ensure};
use serde::Serialize;

/// What is done in a span: its word in the record, what it belongs to, what it is called with all that it holds, and what the
/// rest of it is called, where that is something else.
const KINDS: [(&str, Phase, &str, &str); 28] = [
    ("start", Phase::Other, "the start", "between the parts"),
    ("adopt", Phase::Other, "take over the program, the vDSO and the linker itself", ""),
    ("discover", Phase::Files, "find and map what is needed", "decode objects, follow what they need"),
    ("search", Phase::Files, "search", ""),
    ("open", Phase::Files, "open files, read their headers", ""),
    ("probe", Phase::Files, "try files in vain", ""),
    ("cache", Phase::Files, "map ld.so.cache", ""),
    ("map", Phase::Map, "map segments", ""),
    ("versions", Phase::Files, "check versions", ""),
    ("layout", Phase::Libc, "recognise the libc", ""),
    ("publish", Phase::Libc, "fill in what libc and debuggers see", ""),
    ("processor", Phase::Libc, "ask for the processor's features", ""),
    ("order", Phase::Other, "make scopes, sort for initialisation", ""),
    ("thread", Phase::Libc, "make the main thread", ""),
    ("relocate", Phase::Relocate, "relocate", "relocate, all else"),
    ("index", Phase::Lookup, "index the names of all libraries", ""),
    ("object", Phase::Relocate, "relocate", "relocate, all else"),
    ("packed", Phase::Relocate, "relative relocations (RELR)", ""),
    ("relative", Phase::Relocate, "relative relocations (RELA)", ""),
    ("symbolic", Phase::Relocate, "symbolic relocations", "symbolic relocations, without lookups"),
    (LOOKUP, Phase::Lookup, "look symbols up", ""),
    ("indirect", Phase::Resolve, "IRELATIVE relocations", "IRELATIVE relocations, without resolvers"),
    (RESOLVER, Phase::Resolve, "IFUNC resolvers", ""),
    ("protect", Phase::Map, "protect (make read-only)", ""),
    ("tls", Phase::Libc, "fill thread-local storage", ""),
    ("libc", Phase::Libc, "libc's early initialisation", ""),
    ("initialise", Phase::Initialise, "initializers", "initializers, all else"),
    ("initializers", Phase::Initialise, "initializers", ""),
];
pub const LOOKUP: &str = "lookup";
pub const RESOLVER: &str = "resolver";

/// What a kind of work belongs to, for its colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    Files,
    Map,
    Relocate,
    Lookup,
    Resolve,
    Libc,
    Initialise,
    Other,
}

/// A kind of work, by its place in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Kind(usize);

impl Kind {
    pub const START: Kind = Kind(0);

    pub fn of(word: &str) -> Option<Kind> {
        KINDS.iter().position(|(name, ..)| *name == word).map(Kind)
    }

    pub fn word(self) -> &'static str {
        KINDS[self.0].0
    }

    pub fn phase(self) -> Phase {
        KINDS[self.0].1
    }

    pub fn label(self) -> &'static str {
        KINDS[self.0].2
    }

    /// What is left of it when its parts are taken out.
    pub fn rest(self) -> &'static str {
        let (_, _, whole, rest) = KINDS[self.0];
        if rest.is_empty() { whole } else { rest }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct Span {
    pub kind: Kind,
    /// The file that it is about.
    pub object: Option<String>,
    pub begin: f64,
    pub end: f64,
    /// Minor and major.
    pub faults: [u64; 2],
}

/// What the relocation of one object did many times.
#[derive(Clone, Debug, PartialEq)]
pub struct Sums {
    pub object: String,
    pub lookups: u64,
    pub lookup_time: f64,
    pub repeated: u64,
    pub resolvers: u64,
    pub resolver_time: f64,
    pub asked: u64,
    pub filtered: u64,
    pub longest: u64,
    pub longest_symbol: Option<String>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// From the request to start the program to the linker's first look.
    pub before: f64,
    /// In the order in which they began, the whole start first.
    pub spans: Vec<Span>,
    pub sums: Vec<Sums>,
}

impl Record {
    /// Reads what the interpreter wrote; the start was requested at `requested`, in nanoseconds of `CLOCK_MONOTONIC`. What is
    /// said of the program under its name is about its file.
    pub fn parse(bytes: &[u8], requested: u64, program: &str, file: &str) -> Result<Record> {
        let text = String::from_utf8_lossy(bytes);
        let mut lines = text.lines();
        ensure!(lines.next() == Some("folio-profile 1"), "written by another version of the interpreter");
        let start = lines.next().and_then(Clock::parse).context("without the time of the start")?;
        let before = start.began.saturating_sub(requested) as f64 / 1e3;
        let whole =
            Span { kind: Kind::START, object: None, begin: 0.0, end: start.microseconds(start.end), faults: [0; 2] };
        let mut record = Record { before, spans: Vec::new(), sums: Vec::new() };
        for (number, line) in lines.enumerate() {
            let known = match line.split_once(' ') {
                Some(("span", rest)) => start.span(rest).map(|span| record.spans.push(span)),
                Some(("lookups", rest)) => start.sums(rest).map(|sums| record.sums.push(sums)),
                _ => None,
            };
            known.with_context(|| format!("line {} is not in its form: {line}", number + 3))?;
        }
        // Who encloses comes before what it encloses, also where both begin and end in the same tick; it was written later.
        record.spans.push(whole);
        record.spans.reverse();
        record.spans.sort_by(|a, b| a.begin.total_cmp(&b.begin).then(b.end.total_cmp(&a.end)));
        let spans = record.spans.iter_mut().filter_map(|span| span.object.as_mut());
        for object in spans.chain(record.sums.iter_mut().map(|sums| &mut sums.object)).filter(|name| *name == program) {
            file.clone_into(object);
        }
        record.name_files();
        Ok(record)
    }

    /// A search is for the file that it ends with, and what is mapped is what was opened last.
    fn name_files(&mut self) {
        let is = |span: &Span, word| span.kind.word() == word;
        let mut opened = None;
        for index in 0..self.spans.len() {
            if is(&self.spans[index], "search") {
                let end = self.spans[index].end;
                let within = self.spans[index + 1..].iter().take_while(|span| span.begin < end);
                let found = within.filter(|span| is(span, "open")).last().and_then(|span| span.object.clone());
                self.spans[index].object = found.or(self.spans[index].object.take());
            } else if is(&self.spans[index], "open") {
                opened.clone_from(&self.spans[index].object);
            } else if is(&self.spans[index], "map") {
                self.spans[index].object.clone_from(&opened);
            }
        }
    }

    /// The linker's part of the start.
    pub fn total(&self) -> f64 {
        self.spans.first().map_or(0.0, |span| span.end)
    }
}

/// Ticks of the time stamp counter at both ends, and the nanoseconds between them.
struct Clock {
    begin: u64,
    end: u64,
    began: u64,
    nanoseconds: u64,
}

impl Clock {
    fn parse(line: &str) -> Option<Clock> {
        let mut words = line.strip_prefix("start ")?.split(' ');
        let mut number = || words.next()?.parse::<u64>().ok();
        let (begin, began, end, ended) = (number()?, number()?, number()?, number()?);
        (begin < end).then_some(Clock { begin, end, began, nanoseconds: ended.checked_sub(began)? })
    }

    fn duration(&self, ticks: u64) -> f64 {
        ticks as f64 * self.nanoseconds as f64 / 1e3 / (self.end - self.begin) as f64
    }

    fn microseconds(&self, at: u64) -> f64 {
        self.duration(at.clamp(self.begin, self.end) - self.begin)
    }

    fn span(&self, rest: &str) -> Option<Span> {
        let mut words = rest.splitn(6, ' ');
        let kind = Kind::of(words.next()?)?;
        let mut number = || words.next()?.parse::<u64>().ok();
        let (begin, end, minor, major) = (number()?, number()?, number()?, number()?);
        let object = words.next().filter(|name| !name.is_empty()).map(str::to_owned);
        let (begin, end) = (self.microseconds(begin), self.microseconds(end));
        Some(Span { kind, object, begin, end: end.max(begin), faults: [minor, major] })
    }

    fn sums(&self, rest: &str) -> Option<Sums> {
        let mut words = rest.splitn(10, ' ');
        let mut number = || words.next()?.parse::<u64>().ok();
        let [lookups, ticks, repeated, resolvers, resolver_ticks, asked, filtered, longest] =
            [number()?, number()?, number()?, number()?, number()?, number()?, number()?, number()?];
        let longest_symbol = Some(words.next()?).filter(|name| *name != "-").map(str::to_owned);
        Some(Sums {
            object: words.next()?.to_owned(),
            lookups,
            lookup_time: self.duration(ticks),
            repeated,
            resolvers,
            resolver_time: self.duration(resolver_ticks),
            asked,
            filtered,
            longest,
            longest_symbol,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "folio-profile 1\nstart 1000 5000 3000 9000 times\n\
        span open 1200 1300 1 0 /lib/liba b.so\nspan search 1100 1400 1 0 liba b.so\nspan map 1500 1700 2 1 \n\
        span symbolic 1800 2400 0 0 /lib/liba b.so\n\
        lookups 3 400 1 2 100 9 5 4 _Z1fv /lib/liba b.so\nlookups 0 0 0 0 0 0 0 0 - prog\n";

    #[test]
    fn a_record_is_read() {
        let record = Record::parse(TEXT.as_bytes(), 2000, "prog", "/bin/prog").unwrap();
        // 2000 ticks took 4000 ns.
        assert_eq!((record.before, record.total()), (3.0, 4.0));
        let told: Vec<_> =
            record.spans.iter().map(|s| (s.kind.word(), s.object.as_deref(), (s.begin * 10.0).round())).collect();
        let file = Some("/lib/liba b.so");
        let expected = [("start", None, 0.0), ("search", file, 2.0), ("open", file, 4.0), ("map", file, 10.0)];
        assert_eq!(told[..4], expected);
        assert_eq!(record.sums[0].longest_symbol.as_deref(), Some("_Z1fv"));
        assert_eq!(
            (record.sums[0].object.as_str(), record.sums[1].longest_symbol.as_deref()),
            ("/lib/liba b.so", None)
        );
    }

    #[test]
    fn damage_is_named() {
        for (text, words) in [
            ("", "another version"),
            ("folio-profile 2\n", "another version"),
            ("folio-profile 1\nstart 1 2\n", "time of the start"),
            ("folio-profile 1\nstart 9 2 1 2 times\n", "time of the start"),
            ("folio-profile 1\nstart 1 2 3 4 times\nspan nonsense 1 2 0 0 \n", "line 3"),
            ("folio-profile 1\nstart 1 2 3 4 times\nlookups 1 2\n", "line 3"),
        ] {
            let error = Record::parse(text.as_bytes(), 0, "", "").unwrap_err().to_string();
            assert!(error.contains(words), "{text}: {error}");
        }
    }
}
