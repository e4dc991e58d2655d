//! Starts a program under Folio up to its entry, several times, and collects the records.

use std::ffi::OsString;
use std::fs::{self, DirBuilder};
use std::io::Read;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread::{sleep, spawn};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::time::{ClockId, clock_gettime};

use super::record::Record;
use crate::output::Progress;
use crate::{loader, run};

/// The start that is repeated.
pub struct Start<'s> {
    pub program: &'s str,
    pub arguments: &'s [OsString],
    pub limit: Duration,
}

pub struct Records {
    pub runs: usize,
    /// Of the linker's part, in microseconds.
    pub median: f64,
    pub slowest: f64,
    pub fastest: Record,
    /// With page faults and what lookups asked; its times are not to be relied on.
    pub counted: Record,
}

impl Start<'_> {
    pub fn records(&self, runs: usize, progress: &Progress) -> Result<Records> {
        let folder = Folder::new()?;
        progress.say("counting");
        // It also brings the files into memory.
        let counted = self.once(&folder, "counts,stop")?;
        let mut timed = Vec::with_capacity(runs);
        for run in 0..runs {
            progress.say(&format!("timing, start {} of {runs}", run + 1));
            timed.push(self.once(&folder, "times,stop")?);
        }
        timed.sort_by(|a, b| a.total().total_cmp(&b.total()));
        let (median, slowest) = (timed[runs / 2].total(), timed[runs - 1].total());
        Ok(Records { runs, median, slowest, fastest: timed.swap_remove(0), counted })
    }

    /// One start; its record lies in a file whose name ends with the process' number.
    fn once(&self, folder: &Folder, words: &str) -> Result<Record> {
        let interpreter = loader::find()?;
        let mut command: Command = run::command(&interpreter, self.program, self.arguments)?;
        let mut variable = OsString::from(format!("{words}:"));
        variable.push(folder.0.join("record"));
        command.env("LD_FOLIO_PROFILE", variable);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let now = clock_gettime(ClockId::CLOCK_MONOTONIC)?;
        let requested = now.tv_sec().unsigned_abs() * 1_000_000_000 + now.tv_nsec().unsigned_abs();
        let mut child = command.spawn().with_context(|| format!("cannot start {}", interpreter.display()))?;
        let mut errors = child.stderr.take().context("the process has a standard error")?;
        let said = spawn(move || {
            let mut text = Vec::new();
            // What cannot be read was not said.
            let _end = errors.by_ref().take(1 << 16).read_to_end(&mut text);
            text
        });
        let begin = Instant::now();
        let status = loop {
            if let Some(status) = child.try_wait()? {
                break status;
            }
            if begin.elapsed() > self.limit {
                child.kill()?;
                child.wait()?;
                bail!(
                    "the start did not end within {} s: an initializer waits, or the program runs under another linker \
                     (folio doctor says why; --limit gives more time)",
                    self.limit.as_secs()
                );
            }
            sleep(Duration::from_micros(500));
        };
        let path = folder.0.join(format!("record.{}", child.id()));
        let Ok(bytes) = fs::read(&path) else {
            // A process that an initializer left behind may hold the pipe open: only what has ended is waited for.
            let text =
                if said.is_finished() || !status.success() { said.join().unwrap_or_default() } else { Vec::new() };
            let text = String::from_utf8_lossy(&text);
            ensure!(text.trim().is_empty(), "the program does not start: {}", text.trim().replace('\n', "; "));
            bail!(
                "{} was not profiled ({status}): {} is of another version, or left the program to another linker (folio \
                 doctor says why)",
                self.program,
                interpreter.display()
            );
        };
        fs::remove_file(&path)?;
        let file = loader::program(self.program)?;
        Record::parse(&bytes, requested, self.program, &file.to_string_lossy())
            .context("the record of the start cannot be used")
    }
}

/// A folder for records that nobody else can enter; it goes when this is dropped.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Result<Folder> {
        let path = std::env::temp_dir().join(format!("folio-profile-{}", std::process::id()));
        DirBuilder::new().mode(0o700).create(&path).with_context(|| format!("cannot make {}", path.display()))?;
        Ok(Folder(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _left = fs::remove_dir_all(&self.0);
    }
}
