//! Part one: programs of this machine behave under Folio as they do under glibc's dynamic linker.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use folio::loader;
use folio::process;
use folio::table::{indented, table};
use serde::Serialize;

use super::conversation::{Conversation, Outcome};
use super::stage::Stage;
use super::{Claims, file_name};

/// A program, and what it is asked.
struct Program {
    what: &'static str,
    file: PathBuf,
    arguments: Vec<OsString>,
    lines: &'static [&'static str],
}

#[derive(Serialize)]
pub struct Programs {
    rows: Vec<Row>,
}

/// One program that gave the same under both.
#[derive(Serialize)]
struct Row {
    program: String,
    what: &'static str,
    lines_of_output: usize,
    status: Option<i32>,
    objects: usize,
    linker_of_original: String,
    linker_of_copy: String,
}

/// What the memory map of a running process tells about its dynamic linker.
struct Linker {
    /// The linkers that are mapped, by file name.
    mapped: BTreeSet<String>,
    /// How many ELF files have code mapped, the linker included.
    objects: usize,
}

fn programs(stage: &Stage) -> Result<Vec<Program>> {
    let words = |words: &[&Path]| words.iter().map(|word| word.into()).collect();
    let repository = stage.repository()?;
    Ok(vec![
        Program {
            what: "a shell script with a pipe",
            file: "/usr/bin/bash".into(),
            arguments: words(&[Path::new("--norc"), Path::new("-s")]),
            lines: &["echo $((6 * 7))", "for w in one two three; do echo $w; done | tr a-z A-Z", "exit 3"],
        },
        Program {
            what: "threads, ctypes, hashlib, json",
            file: "/usr/bin/python3".into(),
            arguments: words(&[Path::new("-I"), &stage.file("words.py")]),
            lines: &["folio", "page", "frame"],
        },
        Program {
            what: "modules written in C",
            file: "/usr/bin/perl".into(),
            arguments: words(&[&stage.file("words.pl")]),
            lines: &["folio", "page", "frame"],
        },
        Program {
            what: "objects of a repository",
            file: "/usr/bin/git".into(),
            arguments: words(&[Path::new("-C"), &repository, Path::new("cat-file"), Path::new("--batch")]),
            lines: &["HEAD", "HEAD:letter", "HEAD:missing"],
        },
        Program {
            what: "C++ compiled just now: exceptions, threads",
            file: stage.file("catcher"),
            arguments: Vec::new(),
            lines: &["page", "interpreter", "frame"],
        },
    ])
}

/// Runs each program as it is, and a copy of it under Folio.
pub fn show(stage: &Stage, claims: &mut Claims) -> Result<Programs> {
    let glibc = file_name(loader::GLIBC);
    let folio = file_name(loader::NAME);
    let mut rows = Vec::new();
    for program in programs(stage)? {
        let name = file_name(&program.file.to_string_lossy());
        let (original, under_glibc) =
            run(stage, &program, &program.file).with_context(|| format!("{name} as it is"))?;
        let copy = stage.adopt(&program.file)?;
        let (outcome, under_folio) = run(stage, &program, &copy).with_context(|| format!("{name} under Folio"))?;
        let mapped = |linker: &Linker| linker.mapped.iter().cloned().collect::<Vec<_>>().join(", ");

        claims.check(outcome == original, || {
            format!("{name} differs under Folio.\nUnder glibc: {original:?}\nUnder Folio: {outcome:?}")
        })?;
        // Seeing glibc's linker where it must be shows that the next claim could fail.
        claims.check(under_glibc.mapped.contains(&glibc), || {
            format!("{name} runs as it is, but {glibc} is not in its memory map")
        })?;
        claims.check(under_folio.mapped.iter().eq([&folio]), || {
            format!("{name} should have {folio} alone in its memory map, but has: {}", mapped(&under_folio))
        })?;
        rows.push(Row {
            program: name,
            what: program.what,
            lines_of_output: outcome.output.lines().count(),
            status: outcome.status.code(),
            objects: under_folio.objects,
            linker_of_original: mapped(&under_glibc),
            linker_of_copy: mapped(&under_folio),
        });
    }
    Ok(Programs { rows })
}

fn run(stage: &Stage, program: &Program, file: &Path) -> Result<(Outcome, Linker)> {
    let mut command = stage.command(file);
    // The copy goes by the original's name: programs print it, and some look for their files beside it.
    command.arg0(&program.file).args(&program.arguments);
    let mut conversation = Conversation::start(&mut command)?;
    let (first, rest) = program.lines.split_first().context("each program is asked something")?;
    conversation.ask(first)?;
    // Now it waits for the next line: time to look at its memory map.
    let linker = linker(conversation.pid())?;
    Ok((conversation.finish(rest)?, linker))
}

fn linker(pid: u32) -> Result<Linker> {
    let mappings = process::mappings(pid)?;
    let names = mappings.iter().filter(|mapping| mapping.file.is_some()).map(|mapping| file_name(&mapping.path));
    let mapped = names.filter(|name| name.starts_with("ld-")).collect();
    let code = mappings.iter().filter(|mapping| mapping.executable()).filter_map(|mapping| mapping.file.as_ref());
    Ok(Linker { mapped, objects: code.collect::<BTreeSet<_>>().len() })
}

impl Programs {
    pub fn text(&self) -> String {
        let mut rows =
            table(&["program", "what it does here", ">output", ">status", ">ELF files", "linker in /proc/PID/maps"]);
        for row in &self.rows {
            rows.add_row([
                row.program.clone(),
                row.what.to_owned(),
                format!("same, {} lines", row.lines_of_output),
                row.status.map_or_else(|| "signal".to_owned(), |status| format!("same, {status}")),
                row.objects.to_string(),
                format!("{} -> {}", row.linker_of_original, row.linker_of_copy),
            ]);
        }
        format!(
            "1. The same programs, another dynamic linker\n\n\
             Each program was copied, patchelf wrote Folio's path into the copy, and nothing else was changed. Original\n\
             and copy got the same input; their output, errors and exit status are equal.\n\n{}",
            indented(&rows, 2)
        )
    }
}
