//! The drawing itself.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::super::survey::Survey;
use super::super::text::by_cost;
use super::block::{Band, Block, cells, letters};
use super::data::{Placed, of_picture};
use super::tones::{shares, tones};
use super::{Column, columns};
use crate::draw::packing::Sheet;
use crate::draw::page::GROUND;
use crate::draw::{escape, grouped, script_json, tone};
use crate::object::Kind;
use crate::process::PAGE;

const WIDTH: u32 = 1440;
const GAP: u32 = 14;
const BORDER: u32 = 28;

const STYLE: &str = include_str!("map.css");
const SCRIPT: &str = include_str!("map.js");

/// The map without a frame: what it looks like, what its script needs to know, and its height.
pub struct Map {
    pub drawing: String,
    pub data: String,
    pub height: u32,
}

/// Style rules of the map.
pub fn style() -> String {
    format!("{}{STYLE}", tone::rules(tones()))
}

/// The script, as an expression that wants the data and the SVG element.
pub fn script() -> &'static str {
    SCRIPT
}

/// The map as a file of its own.
pub fn svg(survey: &Survey, title: &str) -> String {
    let (mut head, top) = head(survey, title);
    let map = map(survey, BORDER, top);
    let (width, height) = (WIDTH + 2 * BORDER, map.height + BORDER);
    head += &map.drawing;
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"map\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" \
         height=\"{height}\">\n<title>{}</title>\n<style><![CDATA[\n{GROUND}{}\n]]></style>\n\
         <rect class=\"back\" width=\"{width}\" height=\"{height}\"/>\n{head}<script><![CDATA[\n{}({}, \
         document.documentElement);\n]]></script>\n</svg>\n",
        escape(title),
        style(),
        script().trim_end(),
        map.data,
    )
}

/// Title and legend, and where they end.
fn head(survey: &Survey, title: &str) -> (String, u32) {
    let kib = |pages: u64| grouped(pages * (PAGE / 1024));
    let t = &survey.totals;
    let lead = format!(
        "{} KiB in the page tables of {} processes, {} KiB of memory to hold them. One cell is a page of 4 KiB; columns are \
         processes{}.",
        kib(t.resident),
        survey.processes.len(),
        kib(t.frames),
        if columns(survey).len() > 1 { ", from left to right" } else { " over each other" },
    );
    let mut text = String::new();
    let _infallible = write!(
        text,
        "<text class=\"title\" x=\"{BORDER}\" y=\"52\">{}</text>\n<text class=\"lead\" x=\"{BORDER}\" y=\"78\">{}</text>\n",
        escape(title),
        escape(&lead)
    );
    let (mut x, mut y) = (BORDER, 102);
    for (tone, count) in shares(t) {
        let words = format!("{}: {} KiB", tone.label, kib(count));
        let width = 20 + words.len() as u32 * 6;
        if x + width > WIDTH + BORDER {
            (x, y) = (BORDER, y + 22);
        }
        let _infallible = writeln!(
            text,
            "<g data-key=\"{0}\" style=\"cursor:pointer\"><rect class=\"f{0}\" x=\"{x}\" y=\"{y}\" width=\"11\" height=\"11\" \
             rx=\"2\"/><text class=\"key\" x=\"{1}\" y=\"{2}\">{3}</text></g>",
            tone.letter,
            x + 17,
            y + 10,
            escape(&words),
        );
        x += width + 12;
    }
    (text, y + 32)
}

/// All blocks, packed below `top`.
pub fn map(survey: &Survey, left: u32, top: u32) -> Map {
    let columns = columns(survey);
    let objects: Vec<_> = by_cost(survey)
        .into_iter()
        .filter(|(_, sum)| sum.resident > 0)
        .map(|(mapped, sum)| (mapped, sum, letters(mapped, &columns)))
        .filter(|(mapped, _, letters)| {
            let memory = mapped.segments.iter().all(|segment| segment.kind == Kind::Anonymous);
            !(memory && letters.is_empty())
        })
        .collect();
    let pitch = match objects.iter().map(|(_, _, letters)| cells(letters)).sum() {
        0..20_000 => 7,
        20_000..120_000 => 6,
        _ => 4,
    };
    let mut sheet = Sheet::new(WIDTH, GAP, if objects.len() > 60 { 6 } else { 5 });
    let mut placed: Vec<Placed> = Vec::new();
    for (mapped, figures, letters) in objects {
        let block = Block::new(mapped, figures, letters, columns.len(), pitch, &sheet);
        let (x, y) = sheet.place(block.span, block.height);
        placed.push(Placed { block, x: left + x, y: top + y });
    }
    let drawing = placed.iter().map(|placed| drawn(placed, &columns)).collect();
    let data = script_json(&of_picture(survey, &columns, &placed, pitch));
    Map { drawing, data, height: top + sheet.height() }
}

fn drawn(placed: &Placed, columns: &[Column]) -> String {
    let block = &placed.block;
    let mut text = String::new();
    let _infallible = write!(
        text,
        "<g data-path=\"{path}\" transform=\"translate({},{})\"><rect class=\"card\" x=\".5\" y=\".5\" width=\"{}\" height=\"{}\" \
         rx=\"9\"/><text class=\"name\" x=\"12\" y=\"22\">{}<title>{path}</title></text><text class=\"sub\" x=\"12\" \
         y=\"37\">{}</text>",
        placed.x,
        placed.y,
        block.width - 1,
        block.height - 1,
        escape(&block.name),
        escape(&block.caption),
        path = escape(&block.mapped.path),
    );
    text += &bar(block);
    let lefts = block.lefts(columns.len());
    if block.parts.is_empty() {
        text += "</g>\n";
        return text;
    }
    for (left, column) in lefts.iter().zip(columns).filter(|_| block.named) {
        let _infallible = write!(text, "<text class=\"pid\" x=\"{left}\" y=\"63\">{}</text>", escape(&column.label));
    }
    // Runs of one colour are lines, dashed so that each dash is a cell.
    let mut paths: BTreeMap<u8, String> = BTreeMap::new();
    for part in &block.parts {
        let _infallible =
            write!(text, "<text class=\"tag\" x=\"12\" y=\"{}\">{}</text>", part.top + 8, tag(part.segment.kind));
        for band in &part.bands {
            if band.folded {
                text += &fold(block, band, &lefts);
                continue;
            }
            for (left, letters) in lefts.iter().zip(&part.letters) {
                let Some(letters) = letters else { continue };
                runs(block, band, *left, letters, &mut paths);
            }
        }
    }
    let pitch = block.pitch;
    for (letter, path) in paths {
        let _infallible = write!(
            text,
            "<path class=\"k{0}\" data-tone=\"{0}\" stroke-width=\"{1}\" stroke-dasharray=\"{1} 1\" d=\"{path}\"/>",
            char::from(letter),
            pitch - 1,
        );
    }
    text += "</g>\n";
    text
}

/// The colours' shares of the block's frames.
fn bar(block: &Block) -> String {
    let whole = f64::from(block.width - 24);
    let total: u64 = shares(&block.figures).iter().map(|(_, count)| count).sum();
    let (mut text, mut x) = (String::new(), 12.0);
    for (tone, count) in shares(&block.figures) {
        let width = whole * count as f64 / total.max(1) as f64;
        let _infallible = write!(
            text,
            "<rect class=\"f{}\" x=\"{x:.1}\" y=\"43\" width=\"{:.1}\" height=\"4\"><title>{}: {}</title></rect>",
            tone.letter,
            width.max(0.6),
            tone.label,
            grouped(count),
        );
        x += width;
    }
    text
}

fn fold(block: &Block, band: &Band, lefts: &[u32]) -> String {
    let right = lefts.last().copied().unwrap_or(0) + block.across * block.pitch;
    let left = lefts.first().copied().unwrap_or(0);
    let words = format!("{} untouched", grouped(band.count as u64));
    let end = left + words.len() as u32 * 5 + 4;
    format!(
        "<text class=\"fold\" x=\"{left}\" y=\"{}\">{words}</text><line class=\"line\" x1=\"{end}\" x2=\"{right}\" y1=\"{1}\" y2=\"{1}\"/>",
        band.top + 11,
        band.top + 8,
    )
}

fn runs(block: &Block, band: &Band, left: u32, letters: &[u8], paths: &mut BTreeMap<u8, String>) {
    let across = block.across as usize;
    let end = (band.first + band.count).min(letters.len());
    let shown = letters.get(band.first..end).unwrap_or_default();
    for (row, letters) in (0u32..).zip(shown.chunks(across)) {
        let mut x = left;
        for run in letters.chunk_by(|a, b| a == b) {
            let length = run.len() as u32 * block.pitch;
            if run[0] != b'-' {
                let y = f64::from(band.top + row * block.pitch) + f64::from(block.pitch - 1) / 2.0;
                let _infallible = write!(paths.entry(run[0]).or_default(), "M{x} {y}h{}", length - 1);
            }
            x += length;
        }
    }
}

fn tag(kind: Kind) -> &'static str {
    match kind {
        Kind::Constants => "const",
        Kind::Anonymous | Kind::File => "",
        kind => kind.name(),
    }
}
