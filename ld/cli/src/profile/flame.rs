//! The start as a flame graph: each bar is as wide as its time, and stands under what it was done for. A click widens a bar.

use std::fmt::Write;

use super::account::{Node, Tree};
use super::record::{Phase, Record};
use crate::draw::page::GROUND;
use crate::draw::tone::{self, Tone};
use crate::draw::{escape, fitting};

const WIDTH: f64 = 1440.0;
const BORDER: f64 = 28.0;
const ROW: f64 = 24.0;
const TOP: f64 = 132.0;
/// A bar narrower than this is not drawn.
const NARROWEST: f64 = 0.15;
/// The width of most letters.
const LETTER: f64 = 6.7;

const STYLE: &str = include_str!("flame.css");
const SCRIPT: &str = include_str!("flame.js");

const TONES: [Tone; 8] = [
    Tone::new('f', "find and open files", "#8fbce6", "#3f6f9c"),
    Tone::new('m', "map and protect", "#63bfae", "#1f7a6c"),
    Tone::new('r', "relocate", "#f3ab69", "#a8622a"),
    Tone::new('l', "look symbols up", "#e98a6b", "#a5482c"),
    Tone::new('v', "IFUNC resolvers", "#d9789a", "#8f3a58"),
    Tone::new('c', "libc and the main thread", "#bd9ddb", "#6d4c91"),
    Tone::new('i', "initializers", "#e3cc7b", "#87722a"),
    Tone::new('x', "the rest", "#cfcac0", "#4a4c53"),
];

fn letter(phase: Phase) -> char {
    match phase {
        Phase::Files => 'f',
        Phase::Map => 'm',
        Phase::Relocate => 'r',
        Phase::Lookup => 'l',
        Phase::Resolve => 'v',
        Phase::Libc => 'c',
        Phase::Initialise => 'i',
        Phase::Other => 'x',
    }
}

/// The graph; page faults are those of the counted start.
pub fn svg(tree: &Tree, counted: &Tree, record: &Record, title: &str) -> String {
    let mut bars = String::new();
    let drawing = Drawing { whole: tree.root.time, title };
    let depth = drawing.bar(&mut bars, &tree.root, Some(&counted.root), BORDER, 0);
    let (width, height) = (WIDTH + 2.0 * BORDER, TOP + ROW * depth as f64 + BORDER);
    let mut legend = String::new();
    let mut x = BORDER;
    for tone in &TONES {
        let _ = writeln!(
            legend,
            "<rect class=\"f{}\" x=\"{x}\" y=\"94\" width=\"12\" height=\"12\" rx=\"2\"/><text class=\"soft\" x=\"{}\" \
             y=\"104\">{}</text>",
            tone.letter,
            x + 18.0,
            escape(tone.label)
        );
        x += 46.0 + LETTER * tone.label.chars().count() as f64;
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"flame\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" \
         height=\"{height}\">\n<title>{name}</title>\n<style><![CDATA[\n{GROUND}{}{STYLE}\n]]></style>\n\
         <rect class=\"back\" width=\"{width}\" height=\"{height}\"/>\n\
         <text class=\"head\" x=\"{BORDER}\" y=\"50\">{name}</text>\n\
         <text class=\"soft\" x=\"{BORDER}\" y=\"74\">{:.0} µs in the linker, after {:.0} µs for fork and exec. Bars lie in \
         the order in which they began. A click widens a bar; a click on the first brings all back.</text>\n\
         {legend}<g class=\"bars\">\n{bars}</g>\n<script><![CDATA[\n{}(document.documentElement, {BORDER}, {WIDTH}, {LETTER});\n\
         ]]></script>\n</svg>\n",
        tone::rules(TONES.iter()),
        record.total(),
        record.before,
        SCRIPT.trim_end(),
        name = escape(title),
    )
}

struct Drawing<'d> {
    whole: f64,
    title: &'d str,
}

impl Drawing<'_> {
    /// Draws a node and what is under it from `x` on; gives how many rows that takes.
    fn bar(&self, bars: &mut String, node: &Node, counted: Option<&Node>, x: f64, depth: usize) -> usize {
        let width = node.time / self.whole * WIDTH;
        if width < NARROWEST {
            return depth;
        }
        let name = if depth == 0 { self.title } else { node.name() };
        let y = TOP + ROW * depth as f64;
        let mut tip = format!("{name}: {:.1} µs, {:.1} %", node.time, node.time / self.whole * 100.0);
        if let Some([minor, major]) = counted.map(|counted| counted.faults).filter(|faults| *faults != [0, 0]) {
            let _ = write!(tip, ", {} page faults ({major} from disk)", minor + major);
        }
        if let Some(object) = &node.object {
            let _ = write!(tip, "\n{object}");
        }
        let shown = fitting(name, ((width - 10.0) / LETTER).max(0.0) as usize);
        let _ = writeln!(
            bars,
            "<g data-row=\"{depth}\"><title>{}</title><rect class=\"f{}\" x=\"{x:.2}\" y=\"{y}\" width=\"{width:.2}\" \
             height=\"{}\" rx=\"2\"/><text x=\"{:.2}\" y=\"{}\" data-name=\"{}\">{}</text></g>",
            escape(&tip),
            letter(node.kind.phase()),
            ROW - 2.0,
            x + 6.0,
            y + 16.0,
            escape(name),
            if shown.chars().count() > 2 { escape(&shown) } else { String::new() },
        );
        let mut next = x;
        let mut deepest = depth + 1;
        for child in &node.children {
            let same = |other: &&Node| {
                (other.kind, &other.object, other.is_object) == (child.kind, &child.object, child.is_object)
            };
            let its = counted.and_then(|counted| counted.children.iter().find(same));
            deepest = deepest.max(self.bar(bars, child, its, next, depth + 1));
            next += child.time / self.whole * WIDTH;
        }
        deepest
    }
}
