//! The comparison as a page for a browser: the figures, every run as a dot, and the calls side by side.

use std::fmt::Write;

use super::measure::{Cost, Times};
use super::role::{Labelled, Role};
use super::{Comparison, Line};
use crate::draw::page::Page;
use crate::draw::tone::{self, Tone};
use crate::draw::{escape, grouped};

const STYLE: &str = include_str!("page.css");

/// What a call is about, in colours.
const TONES: [Tone; 6] = [
    Tone::new('f', "find and open files", "#6ea8dc", "#4b86bd"),
    Tone::new('m', "map files: shared until written", "#1f9e89", "#2bb59d"),
    Tone::new('d', "memory of the process's own", "#9a63c9", "#a877d6"),
    Tone::new('p', "protect and give back", "#f0913a", "#f09a48"),
    Tone::new('t', "the first thread", "#e8cf7a", "#c9ab4a"),
    Tone::new('x', "the program", "#b4afa5", "#5d5f66"),
];

fn letter(role: Role) -> char {
    match role {
        Role::OpenIndex
        | Role::Open
        | Role::LookInVain
        | Role::Folder
        | Role::Origin
        | Role::ReadHeader
        | Role::Identify
        | Role::Close => 'f',
        Role::MapIndex | Role::Reserve | Role::MapText | Role::MapData | Role::MapRest => 'm',
        Role::MapZeroed | Role::Memory => 'd',
        Role::Unprotect | Role::Protect | Role::GiveBack => 'p',
        Role::Thread => 't',
        Role::Start | Role::Program | Role::End => 'x',
    }
}

pub fn html(comparison: &Comparison, title: &str) -> String {
    let verdict = comparison.verdict().unwrap_or_default();
    let head = format!(
        "<h1>{}</h1>\n<p class=\"soft\">Its start under glibc's dynamic linker and under Folio. {} {}</p>\n",
        escape(title),
        escape(&verdict),
        escape(&comparison.ending()),
    );
    let times = comparison.timing.as_ref().map(|timing| times(&timing.glibc, &timing.folio)).unwrap_or_default();
    let body = [
        head,
        tiles(comparison),
        times,
        "<h2>System calls by what they do</h2>\n".to_owned(),
        counts(comparison),
        "<h2>System calls in their order</h2>\n".to_owned(),
        legend(),
        calls(comparison),
    ]
    .concat();
    let style = format!("{}{STYLE}", tone::rules(TONES.iter()));
    Page { title: &format!("{title}: glibc and Folio"), style: &style, body: &body, script: "" }.html()
}

fn tiles(comparison: &Comparison) -> String {
    let tile = |words: &str, glibc: f64, folio: f64, ratio: f64, unit: &str| {
        let percent = if ratio.is_finite() { format!("{:+.1} %", (ratio - 1.0) * 100.0) } else { String::new() };
        let tone = if ratio < 1.0 { "better" } else { "worse" };
        let tone = if percent.ends_with("0.0 %") { "" } else { tone };
        let number = |value: f64| grouped(value.round() as u64);
        format!(
            "<div class=\"tile\"><span>{words}</span><b>{} <small>{unit}</small></b><span>glibc {} <em class=\"{tone}\">{percent}\
             </em></span></div>\n",
            number(folio),
            number(glibc)
        )
    };
    let mut text = String::from("<div class=\"tiles\">\n");
    if let Some(timing) = &comparison.timing {
        // The ratio of pairs, which is not the ratio of the medians: what disturbs both runs of a pair cancels out. It
        // stands there when it is more than the spread.
        let certain = timing.ratio_to < 1.0 || timing.ratio_from > 1.0;
        let ratio = if certain { timing.ratio } else { f64::NAN };
        text += &tile("from start to end, median", timing.glibc.median, timing.folio.median, ratio, "µs");
    }
    let mut counted = |words, glibc: u64, folio: u64, unit| {
        let (glibc, folio) = (glibc as f64, folio as f64);
        text += &tile(words, glibc, folio, folio / glibc, unit);
    };
    counted("system calls", comparison.glibc.calls.len() as u64, comparison.folio.calls.len() as u64, "");
    if let (Some(glibc), Some(folio)) = (comparison.glibc.cost, comparison.folio.cost) {
        let faults = |cost: Cost| cost.minor_faults + cost.major_faults;
        counted("page faults", faults(glibc), faults(folio), "");
        counted("private dirty", glibc.private_dirty * 4, folio.private_dirty * 4, "KiB");
    }
    text + "</div>\n"
}

/// Every run as a dot, with the median and the quartiles.
fn times(glibc: &Times, folio: &Times) -> String {
    const LEFT: f64 = 70.0;
    const WIDTH: f64 = 1340.0;
    let all = || glibc.runs.iter().chain(&folio.runs).copied();
    let low = all().fold(f64::INFINITY, f64::min);
    // The slowest runs are the machine's: what lies beyond three times the spread stands at the edge.
    let spread = |times: &Times| times.upper_quartile + 3.0 * (times.upper_quartile - times.lower_quartile);
    let high = spread(glibc).max(spread(folio)).min(all().fold(0.0, f64::max)).max(low + 1.0);
    let x = |time: f64| LEFT + (time.min(high) - low) / (high - low) * WIDTH;
    let mut text = String::from(
        "<h2>Time of each run</h2>\n<div class=\"scroll\"><svg class=\"times\" viewBox=\"0 0 1440 150\" width=\"1440\" height=\"150\">\n",
    );
    for (times, name, letter, top) in [(glibc, "glibc", 'f', 14.0), (folio, "Folio", 'm', 72.0)] {
        let (from, to) = (x(times.lower_quartile), x(times.upper_quartile));
        let _infallible = write!(
            text,
            "<text x=\"0\" y=\"{}\">{name}</text><rect class=\"f{letter} box\" x=\"{from:.1}\" y=\"{top}\" width=\"{:.1}\" \
             height=\"44\" rx=\"4\"/>",
            top + 27.0,
            (to - from).max(1.0),
        );
        for (index, run) in times.runs.iter().enumerate() {
            // Spread over the height, so that equal times do not hide each other.
            let y = top + 6.0 + (index * 7 % 17) as f64 * 2.0;
            let _infallible = write!(
                text,
                "<circle class=\"f{letter} dot\" cx=\"{:.1}\" cy=\"{y:.1}\" r=\"3\"><title>{run:.0} µs</title></circle>",
                x(*run)
            );
        }
        let _infallible = writeln!(
            text,
            "<line class=\"median\" x1=\"{0:.1}\" x2=\"{0:.1}\" y1=\"{1}\" y2=\"{2}\"/>",
            x(times.median),
            top - 3.0,
            top + 47.0,
        );
    }
    for step in 0..=6 {
        let time = low + (high - low) * f64::from(step) / 6.0;
        let anchor = if step == 6 { "end" } else { "middle" };
        let _infallible = write!(
            text,
            "<text class=\"axis\" x=\"{:.1}\" y=\"142\" text-anchor=\"{anchor}\">{} µs</text>",
            x(time),
            grouped(time.round() as u64)
        );
    }
    text += "\n</svg></div>\n<p class=\"soft\">A dot is a run, the line the median, the box holds the middle half. Runs under the two \
             linkers took turns.</p>\n";
    text
}

/// Pairs of bars by role.
fn counts(comparison: &Comparison) -> String {
    let counts = comparison.counts();
    // The program's own calls can be thousands, and would make the linker's disappear.
    let linker = counts.iter().filter(|count| count.role != Role::Program);
    let most = linker.map(|count| count.glibc.max(count.folio)).max().unwrap_or(1).max(1);
    let mut rows = String::new();
    for count in &counts {
        let bar = |number: usize, side: &str| {
            let width = (number as f64 * 100.0 / most as f64).min(100.0);
            format!(
                "<div class=\"pair\"><i class=\"f{} {side}\" style=\"width:{width:.2}%\"></i><span>{number}</span></div>",
                letter(count.role)
            )
        };
        let _infallible = writeln!(
            rows,
            "<tr><td title=\"{}\">{}</td><td class=\"wide\">{}{}</td></tr>",
            escape(count.role.sentence()),
            count.role.label(),
            bar(count.glibc, "glibc"),
            bar(count.folio, "folio"),
        );
    }
    format!(
        "<p class=\"soft\">The upper, paler bar is glibc's. Bars of the program's own calls end at the edge.</p>\n<div class=\"scroll\"><table class=\"counts\"><tbody>\n{rows}\
         </tbody></table></div>\n"
    )
}

fn legend() -> String {
    let keys: String = TONES
        .iter()
        .map(|tone| format!("<span><i class=\"key f{}\"></i> {}</span>", tone.letter, tone.label))
        .collect();
    format!("<p class=\"keys soft\">{keys}</p>\n")
}

/// The calls side by side. A stretch of the program's own calls is folded.
fn calls(comparison: &Comparison) -> String {
    let lines = comparison.aligned();
    let mut rows = String::new();
    let own = |line: &Line<'_>| line.0.or(line.1).is_some_and(|call| call.role == Role::Program);
    for stretch in lines.chunk_by(|a, b| own(a) && own(b)) {
        let Some(call) = stretch[0].0.or(stretch[0].1) else { continue };
        let side = |side: for<'l> fn(&Line<'l>) -> Option<&'l Labelled>| {
            let calls: Vec<&Labelled> = stretch.iter().filter_map(side).collect();
            match calls.as_slice() {
                [] => "<td class=\"none\">·</td>".to_owned(),
                [call] => format!("<td title=\"{}\"><code>{}</code></td>", escape(&call.line), escape(&call.short)),
                more => {
                    let inside: String = more.iter().map(|call| format!("{}\n", escape(&call.line))).collect();
                    format!("<td><details><summary>{} calls</summary><pre>{inside}</pre></details></td>", more.len())
                }
            }
        };
        let subject = if stretch.len() == 1 { call.subject.as_str() } else { "" };
        let _infallible = writeln!(
            rows,
            "<tr><td class=\"role\" title=\"{}\"><i class=\"key f{}\"></i> {}</td><td>{}</td>{}{}</tr>",
            escape(call.role.sentence()),
            letter(call.role),
            call.role.label(),
            escape(subject),
            side(|line| line.0),
            side(|line| line.1),
        );
    }
    format!(
        "<div class=\"scroll\"><table class=\"calls\"><thead><tr><th>what it does</th><th>for which file</th><th>under glibc's \
         ld.so</th><th>under Folio</th></tr></thead><tbody>\n{rows}</tbody></table></div>\n"
    )
}
