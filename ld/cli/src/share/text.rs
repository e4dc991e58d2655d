//! The survey as tables, and the sentences under them.

use std::collections::BTreeMap;

use anstyle::{AnsiColor, Style};

use super::detail::PrivatePage;
use super::figures::{Agreement, Figures};
use super::page::{Cause, State};
use super::survey::{Mapped, Survey};
use crate::draw::{base_name, some};
use crate::process::PAGE;
use crate::table::{indented, table};

/// The processes, then every file with its segments, the most private first.
pub fn tables(survey: &Survey, files_only: bool) -> String {
    format!("{}\n{}\n", processes(survey), objects(survey, files_only))
}

fn processes(survey: &Survey) -> String {
    let mut rows = table(&[
        "process",
        "name",
        ">RSS",
        ">PSS",
        ">USS",
        ">shared clean",
        ">shared dirty",
        ">private clean",
        ">private dirty",
        ">swap",
    ]);
    for process in &survey.processes {
        let m = &process.memory;
        let figures = [m.rss, m.pss, m.uss, m.shared_clean, m.shared_dirty, m.private_clean, m.private_dirty, m.swap];
        let words = [process.pid.to_string(), process.name.clone()];
        rows.add_row(words.into_iter().chain(figures.map(|figure| figure.to_string())));
    }
    painted(&indented(&rows, 0), "\0")
}

/// Objects in the order in which they matter: those that cost each process most come first.
pub fn by_cost(survey: &Survey) -> Vec<(&Mapped, Figures)> {
    let mut objects: Vec<_> = survey
        .objects
        .iter()
        .map(|mapped| {
            let mut sum = Figures::default();
            for segment in &mapped.segments {
                sum += &segment.figures;
            }
            (mapped, sum)
        })
        .collect();
    objects.sort_by_key(|(mapped, sum)| {
        (is_memory(mapped), std::cmp::Reverse((sum.private_dirty, sum.private_clean, sum.frames)))
    });
    objects
}

fn is_memory(mapped: &Mapped) -> bool {
    mapped.path.starts_with('[')
}

fn objects(survey: &Survey, files_only: bool) -> String {
    let several = survey.processes.len() > 1;
    let all = format!(">in all {}", survey.processes.len());
    let mut heads = vec!["file", "segment", ">pages", ">RSS", ">frames"];
    if several {
        heads.extend([all.as_str(), ">in some"]);
    }
    heads.extend([">with others", ">private clean", ">private dirty", ">untouched", WHY]);
    let mut rows = table(&heads);
    let mut add = |file: &str, segment: &str, pages: String, figures: &Figures| {
        let f = figures;
        let mut numbers = vec![f.resident, f.frames];
        if several {
            numbers.extend([f.in_all, f.in_several]);
        }
        numbers.extend([f.with_others, f.private_clean, f.private_dirty, f.untouched]);
        let words = [file.to_owned(), segment.to_owned(), pages];
        rows.add_row(words.into_iter().chain(numbers.iter().map(u64::to_string)).chain([why(&f.causes)]));
    };
    for (mapped, sum) in by_cost(survey) {
        if sum.resident == 0 {
            continue;
        }
        let name = short_name(&mapped.path);
        let pages = |mapped: &Mapped| mapped.segments.iter().map(|segment| segment.pages).sum::<u64>().to_string();
        if files_only || mapped.segments.len() == 1 {
            let kind = if mapped.segments.len() == 1 { mapped.segments[0].kind.name() } else { "" };
            add(name, kind, pages(mapped), &sum);
            continue;
        }
        for (index, segment) in mapped.segments.iter().enumerate() {
            let name = if index == 0 { name } else { "" };
            add(name, segment.kind.name(), segment.pages.to_string(), &segment.figures);
        }
    }
    add("all together", "", String::new(), &survey.totals);
    painted(&indented(&rows, 0), WHY)
}

/// The last column's head.
const WHY: &str = "why private and dirty";

/// A table with its head in bold, and with its last column in colour. Colours end where no terminal is.
fn painted(table: &str, last: &str) -> String {
    let head = table.lines().next().unwrap_or_default();
    let column = head.rfind(last).map_or(usize::MAX, |at| head[..at].chars().count());
    let (bold, cause) = (Style::new().bold(), AnsiColor::Yellow.on_default());
    let line = |(index, line): (usize, &str)| {
        let cut = line.char_indices().nth(column).map_or(line.len(), |(at, _)| at);
        let (figures, why) = line.split_at(cut);
        match (index, why) {
            (0, _) => format!("{bold}{line}{bold:#}\n"),
            (1, _) | (_, "") => format!("{line}\n"),
            _ => format!("{figures}{cause}{why}{cause:#}\n"),
        }
    };
    table.lines().enumerate().map(line).collect()
}

/// `relocated 48, written 12`, without what no process can help: pages that nobody else used yet.
fn why(causes: &BTreeMap<Cause, u64>) -> String {
    let words = causes.iter().filter(|(cause, _)| **cause != Cause::Alone);
    words.map(|(cause, count)| format!("{} {count}", cause.name())).collect::<Vec<_>>().join(", ")
}

/// A path without its folder.
pub fn short_name(path: &str) -> &str {
    if path.starts_with('[') { path } else { base_name(path) }
}

/// Every private page, a line each.
pub fn pages(pages: &[PrivatePage]) -> String {
    let mut rows = table(&[
        "process",
        "address",
        "file",
        ">offset",
        "segment",
        "sections",
        "state",
        "why",
        "relocations",
        "written",
    ]);
    for page in pages {
        let relocations: Vec<String> = page.relocations.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
        rows.add_row([
            page.pid.to_string(),
            format!("{:#x}", page.address),
            short_name(page.path).to_owned(),
            page.offset.map(|offset| format!("{offset:#x}")).unwrap_or_default(),
            page.segment.name().to_owned(),
            page.sections.join(" "),
            if page.state == State::PrivateDirty { "dirty".to_owned() } else { "clean".to_owned() },
            page.cause.map(Cause::name).unwrap_or_default().to_owned(),
            relocations.join(", "),
            some(&page.written, 4, " "),
        ]);
    }
    format!("{}\n", indented(&rows, 0))
}

/// What the figures mean, and how far they can be trusted.
pub fn notes(survey: &Survey) -> Vec<String> {
    let kib = |pages: u64| pages * (PAGE / 1024);
    let (t, count) = (&survey.totals, survey.processes.len());
    let mut notes = Vec::new();
    if count > 1 {
        notes.push(format!(
            "These {count} processes have {} KiB in their page tables, and it takes {} KiB of memory to hold them: {} KiB \
             are in memory once for all {count}, {} KiB are dirty and private.",
            kib(t.resident),
            kib(t.frames),
            kib(t.in_all),
            kib(t.private_dirty)
        ));
    }
    let relocated: u64 = t
        .causes
        .iter()
        .filter(|(cause, _)| matches!(cause, Cause::Relocated | Cause::TextRelocation))
        .map(|(_, count)| count)
        .sum();
    if relocated > 0 {
        notes.push(format!(
            "{} KiB of the private memory are there only because a linker stored addresses into them.",
            kib(relocated)
        ));
    }
    notes.push(
        "Processes in KiB, files in pages of 4 KiB. RSS adds up what each process has; a frame is a page of memory, and every \
         frame stands in one column: in all of these processes, in some, in one of these and in others, or in one alone."
            .to_owned(),
    );
    let Agreement { mappings, differing } = survey.smaps;
    notes.push(match differing {
        0 => format!("Counted page by page; smaps gives the same figures for all {mappings} mappings."),
        _ => {
            let why = if survey.frames_visible {
                "The others changed meanwhile, or other processes did that have the same pages."
            } else {
                "The others changed meanwhile, or hold pages of which only root sees whether they are dirty."
            };
            let agreeing = mappings - differing;
            format!("Counted page by page; smaps gives the same figures for {agreeing} of {mappings} mappings. {why}")
        }
    });
    if !survey.frames_visible {
        notes.push(
            "Root would also see frame numbers: which copies several of these processes still have in common since a fork, how \
             many others have a page, and which pages of files are newer than the disk. Here a page that is still the file's \
             own counts as one frame wherever it is mapped, since the page cache holds it once."
                .to_owned(),
        );
    }
    if survey.unread > 0 {
        notes.push(format!(
            "{} mappings of more than 4 GiB were left out of the tables of files; RSS, PSS and USS count them.",
            survey.unread
        ));
    }
    let moving: Vec<String> =
        survey.processes.iter().filter(|process| !process.settled).map(|process| process.pid.to_string()).collect();
    if !moving.is_empty() {
        notes.push(format!(
            "Changed while it was looked at, so that its figures may belong to two moments: {}.",
            some(&moving, 8, " ")
        ));
    }
    notes
}

/// Notes as lines of ordinary width.
pub fn paragraphs(notes: &[String]) -> String {
    let mut text = String::new();
    for note in notes {
        let mut length = 0;
        for word in note.split(' ') {
            let width = word.chars().count();
            if length > 0 && length + 1 + width > 118 {
                text.push('\n');
                length = 0;
            } else if length > 0 {
                text.push(' ');
                length += 1;
            }
            text += word;
            length += width;
        }
        text.push('\n');
    }
    text
}
