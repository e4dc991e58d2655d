//! Part three: four processes of one program, and the pages that they have in memory once.

use std::path::Path;

use anyhow::Result;
use folio::object::Kind;
use folio::share::{self, Cause, Segment, Survey};
use folio::table::{indented, table};
use serde::Serialize;

use super::conversation::Conversation;
use super::stage::Stage;
use super::{Claims, file_name};

const PROCESSES: usize = 4;

#[derive(Serialize)]
pub struct Frames {
    survey: Survey,
}

pub fn show(stage: &Stage, claims: &mut Claims) -> Result<Frames> {
    let python = stage.adopt(Path::new("/usr/bin/python3"))?;
    let mut processes = Vec::new();
    for _ in 0..PROCESSES {
        let mut command = stage.command(&python);
        command.arg("-I").arg(stage.file("words.py"));
        let mut process = Conversation::start(&mut command)?;
        process.ask("folio")?;
        processes.push(process);
    }
    let pids: Vec<u32> = processes.iter().map(Conversation::pid).collect();
    let survey = share::survey(&pids)?;
    for process in processes {
        process.finish(&[])?;
    }

    let mut objects = objects(&survey).peekable();
    claims.check(objects.peek().is_some(), || "no process has text of a file in memory".to_owned())?;
    for Object { file, text, .. } in objects {
        claims.check(text.mapped_by == PROCESSES, || {
            format!("{file} is mapped by {} of {PROCESSES} processes", text.mapped_by)
        })?;
        let copies = text.figures.causes.iter().filter(|(cause, _)| **cause != Cause::Alone).count();
        claims.check(text.figures.frames == text.touched && copies == 0, || {
            format!("{} pages of text of {file} take {} frames", text.touched, text.figures.frames)
        })?;
        claims.check(text.figures.in_all > 0, || {
            format!("no page of text of {file} is one frame in all {PROCESSES} processes")
        })?;
    }
    Ok(Frames { survey })
}

/// An ELF file with its text, and the private pages of its data.
struct Object<'s> {
    file: &'s str,
    text: &'s Segment,
    copies: u64,
}

/// Files without text are left out.
fn objects(survey: &Survey) -> impl Iterator<Item = Object<'_>> {
    survey.objects.iter().filter_map(|mapped| {
        let text = mapped.segments.iter().find(|segment| segment.kind == Kind::Text)?;
        let data = mapped.segments.iter().filter(|segment| segment.kind.is_data());
        Some(Object { file: &mapped.path, text, copies: data.map(|segment| segment.figures.private_dirty).sum() })
    })
}

impl Frames {
    pub fn text(&self) -> String {
        let mut rows =
            table(&["file", ">text: pages", ">one frame in all 4", ">in 2 or 3", ">in 1", ">data: private pages"]);
        let (mut entries, mut frames, mut own) = (0, 0, 0);
        for Object { file, text, copies } in objects(&self.survey) {
            let figures = &text.figures;
            entries += figures.resident;
            frames += figures.frames;
            own += copies;
            let in_one = figures.with_others + figures.private_clean + figures.private_dirty;
            let counts = [text.touched, figures.in_all, figures.in_several, in_one, copies];
            rows.add_row(std::iter::once(file_name(file)).chain(counts.map(|count| count.to_string())));
        }
        let source = if self.survey.frames_visible {
            "its page\ntable names a frame of physical memory (/proc/PID/pagemap)."
        } else {
            "its page\ntable tells whether that still is the file's own (/proc/PID/pagemap), which is in memory once."
        };
        format!(
            "3. Four processes of one program\n\nFour times python3, under Folio, at once. For each page of a file that a process \
             has touched, {source} Text that two\nprocesses touched is in the same frame; data that a process wrote is its own \
             (added up over the four). A page of 4 KiB\nthat only one process has touched so far would be the same frame for the \
             next.\n\n{}\n  \
             The four processes' text: {entries} pages mapped, in {frames} frames. No page of text is in memory twice;\n  \
             {} KiB hold what would be {} KiB without sharing. Their written data: {own} private pages.\n",
            indented(&rows, 2),
            frames * 4,
            entries * 4,
        )
    }
}
