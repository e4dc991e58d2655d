//! Comparing two outcomes, and showing a person what differs.

use std::fmt::Write;

use similar::TextDiff;

use crate::run::Outcome;

/// Says what differs between what glibc's loader gave and what the interpreter under test gave; nothing when equal.
pub fn difference(expected: &Outcome, actual: &Outcome) -> Option<String> {
    if expected == actual {
        return None;
    }
    let mut text = String::new();
    if expected.status != actual.status {
        let _ = writeln!(text, "status: {} under glibc, {} under Folio", expected.status, actual.status);
    }
    for (stream, expected, actual) in
        [("stdout", &expected.stdout, &actual.stdout), ("stderr", &expected.stderr, &actual.stderr)]
    {
        if expected != actual {
            let _ = writeln!(text, "{stream} (- glibc, + Folio):");
            text += &diff(&String::from_utf8_lossy(expected), &String::from_utf8_lossy(actual));
        }
    }
    Some(text)
}

/// A unified diff, cut where it would bury the reader.
pub fn diff(expected: &str, actual: &str) -> String {
    const LINES: usize = 60;
    let diff = TextDiff::from_lines(expected, actual);
    let text = diff.unified_diff().context_radius(2).to_string();
    let mut lines: Vec<&str> = text.lines().collect();
    let total = lines.len();
    lines.truncate(LINES);
    let mut cut = lines.join("\n");
    if total > LINES {
        let _ = write!(cut, "\n… {} more lines", total - LINES);
    }
    cut.push('\n');
    cut
}

/// Replaces every `0x` number of eight digits or more by `0x…`: addresses differ from run to run.
pub fn without_addresses(bytes: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(bytes);
    let mut parts = text.split("0x");
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let digits = part.bytes().take_while(u8::is_ascii_hexdigit).count();
        out += if digits >= 8 { "0x…" } else { "0x" };
        out += if digits >= 8 { &part[digits..] } else { part };
    }
    out.into_bytes()
}

/// Replaces every occurrence of `from` by `to`.
pub fn replace(bytes: &[u8], from: &str, to: &str) -> Vec<u8> {
    String::from_utf8_lossy(bytes).replace(from, to).into_bytes()
}

/// Drops ` (required by X)` at the ends of lines: Folio's sentences about a library that cannot be loaded are glibc's,
/// and then name who needs it.
pub fn without_requester(bytes: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(bytes);
    let shortened = text.split_inclusive('\n').map(|line| {
        let (sentence, end) = line.strip_suffix('\n').map_or((line, ""), |line| (line, "\n"));
        let loading = sentence.contains("error while loading shared libraries") && sentence.ends_with(')');
        let kept = loading.then(|| sentence.rsplit_once(" (required by ")).flatten().map_or(sentence, |(kept, _)| kept);
        format!("{kept}{end}")
    });
    shortened.collect::<String>().into_bytes()
}

/// Drops the lines that contain a text.
pub fn without_lines(bytes: &[u8], text: &str) -> Vec<u8> {
    let lines = String::from_utf8_lossy(bytes);
    lines.split_inclusive('\n').filter(|line| !line.contains(text)).collect::<String>().into_bytes()
}
