//! The map in a page for a browser, with the figures around it.

use std::fmt::Write;

use super::super::figures::Figures;
use super::super::page::Cause;
use super::super::survey::Survey;
use super::super::text::{by_cost, short_name};
use super::svg::{map, script, style};
use super::tones::shares;
use crate::draw::page::Page;
use crate::draw::{escape, grouped};
use crate::process::PAGE;

pub fn html(survey: &Survey, title: &str, notes: &[String]) -> String {
    let map = map(survey, 0, 0);
    let head = format!(
        "<h1>{}</h1>\n<p class=\"soft\">What these processes have in memory once, what each has for itself, and why. One cell \
         is a page of 4 KiB; point at it.</p>\n",
        escape(title)
    );
    let picture = format!(
        "<div class=\"row\"><h2>The map</h2><input type=\"search\" placeholder=\"find a file\" aria-label=\"find a \
         file\"></div>\n<div class=\"scroll\"><svg class=\"map\" id=\"map\" viewBox=\"0 0 1440 {0}\" width=\"1440\" \
         height=\"{0}\">\n{1}</svg></div>\n",
        map.height, map.drawing
    );
    let notes: String = notes.iter().map(|note| format!("<p class=\"soft\">{}</p>\n", escape(note))).collect();
    let body = [
        head,
        tiles(survey),
        legend(&survey.totals),
        picture,
        "<h2>Processes</h2>\n".to_owned(),
        processes(survey),
        "<h2>Files</h2>\n".to_owned(),
        files(survey),
        "<h2>Notes</h2>\n".to_owned(),
        notes,
    ]
    .concat();
    let script = format!("{}({}, document.getElementById(\"map\"));\n", script().trim_end(), map.data);
    Page { title, style: &style(), body: &body, script: &script }.html()
}

fn kib(pages: u64) -> String {
    grouped(pages * (PAGE / 1024))
}

/// The four figures that answer the question.
fn tiles(survey: &Survey) -> String {
    let (t, count) = (&survey.totals, survey.processes.len());
    let tile = |pages: u64, words: String| {
        format!("<div class=\"tile\"><b>{} <small>KiB</small></b><span>{words}</span></div>\n", kib(pages))
    };
    let shared = if count > 1 {
        tile(t.in_all, format!("in memory once for all {count}"))
    } else {
        tile(t.with_others, "shared with other processes".to_owned())
    };
    let relocated = [Cause::Relocated, Cause::TextRelocation].iter().filter_map(|cause| t.causes.get(cause)).sum();
    format!(
        "<div class=\"tiles\">\n{}{}{shared}{}{}</div>\n",
        tile(t.resident, "in their page tables".to_owned()),
        tile(t.frames, "of memory hold them".to_owned()),
        tile(t.private_dirty, "private and dirty".to_owned()),
        tile(relocated, "of these for nothing but relocations".to_owned()),
    )
}

fn bar(figures: &Figures) -> String {
    let parts = shares(figures).iter().fold(String::new(), |mut text, (tone, count)| {
        let _infallible = write!(
            text,
            "<i class=\"f{}\" style=\"flex:{count}\" title=\"{}: {} KiB\"></i>",
            tone.letter,
            tone.label,
            kib(*count)
        );
        text
    });
    format!("<div class=\"bar\">{parts}</div>\n")
}

/// The frames by colour; each key shows its colour alone.
fn legend(totals: &Figures) -> String {
    let keys = shares(totals).iter().fold(String::new(), |mut text, (tone, count)| {
        let _infallible = writeln!(
            text,
            "<button data-key=\"{0}\" aria-pressed=\"false\"><i class=\"f{0}\"></i>{1} <small>{2} KiB</small></button>",
            tone.letter,
            tone.label,
            kib(*count)
        );
        text
    });
    format!("{}<div class=\"legend\">\n{keys}</div>\n", bar(totals))
}

/// A row of a table: words to the left, then figures to the right.
fn row(words: &[&str], figures: &[u64]) -> String {
    let words = words.iter().map(|word| format!("<td>{}</td>", escape(word)));
    let figure = |figure: &u64| match figure {
        0 => "<td class=\"n zero\">0</td>".to_owned(),
        figure => format!("<td class=\"n\">{}</td>", grouped(*figure)),
    };
    format!("<tr>{}</tr>\n", words.chain(figures.iter().map(figure)).collect::<String>())
}

fn table(words: &[&str], figures: &[&str], rows: &str) -> String {
    let left = words.iter().map(|head| format!("<th>{head}</th>"));
    let right = figures.iter().map(|head| format!("<th class=\"n\">{head}</th>"));
    let heads: String = left.chain(right).collect();
    format!("<div class=\"scroll\"><table><thead><tr>{heads}</tr></thead><tbody>\n{rows}</tbody></table></div>\n")
}

fn processes(survey: &Survey) -> String {
    let rows: String = survey
        .processes
        .iter()
        .map(|process| {
            let m = &process.memory;
            let figures =
                [m.rss, m.pss, m.uss, m.shared_clean, m.shared_dirty, m.private_clean, m.private_dirty, m.swap];
            row(&[&process.pid.to_string(), &process.name], &figures)
        })
        .collect();
    let heads = ["RSS, KiB", "PSS", "USS", "shared clean", "shared dirty", "private clean", "private dirty", "swap"];
    table(&["process", "name"], &heads, &rows)
}

fn files(survey: &Survey) -> String {
    let mut rows = String::new();
    for (mapped, _) in by_cost(survey).into_iter().filter(|(_, sum)| sum.resident > 0) {
        for (index, segment) in mapped.segments.iter().enumerate() {
            let f = &segment.figures;
            let name = if index == 0 { short_name(&mapped.path) } else { "" };
            let figures = [
                segment.pages,
                f.resident,
                f.frames,
                f.in_all,
                f.in_several,
                f.with_others,
                f.private_clean,
                f.private_dirty,
                f.untouched,
            ];
            rows += &row(&[name, segment.kind.name()], &figures);
        }
    }
    let heads = [
        "pages",
        "RSS, pages",
        "frames",
        "in all",
        "in some",
        "with others",
        "private clean",
        "private dirty",
        "untouched",
    ];
    table(&["file", "segment"], &heads, &rows)
}
