//! Part three: four processes of one program, and the pages that they have in memory once.

use std::path::Path;

use anyhow::Result;
use folio::share::{self, Kind, Memory, Segment, Survey};
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

    let mut text = survey.segments.iter().filter(|segment| segment.kind == Kind::Text).peekable();
    claims.check(text.peek().is_some(), || "no process has text of a file in memory".to_owned())?;
    for segment in text {
        claims.check(segment.mapped_by == PROCESSES, || {
            format!("{} is mapped by {} of {PROCESSES} processes", segment.file, segment.mapped_by)
        })?;
        match segment.memory {
            Memory::Frames(text) => {
                claims.check(text.frames == text.resident && text.own_copies == 0, || {
                    format!("{} pages of text of {} take {} frames", text.resident, segment.file, text.frames)
                })?;
                claims.check(text.one_frame_in_all > 0, || {
                    format!("no page of text of {} is one frame in all {PROCESSES} processes", segment.file)
                })?;
            }
            Memory::Smaps(text) => claims
                .check(text.own_copies == 0 && text.shared_clean + text.shared_dirty > 0, || {
                    format!("text of {} is not shared: {text:?}", segment.file)
                })?,
        }
    }
    Ok(Frames { survey })
}

impl Frames {
    /// Each ELF file's text and written data; files without text are left out.
    fn objects(&self) -> impl Iterator<Item = (&Segment, Vec<&Segment>)> {
        let segments = &self.survey.segments;
        segments.iter().filter(|segment| segment.kind == Kind::Text).map(|text| {
            let written = |segment: &&Segment| matches!(segment.kind, Kind::Data | Kind::Sealed);
            (text, segments.iter().filter(|segment| segment.file == text.file).filter(written).collect())
        })
    }

    pub fn text(&self) -> String {
        let figures = if self.survey.frames_visible() { self.frames_text() } else { self.smaps_text() };
        format!("3. Four processes of one program\n\nFour times python3, under Folio, at once. {figures}")
    }

    fn frames_text(&self) -> String {
        let mut rows =
            table(&["file", ">text: pages", ">one frame in all 4", ">in 2 or 3", ">in 1", ">data: private pages"]);
        let (mut entries, mut frames, mut own) = (0, 0, 0);
        for (text, data) in self.objects() {
            let Memory::Frames(text_frames) = text.memory else { continue };
            let copies: u64 = data.iter().map(|data| data.memory.own_copies()).sum();
            entries += text_frames.entries;
            frames += text_frames.frames;
            own += copies;
            rows.add_row([
                file_name(&text.file),
                text_frames.resident.to_string(),
                text_frames.one_frame_in_all.to_string(),
                text_frames.one_frame_in_some.to_string(),
                text_frames.alone_clean.to_string(),
                copies.to_string(),
            ]);
        }
        format!(
            "For each page of a file that a process has touched, its page\n\
             table names a frame of physical memory (/proc/PID/pagemap). Text that two processes touched is in the same\n\
             frame; data that a process wrote is its own (added up over the four). A page of 4 KiB that only one process\n\
             has touched so far would be the same frame for the next.\n\n{}\n  \
             The four processes' text: {entries} pages mapped, in {frames} frames. No page of text is in memory twice;\n  \
             {} KiB hold what would be {} KiB without sharing. Their written data: {own} private pages.\n",
            indented(&rows, 2),
            frames * 4,
            entries * 4,
        )
    }

    fn smaps_text(&self) -> String {
        let mut rows = table(&["file", ">text: shared", ">text: private", ">data: private pages"]);
        for (text, data) in self.objects() {
            let Memory::Smaps(figures) = text.memory else { continue };
            let copies: u64 = data.iter().map(|data| data.memory.own_copies()).sum();
            rows.add_row([
                file_name(&text.file),
                (figures.shared_clean + figures.shared_dirty).to_string(),
                (figures.private_clean + figures.private_dirty).to_string(),
                copies.to_string(),
            ]);
        }
        format!(
            "Pages of 4 KiB, added up over the four, as the kernel sums\n\
             them up (/proc/PID/smaps): shared is what at least one other process maps too. Run this as root to see the\n\
             numbers of the physical frames, and so which page is one frame in all four.\n\n{}",
            indented(&rows, 2)
        )
    }
}
