//! Putting a suite together: named tests that pass, fail with a text, or say why they cannot run here.

use std::process::ExitCode;

use libtest_mimic::{Arguments, Completion, Trial};

use crate::workspace;

/// What one test found.
pub enum Verdict {
    Pass,
    /// What is wrong, for a person.
    Fail(String),
    /// Why the test cannot run on this machine.
    Skip(String),
}

impl Verdict {
    /// Passes when nothing was found to be wrong.
    pub fn from_findings(findings: Vec<String>) -> Self {
        if findings.is_empty() { Self::Pass } else { Self::Fail(findings.join("\n")) }
    }
}

/// One test. An error is a failure: the test could not find out what it was to find out.
pub fn test(name: impl Into<String>, body: impl FnOnce() -> anyhow::Result<Verdict> + Send + 'static) -> Trial {
    Trial::ignorable_test(name, move || match body() {
        Ok(Verdict::Pass) => Ok(Completion::Completed),
        Ok(Verdict::Fail(text)) => Err(text.into()),
        Ok(Verdict::Skip(reason)) if workspace::in_ci() => Err(format!("skipped, which CI forbids: {reason}").into()),
        Ok(Verdict::Skip(reason)) => Ok(Completion::ignored_with(reason)),
        Err(error) => Err(format!("{error:#}").into()),
    })
}

/// Runs the suite with the command line of `cargo test`. Two runs of one working copy would empty each other's folders,
/// so the later one waits for the earlier one.
pub fn run(tests: Vec<Trial>) -> ExitCode {
    let _lock = match workspace::lock("suite") {
        Ok(lock) => lock,
        Err(error) => {
            eprintln!("{error:#}");
            return ExitCode::FAILURE;
        }
    };
    libtest_mimic::run(&Arguments::from_args(), tests).exit_code()
}

/// Ends a suite that could not be put together, for instance because nothing was built yet.
pub fn run_or_explain(tests: anyhow::Result<Vec<Trial>>) -> ExitCode {
    match tests {
        Ok(tests) => run(tests),
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}
