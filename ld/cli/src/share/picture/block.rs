//! One file as a block: its segments below each other, the columns beside each other, pages in rows.
//!
//! Rows in which no process has touched a page are folded into a line, so that what is there is seen.

use super::super::figures::Figures;
use super::super::survey::{Held, Mapped, Segment};
use super::super::text::short_name;
use super::Column;
use super::tones::{letter, rank};
use crate::draw::packing::Sheet;
use crate::draw::{fitting, grouped};
use crate::object::Kind;

/// Height of a folded stretch.
pub const FOLD: u32 = 16;
/// So many untouched rows are worth a fold.
const FOLDED_ROWS: usize = 3;
/// A block with more pages is only described.
const MOST_CELLS: usize = 60_000;

const MARGIN: u32 = 12;
const GUTTER: u32 = 30;
const BETWEEN_COLUMNS: u32 = 10;
const HEAD: u32 = 70;
/// The part of it that names the processes.
const NAMES: u32 = 13;
/// Rows of fewer pages than this are hard to read.
const FEWEST_ACROSS: u32 = 6;

/// Rows of pages, or a fold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Band {
    pub top: u32,
    pub first: usize,
    pub count: usize,
    pub folded: bool,
}

pub struct Part<'s> {
    pub segment: &'s Segment,
    /// For each column its letters; `-` where it ends before another column.
    pub letters: Vec<Option<Vec<u8>>>,
    pub bands: Vec<Band>,
    pub top: u32,
}

pub struct Block<'s> {
    pub mapped: &'s Mapped,
    pub figures: Figures,
    pub name: String,
    pub caption: String,
    pub parts: Vec<Part<'s>>,
    /// Cells in a row of one column.
    pub across: u32,
    /// In units of the sheet.
    pub span: usize,
    pub width: u32,
    pub height: u32,
    pub pitch: u32,
    /// A line over the columns says which process each is.
    pub named: bool,
}

/// Letters of a segment, before it is known how they are laid out.
pub struct Letters<'s> {
    segment: &'s Segment,
    columns: Vec<Option<Vec<u8>>>,
    length: usize,
}

pub fn letters<'s>(mapped: &'s Mapped, columns: &[Column]) -> Vec<Letters<'s>> {
    let combined = columns.iter().any(|column| column.members.len() > 1);
    let drawn = |segment: &&Segment| {
        // Pages of memory without a file have no common places that could lie over each other.
        segment.figures.resident > 0 && !(combined && segment.kind == Kind::Anonymous)
    };
    mapped
        .segments
        .iter()
        .filter(drawn)
        .map(|segment| {
            let columns: Vec<_> = columns.iter().map(|column| over_each_other(segment, column)).collect();
            let length = columns.iter().flatten().map(Vec::len).max().unwrap_or(0);
            Letters { segment, columns, length }
        })
        .collect()
}

/// What a column shows: of several processes the state that costs most.
fn over_each_other(segment: &Segment, column: &Column) -> Option<Vec<u8>> {
    let held: Vec<&Held> = column.members.iter().filter_map(|member| segment.held[*member].as_ref()).collect();
    let first = held.first()?;
    if held.len() == 1 {
        return Some(first.cells.iter().map(letter).collect());
    }
    let length = held.iter().map(|held| held.cells.len()).max()?;
    let worst = |cell: usize| {
        held.iter().filter_map(|held| held.cells.get(cell)).map(letter).max_by_key(|letter| rank(*letter))
    };
    Some((0..length).map(|cell| worst(cell).unwrap_or(b'-')).collect())
}

/// How many cells a file's block would show.
pub fn cells(letters: &[Letters]) -> usize {
    letters
        .iter()
        .map(|letters| letters.columns.iter().flatten().flatten().filter(|letter| **letter != b'u').count())
        .sum()
}

impl<'s> Block<'s> {
    /// Lays a file out in the units of a sheet.
    pub fn new(
        mapped: &'s Mapped,
        figures: Figures,
        letters: Vec<Letters<'s>>,
        columns: usize,
        pitch: u32,
        sheet: &Sheet,
    ) -> Self {
        let letters = if cells(&letters) > MOST_CELLS { Vec::new() } else { letters };
        let columns = columns as u32;
        let fixed = 2 * MARGIN + GUTTER + (columns - 1) * BETWEEN_COLUMNS;
        let across = |span: usize| sheet.span(span).saturating_sub(fixed) / columns / pitch;
        // One row of pages says enough without a line over it that names the processes.
        let pages: usize = letters.iter().map(|letters| letters.length).sum();
        let head = if pages <= FEWEST_ACROSS as usize { HEAD - NAMES } else { HEAD };
        // The width at which the block is not much higher than wide, folds not counted.
        let span = (1..sheet.units())
            .find(|span| {
                let across = across(*span);
                across >= FEWEST_ACROSS && lay_out(&letters, across, pitch, head).1 <= sheet.span(*span) * 6 / 5
            })
            .unwrap_or(sheet.units());
        let across = across(span).max(1);
        let (laid, bottom) = lay_out(&letters, across, pitch, head);
        let parts = letters
            .into_iter()
            .zip(laid)
            .map(|(letters, (top, bands))| Part { segment: letters.segment, letters: letters.columns, bands, top })
            .collect();
        let width = sheet.span(span);
        let name = fitting(short_name(&mapped.path), (width - 2 * MARGIN) as usize / 7);
        let caption = fitting(&caption(&figures), (width - 2 * MARGIN) as usize / 5);
        let named = head == HEAD;
        Self { mapped, figures, name, caption, parts, across, span, width, height: bottom + MARGIN, pitch, named }
    }

    /// Left edges of the columns.
    pub fn lefts(&self, columns: usize) -> Vec<u32> {
        let step = self.across * self.pitch + BETWEEN_COLUMNS;
        (0..columns as u32).map(|column| MARGIN + GUTTER + column * step).collect()
    }
}

fn caption(figures: &Figures) -> String {
    let frames = if figures.frames == 1 { "1 frame".to_owned() } else { format!("{} frames", grouped(figures.frames)) };
    match figures.private_dirty {
        0 => format!("{frames}, none private and dirty"),
        dirty if dirty == figures.frames => format!("{frames}, all private and dirty"),
        dirty => format!("{frames}, {} private and dirty", grouped(dirty)),
    }
}

/// Each segment's top with its bands, and where the last one ends.
fn lay_out(letters: &[Letters], across: u32, pitch: u32, head: u32) -> (Vec<(u32, Vec<Band>)>, u32) {
    let mut y = head;
    let mut laid = Vec::new();
    for letters in letters {
        let top = y;
        let mut bands: Vec<Band> = Vec::new();
        for (first, count, folded) in stretches(letters, across as usize) {
            bands.push(Band { top: y, first, count, folded });
            y += if folded { FOLD } else { count.div_ceil(across as usize) as u32 * pitch };
        }
        // The segment's name is written beside its first row.
        y = y.max(top + 10) + 5;
        laid.push((top, bands));
    }
    (laid, y.saturating_sub(5).max(head - 14))
}

/// Whole rows, gathered: first cell, number of cells, whether nobody has touched them.
fn stretches(letters: &Letters, across: usize) -> Vec<(usize, usize, bool)> {
    let untouched = |first: usize| {
        letters.columns.iter().flatten().all(|column| {
            let end = (first + across).min(column.len());
            column.get(first..end).unwrap_or_default().iter().all(|letter| matches!(letter, b'u' | b'-'))
        })
    };
    let rows: Vec<bool> = (0..letters.length).step_by(across).map(untouched).collect();
    let mut stretches: Vec<(usize, usize, bool)> = Vec::new();
    let mut first = 0;
    for rows in rows.chunk_by(|a, b| a == b) {
        let count = (rows.len() * across).min(letters.length - first);
        let folded = rows[0] && rows.len() >= FOLDED_ROWS;
        match stretches.last_mut() {
            Some(last) if !folded && !last.2 => last.1 += count,
            _ => stretches.push((first, count, folded)),
        }
        first += count;
    }
    stretches
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn untouched_rows_are_folded_and_no_page_is_lost() {
        let figures = Figures::default();
        let segment =
            Segment { kind: Kind::Text, mapped_by: 1, pages: 0, touched: 0, figures, first: 0, held: Vec::new() };
        let row = |letter: u8, count: usize| vec![letter; count];
        let column = [row(b'a', 8), row(b'u', 32), row(b'a', 3), row(b'u', 5 + 16), row(b'r', 2)].concat();
        let length = column.len();
        let letters = Letters { segment: &segment, columns: vec![Some(column), None], length };
        let stretches = stretches(&letters, 8);
        assert_eq!(stretches, [(0, 8, false), (8, 32, true), (40, 26, false)]);
        assert_eq!(stretches.iter().map(|(_, count, _)| count).sum::<usize>(), length);
    }
}
