//! What an interpreter says when it cannot start a program, compared with what glibc's loader says.

use std::path::Path;

use anyhow::Result;

use crate::compare;
use crate::interpreter::{GLIBC, Interpreter};
use crate::run::{Outcome, Run, Status};

/// What glibc's loader does with a damaged start, which decides what is asked of Folio.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reference {
    /// glibc says one sentence: Folio's first must be the same, and so must the status.
    Sentence,
    /// glibc does not look, and crashes or runs on: Folio refuses in good order, unless the program runs to a good end
    /// under both.
    Unchecked,
}

/// A start that must fail: `./program` in a folder, started in any way.
#[derive(Clone, Debug)]
pub struct Start<'a> {
    pub folder: &'a Path,
    pub environment: &'a [(&'a str, &'a str)],
    /// Words before the program: a command that runs it as another user, or within limits.
    pub wrapper: &'a [&'a str],
    pub reference: Reference,
    /// Text that glibc's sentence contains (or Folio's, where glibc has none).
    pub sentence: &'a str,
    pub status: i32,
    /// Texts that Folio's whole message contains as well: everything that is missing, in one run.
    pub also: &'a [&'a str],
}

impl Start<'_> {
    /// Starts the program under both interpreters, by `PT_INTERP` and directly, and says what is wrong.
    pub fn findings(&self, interpreter: &Interpreter) -> Result<Vec<String>> {
        let program = self.folder.join("program");
        let copy = self.folder.join("program.interp");
        interpreter.adopt(&program, &copy)?;
        let native = self.run(&program, "./program", &[]);
        let adopted = self.run(&copy, "./program", &[]);
        let mut findings = self.judge(interpreter, &native, &adopted)?;
        let native = self.run(Path::new(GLIBC), "ld.so", &["./program"]);
        let direct = self.run(interpreter.path(), "ld.so", &["./program"]);
        findings.extend(self.judge(interpreter, &native, &direct)?);
        Ok(findings)
    }

    fn run(&self, program: &Path, name: &str, words: &[&str]) -> Run {
        let run = match self.wrapper {
            [] => Run::new(program).named(name),
            // exec -a is bash's: it keeps argv[0] the same behind the wrapper.
            [wrapper, rest @ ..] => Run::new(*wrapper)
                .args(rest.iter().copied())
                .args(["bash", "-c", r#"name=$1 program=$2; shift 2; exec -a "$name" "$program" "$@""#, "bash", name])
                .args([program]),
        };
        let run = run.args(words.iter().copied()).in_folder(self.folder);
        self.environment.iter().fold(run, |run, &(key, value)| run.env(key, value))
    }

    fn judge(&self, interpreter: &Interpreter, native: &Run, under_test: &Run) -> Result<Vec<String>> {
        let mut problems = Vec::new();
        if self.reference == Reference::Unchecked {
            if interpreter.is_stand_in() {
                return Ok(problems);
            }
            let (expected, actual) = (native.outcome()?, under_test.outcome()?);
            let harmless = expected == actual && actual.status == Status::Exit(0);
            if !harmless && !refused(&actual) {
                let said = String::from_utf8_lossy(&actual.stderr);
                problems.push(format!("neither refused in good order nor harmless: {}\n{said}", actual.status));
            }
        } else {
            let (expected, actual) = (native.outcome()?, under_test.outcome()?);
            problems.extend(self.wrong_with(&expected).map(|problem| format!("under glibc itself: {problem}")));
            let first = |outcome: &Outcome| {
                let stderr = explained(&compare::without_requester(&outcome.stderr));
                let line = stderr.split_inclusive(|&byte| byte == b'\n').next().unwrap_or_default().to_vec();
                Outcome { stderr: line, ..outcome.clone() }
            };
            problems.extend(compare::difference(&first(&expected), &first(&actual)));
            if !interpreter.is_stand_in() {
                problems.extend(self.wrong_with(&actual));
                let said = String::from_utf8_lossy(&actual.stderr);
                let unsaid = self.also.iter().filter(|text| !said.contains(**text));
                problems.extend(unnamed(&said));
                problems.extend(unsaid.map(|text| format!("{text:?} is not said:\n{said}")));
            }
        }
        Ok(problems
            .into_iter()
            .map(|problem| format!("{problem}\nreproduce: {}\n", under_test.reproduction()))
            .collect())
    }

    /// What is wrong with a message: it has the status, and every line of it begins with the program or the loader.
    fn wrong_with(&self, outcome: &Outcome) -> Option<String> {
        let said = String::from_utf8_lossy(&outcome.stderr);
        let good = outcome.status == Status::Exit(self.status) && shaped(&said) && said.contains(self.sentence);
        (!good).then(|| {
            format!(
                "expected status {} and a sentence with {:?}, but: {}\n{said}",
                self.status, self.sentence, outcome.status
            )
        })
    }
}

/// Whether every line of a message begins with the program or the loader.
fn shaped(said: &str) -> bool {
    said.lines().all(|line| line.starts_with("./program: ") || line.starts_with("ld.so: "))
}

/// Whether a start ended with a message and one of the two statuses of a refusal.
fn refused(outcome: &Outcome) -> bool {
    let said = String::from_utf8_lossy(&outcome.stderr);
    matches!(outcome.status, Status::Exit(127 | 1)) && !said.is_empty() && shaped(&said)
}

/// Every sentence about a library that cannot be loaded names the object that requires it.
fn unnamed(said: &str) -> Option<String> {
    let loading = |line: &&str| line.contains("error while loading shared libraries");
    let line = said.lines().filter(loading).find(|line| !line.contains("(required by "))?;
    Some(format!("nobody is named who requires it: {line}"))
}

/// glibc's loader has words for few error numbers, and gives the number of the others (elf/dl-minimal.c, strerror).
fn explained(stderr: &[u8]) -> Vec<u8> {
    compare::replace(stderr, ": Error 21", ": Is a directory")
}
