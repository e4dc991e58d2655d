//! What the script of a picture knows: where each page is drawn, and words for it.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::super::detail::written;
use super::super::page::State;
use super::super::survey::Survey;
use super::super::text::short_name;
use super::Column;
use super::block::{Block, FOLD, Part};
use super::tones::{label, letter, meanings};
use crate::draw::{fitting, some};

/// A block and where it stands.
pub struct Placed<'s> {
    pub block: Block<'s>,
    pub x: u32,
    pub y: u32,
}

pub fn of_picture(survey: &Survey, columns: &[Column], placed: &[Placed], pitch: u32) -> Value {
    let meanings: Map<String, Value> =
        meanings(survey.processes.len()).map(|(letter, meaning)| (letter.to_string(), json!(meaning))).collect();
    let labels: Vec<&str> = columns.iter().map(|column| column.label.as_str()).collect();
    let blocks: Vec<Value> = placed.iter().map(|placed| of_block(placed, columns)).collect();
    json!({ "pitch": pitch, "fold": FOLD, "meanings": meanings, "columns": labels, "blocks": blocks })
}

fn of_block(placed: &Placed, columns: &[Column]) -> Value {
    let block = &placed.block;
    let segments: Vec<Value> = block.parts.iter().map(|part| of_part(block, part, columns)).collect();
    json!({
        "name": short_name(&block.mapped.path), "path": block.mapped.path,
        "x": placed.x, "y": placed.y, "width": block.width, "height": block.height,
        "across": block.across, "columns": block.lefts(columns.len()), "segments": segments,
    })
}

fn of_part(block: &Block, part: &Part, columns: &[Column]) -> Value {
    let (mapped, segment) = (block.mapped, part.segment);
    let length = part.letters.iter().flatten().map(Vec::len).max().unwrap_or(0);
    // Names are for pages that somebody has.
    let shown = |cell: &usize| {
        part.letters.iter().flatten().any(|letters| !matches!(letters.get(*cell), None | Some(b'u' | b'-')))
    };
    let cells: Vec<usize> = (0..length).filter(shown).collect();
    let (mut sections, mut symbols, mut relocations) = (Vec::<(usize, String)>::new(), Map::new(), Map::new());
    for &cell in &cells {
        let names = mapped.sections(segment, cell).join(" ");
        if sections.last().is_none_or(|(_, last)| *last != names) {
            sections.push((cell, names));
        }
        let names: Vec<String> = mapped.symbols(segment, cell).map(|name| fitting(name, 40)).collect();
        if !names.is_empty() {
            symbols.insert(cell.to_string(), json!(some(&names, 3, " ")));
        }
        let kinds: Vec<String> =
            mapped.relocations(segment, cell).iter().map(|(kind, count)| format!("{count} {kind}")).collect();
        if !kinds.is_empty() {
            relocations.insert(cell.to_string(), json!(kinds.join(", ")));
        }
    }
    let alone = columns.iter().all(|column| column.members.len() == 1);
    let held = |column: &Column| segment.held[column.members[0]].as_ref().filter(|_| alone);
    let addresses: Vec<Value> =
        columns.iter().map(|column| held(column).map_or(Value::Null, |held| held.addresses())).collect();
    let written: Vec<Value> = columns
        .iter()
        .map(|column| {
            let held = held(column);
            let changed = held.iter().flat_map(|held| &held.written);
            let names = changed.map(|(cell, words)| {
                let names: Vec<String> =
                    written(mapped, segment, *cell, Some(words)).iter().map(|name| fitting(name, 40)).collect();
                (cell.to_string(), json!(some(&names, 4, " ")))
            });
            Value::Object(names.collect())
        })
        .collect();
    let bands: Vec<Value> =
        part.bands.iter().map(|band| json!([band.top, band.first, band.count, u8::from(band.folded)])).collect();
    let states: Vec<Option<String>> = part.letters.iter().map(|letters| letters.as_deref().map(folded)).collect();
    let mut value = json!({
        "kind": segment.kind.name(), "bands": bands, "states": states, "addresses": addresses,
        "offset": mapped.offset(segment, 0), "sections": sections, "symbols": symbols, "relocations": relocations,
        "written": written,
    });
    if !alone {
        value["mix"] =
            Value::Object(cells.iter().map(|cell| (cell.to_string(), json!(mix(part, columns, *cell)))).collect());
    }
    value
}

/// How many processes have a page in which state.
fn mix(part: &Part, columns: &[Column], cell: usize) -> String {
    let mut counts: BTreeMap<u8, usize> = BTreeMap::new();
    for member in columns.iter().flat_map(|column| &column.members) {
        let held = part.segment.held[*member].as_ref();
        if let Some(cell) = held.and_then(|held| held.cells.get(cell)).filter(|cell| cell.state != State::Untouched) {
            *counts.entry(letter(cell)).or_default() += 1;
        }
    }
    counts.iter().map(|(letter, count)| format!("{} in {count}", label(*letter))).collect::<Vec<_>>().join(", ")
}

/// `aaauuuuuuu` as `3a7u`; a letter that stands once has no number.
fn folded(letters: &[u8]) -> String {
    let stretch = |letters: &[u8]| match letters.len() {
        1 => char::from(letters[0]).to_string(),
        count => format!("{count}{}", char::from(letters[0])),
    };
    letters.chunk_by(|a, b| a == b).map(stretch).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn letters_are_folded() {
        assert_eq!(super::folded(b"aaau-uuuu"), "3au-4u");
        assert_eq!(super::folded(b""), "");
    }
}
