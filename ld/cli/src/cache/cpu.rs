//! `folio cache cpu`: writes, shows and removes the record of CPU facts.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, ensure};
use clap::Args;
use folio_glibc::cpu::CpuidResult;
use folio_glibc::cpu::record::{Answer, Record};
use serde::{Serialize, Serializer};

use super::record::{self, Finding};
use crate::output::Output;
use crate::processor;
use crate::table::{indented, table};

#[derive(Args, Debug)]
pub struct Arguments {
    /// Show what is in the record, whether a start takes it, and what the processor answers otherwise
    #[arg(long, conflicts_with_all = ["remove", "force"])]
    show: bool,
    /// Remove the record
    #[arg(long)]
    remove: bool,
    /// Write it even where CPUID is so fast that a record saves nothing
    #[arg(long, conflicts_with = "remove")]
    force: bool,
    #[command(flatten)]
    output: Output,
}

/// What a start takes, more or less, to find a record, read and check it.
const READING: Duration = Duration::from_micros(5);

/// Does what is asked; showing a record that a start does not take, or should not, is a failure.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let path = record::own()?;
    if arguments.remove {
        let was_there = record::remove(&path)?;
        println!("{}: {}", path.display(), if was_there { "removed" } else { "there was none" });
        return Ok(ExitCode::SUCCESS);
    }
    if !arguments.show {
        let saved = Saving::measure()?;
        ensure!(
            saved.total() > READING || arguments.force,
            "the {} CPUIDs of a start take {:?} here, less than reading a record (--force writes it all the same)",
            saved.times,
            saved.total()
        );
        record::write(&path, &processor::survey()?)?;
        let view = View::of(&path)?;
        arguments.output.print(&view, || view.written(&saved))?;
        return Ok(ExitCode::SUCCESS);
    }
    let view = View::of(&path)?;
    arguments.output.print(&view, || view.text())?;
    Ok(if view.is_right() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What a start without a record pays for CPUID.
pub struct Saving {
    pub times: u32,
    pub each: Duration,
}

impl Saving {
    pub fn measure() -> Result<Saving> {
        Ok(Saving { times: processor::asked_in_a_start()?, each: processor::cpuid_time() })
    }

    fn total(&self) -> Duration {
        self.each * self.times
    }

    pub fn pays(&self) -> bool {
        self.total() > READING
    }
}

/// A register's value as people write it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Hex(u64);

impl Serialize for Hex {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&format!("{:#x}", self.0))
    }
}

/// One question and its answer.
#[derive(Debug, Serialize)]
struct Line {
    leaf: Hex,
    subleaf: Hex,
    registers: [Hex; 4],
}

fn registers(CpuidResult { eax, ebx, ecx, edx }: CpuidResult) -> [Hex; 4] {
    [eax, ebx, ecx, edx].map(|register| Hex(register.into()))
}

/// A question that the processor answers otherwise.
#[derive(Debug, Serialize)]
pub struct Difference {
    leaf: Hex,
    subleaf: Hex,
    recorded: [Hex; 4],
    now: [Hex; 4],
}

/// A record as it is shown.
#[derive(Debug, Serialize)]
struct View {
    path: PathBuf,
    is_there: bool,
    /// Why a start passes it over.
    #[serde(skip_serializing_if = "Option::is_none")]
    ignored: Option<String>,
    /// A start from here looks for this file.
    is_looked_for: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<Content>,
}

#[derive(Debug, Serialize)]
struct Content {
    /// Seconds since 1970.
    written: u64,
    boot: String,
    is_of_this_boot: bool,
    xcr0: Hex,
    hwcap: Hex,
    hwcap2: Hex,
    minsigstksz: u64,
    answers: Vec<Line>,
    differences: Vec<Difference>,
}

impl View {
    fn of(path: &Path) -> Result<View> {
        let finding = record::find(path)?;
        let content = finding.as_ref().and_then(Finding::record).map(|record| Content::of(&record)).transpose()?;
        Ok(View {
            path: path.to_owned(),
            is_there: finding.is_some(),
            ignored: finding.and_then(|finding| finding.refusal).map(|refusal| refusal.to_string()),
            is_looked_for: record::looked_for().as_deref() == Some(path),
            content,
        })
    }

    fn is_right(&self) -> bool {
        self.ignored.is_none() && self.content.as_ref().is_some_and(|content| content.differences.is_empty())
    }

    /// What was done, to the one who did it.
    fn written(&self, saved: &Saving) -> String {
        let (path, count) = (self.path.display(), self.content.as_ref().map_or(0, |content| content.answers.len()));
        let mut text = format!(
            "{path}: {count} answers of CPUID, until the next boot.\n\
             A start under Folio asked {} of them, at {:?} each; with the record it asks none.\n",
            saved.times, saved.each
        );
        if !self.is_looked_for {
            let variable = record::VARIABLE;
            let _ = write!(text, "Programs find it by a variable:\n    export {variable}={path}\n");
        }
        text
    }

    fn text(&self) -> String {
        let mut text = format!("{}: ", self.path.display());
        text += match (&self.ignored, self.is_there, self.is_looked_for) {
            (_, false, _) => "there is none",
            (Some(reason), ..) => reason,
            (None, true, true) => "a start takes it",
            (None, true, false) => "a start takes it where LD_FOLIO_CPU names it",
        };
        text += if self.ignored.is_some() { "; it is ignored\n" } else { "\n" };
        let Some(content) = &self.content else { return text };
        let boot = if content.is_of_this_boot { "this boot" } else { "another boot" };
        let _ = writeln!(text, "written in {boot}, {}; {} answers", content.boot, content.answers.len());
        let _ = writeln!(
            text,
            "AT_HWCAP {:#x}, AT_HWCAP2 {:#x}, AT_MINSIGSTKSZ {}, XCR0 {:#x}\n",
            content.hwcap.0, content.hwcap2.0, content.minsigstksz, content.xcr0.0
        );
        let mut rows = table(&[">leaf", ">subleaf", "eax", "ebx", "ecx", "edx", "now"]);
        for line in &content.answers {
            let key = (line.leaf, line.subleaf);
            let difference = content.differences.iter().find(|difference| (difference.leaf, difference.subleaf) == key);
            let words = |words: &[Hex; 4]| words.map(|word| format!("{:08x}", word.0));
            let now = difference.map(|difference| words(&difference.now).join(" ")).unwrap_or_default();
            let [eax, ebx, ecx, edx] = words(&line.registers);
            let [leaf, subleaf] = [line.leaf, line.subleaf].map(|number| format!("{:x}", number.0));
            rows.add_row([leaf, subleaf, eax, ebx, ecx, edx, now]);
        }
        text += &indented(&rows, 0);
        match content.differences.len() {
            0 => text += "\nThe processor answers the same.\n",
            count => {
                let _ = writeln!(text, "\nThe record is stale: the processor gives {count} other answers.");
            }
        }
        text
    }
}

impl Content {
    fn of(record: &Record) -> Result<Content> {
        let header = record.header();
        let line = |answer: Answer| Line {
            leaf: Hex(answer.leaf.into()),
            subleaf: Hex(answer.subleaf.into()),
            registers: registers(answer.registers),
        };
        Ok(Content {
            written: header.written,
            boot: format!("{:032x}", header.boot),
            is_of_this_boot: record::boot() == Some(header.boot),
            xcr0: Hex(header.xcr0),
            hwcap: Hex(header.auxiliary.hwcap),
            hwcap2: Hex(header.auxiliary.hwcap2),
            minsigstksz: header.auxiliary.minsigstksz,
            answers: record.answers().map(line).collect(),
            differences: differences(record)?,
        })
    }
}

/// What the processors of this machine answer otherwise; the record may be of any of them, and the one that is most like it
/// counts.
pub fn differences(record: &Record) -> Result<Vec<Difference>> {
    let mut least: Option<Vec<Difference>> = None;
    processor::survey_each(|(answers, _)| {
        let now = |recorded: &Answer| {
            let is_asked = |answer: &&Answer| (answer.leaf, answer.subleaf) == (recorded.leaf, recorded.subleaf);
            answers.iter().find(is_asked).map_or(CpuidResult::default(), |answer| answer.of_any_processor().registers)
        };
        let recorded = record.answers().map(Answer::of_any_processor);
        let others: Vec<Difference> = recorded
            .map(|recorded| (recorded, now(&recorded)))
            .filter(|(recorded, now)| recorded.registers != *now)
            .map(|(recorded, now)| Difference {
                leaf: Hex(recorded.leaf.into()),
                subleaf: Hex(recorded.subleaf.into()),
                recorded: registers(recorded.registers),
                now: registers(now),
            })
            .collect();
        if least.as_ref().is_none_or(|least| others.len() < least.len()) {
            least = Some(others);
        }
        least.as_ref().is_some_and(Vec::is_empty)
    })?;
    Ok(least.unwrap_or_default())
}
