//! Part two: what a dynamic linker asks of the kernel, under glibc's and under Folio.

use std::path::Path;

use anyhow::Result;
use folio::compare::role::Role;
use folio::compare::{self, Comparison, Side};
use serde::Serialize;

use super::Claims;
use super::stage::Stage;

const PROGRAM: &str = "/usr/bin/git";

#[derive(Serialize)]
pub struct Calls {
    program: String,
    comparison: Comparison,
}

pub fn show(stage: &Stage, claims: &mut Claims) -> Result<Calls> {
    let command = |program: &Path| {
        let mut command = stage.command(program);
        command.arg("--version");
        command
    };
    let git = Path::new(PROGRAM);
    let comparison = compare::commands(&command(git), &command(&stage.adopt(git)?))?;
    let (glibc, folio) = (&comparison.glibc, &comparison.folio);
    claims.check(glibc.ending == "exited with 0" && folio.ending == glibc.ending, || {
        format!("git --version {} under glibc and {} under Folio", glibc.ending, folio.ending)
    })?;
    claims.check(!libraries(glibc).is_empty() && libraries(glibc) == libraries(folio), || {
        format!("git's code was mapped from {:?} by glibc and from {:?} by Folio", libraries(glibc), libraries(folio))
    })?;
    let writable_code = folio.calls.iter().find(|call| call.line.contains("PROT_WRITE|PROT_EXEC"));
    claims
        .check(writable_code.is_none(), || format!("memory is writable and executable at once: {writable_code:?}"))?;
    Ok(Calls { program: format!("{PROGRAM} --version"), comparison })
}

/// The files of which text was mapped, in alphabetic order: each at most once.
fn libraries(side: &Side) -> Vec<&str> {
    let text = side.calls.iter().filter(|call| call.role == Role::MapText);
    let mut files: Vec<_> = text.map(|call| call.subject.as_str()).collect();
    files.sort_unstable();
    files
}

impl Calls {
    pub fn text(&self) -> String {
        format!(
            "2. What the kernel is asked to do\n\n\
             Every system call of `{}`, as strace saw it under each linker; lines that do the same for the same\n\
             file stand side by side. Text is a library's code: mapped readable and executable (r-x), never writable.\n\n\
             {}\n{}",
            self.program,
            self.comparison.calls_text(2),
            self.comparison.counts_text(2)
        )
    }
}
