//! Part four: a library with a counter in it. Its code is shared, the counter's page is shared until it is written.

use std::collections::HashSet;
use std::process::Command;

use anyhow::{Context, Result};
use folio::process::{Page, Pagemap};
use folio::table::{indented, table};
use serde::Serialize;

use super::Claims;
use super::conversation::Conversation;
use super::stage::Stage;

const PROCESSES: usize = 4;
const CALLS: usize = 3;

#[derive(Serialize)]
pub struct Counter {
    processes: Vec<Row>,
}

#[derive(Serialize)]
struct Row {
    pid: u32,
    code: Seen,
    before: Seen,
    after: Seen,
    counted: Vec<String>,
}

/// A page as the process's page table has it.
#[derive(Clone, Copy, Serialize)]
struct Seen {
    frame: Option<u64>,
    of_file: bool,
}

/// One process, and where its code and its counter lie.
struct Process {
    conversation: Conversation,
    code: u64,
    i: u64,
}

impl Process {
    fn start(command: &mut Command) -> Result<Self> {
        let mut conversation = Conversation::start(command)?;
        let answer = conversation.ask("w")?;
        let address = |word: Option<&str>| -> Result<u64> {
            let digits = word.and_then(|word| word.strip_prefix("0x"));
            let digits = digits.with_context(|| format!("not two addresses: {answer:?}"))?;
            Ok(u64::from_str_radix(digits, 16)?)
        };
        let mut words = answer.split(' ');
        let (code, i) = (address(words.next())?, address(words.next())?);
        Ok(Self { conversation, code, i })
    }

    fn page(&self, address: u64) -> Result<Seen> {
        let page = Pagemap::open(self.conversation.pid())?.page(address)?;
        let Page { frame, of_file, .. } = page.context("a page that was just used is not in memory")?;
        Ok(Seen { frame, of_file })
    }
}

pub fn show(stage: &Stage, claims: &mut Claims) -> Result<Counter> {
    let program = stage.adopt(&stage.file("counter"))?;
    let mut processes = Vec::new();
    for _ in 0..PROCESSES {
        processes.push(Process::start(&mut stage.command(&program))?);
    }

    // Reading the counter brings its page in and changes nothing.
    for process in &mut processes {
        let value = process.conversation.ask("l")?;
        claims.check(value == "0", || format!("a counter that nobody called stands at {value}"))?;
    }
    let before = processes.iter().map(|process| process.page(process.i)).collect::<Result<Vec<_>>>()?;

    // In turns, so that a counter that all four shared would be noticed at once.
    let mut counted = vec![Vec::new(); PROCESSES];
    for call in 1..=CALLS {
        for (process, counted) in processes.iter_mut().zip(&mut counted) {
            let value = process.conversation.ask("c")?;
            claims.check(value == call.to_string(), || format!("call {call} of one process counted {value}"))?;
            counted.push(value);
        }
    }
    let after = processes.iter().map(|process| process.page(process.i)).collect::<Result<Vec<_>>>()?;
    let code = processes.iter().map(|process| process.page(process.code)).collect::<Result<Vec<_>>>()?;

    claims.check(code.iter().all(|page| page.of_file), || "the code's page is no longer the file's".to_owned())?;
    claims.check(before.iter().all(|page| page.of_file), || {
        "the counter's page was written before the first call".to_owned()
    })?;
    claims.check(after.iter().all(|page| !page.of_file), || {
        "a process wrote its counter and still has the file's page".to_owned()
    })?;
    if let (Some(code), Some(before), Some(after)) = (frames(&code), frames(&before), frames(&after)) {
        claims.check(code.len() == 1, || format!("the code's page is in {} frames", code.len()))?;
        claims.check(before.len() == 1, || format!("the counter's unwritten page is in {} frames", before.len()))?;
        claims.check(after.len() == PROCESSES && after.is_disjoint(&before), || {
            format!("after the calls the counter's page is in the frames {after:x?}, before in {before:x?}")
        })?;
    }

    let mut rows = Vec::new();
    for (index, (process, counted)) in processes.into_iter().zip(counted).enumerate() {
        let pid = process.conversation.pid();
        rows.push(Row { pid, code: code[index], before: before[index], after: after[index], counted });
        let outcome = process.conversation.finish(&[])?;
        claims.check(outcome.status.success(), || format!("a counting process ended with {}", outcome.status))?;
    }
    Ok(Counter { processes: rows })
}

/// The distinct frames, where the kernel shows them.
fn frames(pages: &[Seen]) -> Option<HashSet<u64>> {
    pages.iter().map(|page| page.frame).collect()
}

impl Counter {
    pub fn text(&self) -> String {
        let mut rows = table(&[
            "process",
            "page of count()",
            "page of i before the first call",
            "page of i after the calls",
            "it counted",
        ]);
        let page = |page: Seen| {
            let whose = if page.of_file { "the file's" } else { "its own" };
            page.frame.map_or_else(|| whose.to_owned(), |frame| format!("frame {frame:#x} ({whose})"))
        };
        for row in &self.processes {
            let counted = row.counted.join(", ");
            rows.add_row([row.pid.to_string(), page(row.code), page(row.before), page(row.after), counted]);
        }
        let hidden = self.processes.iter().any(|row| row.before.frame.is_none());
        let hint = if hidden { "\n  Run this as root to see the numbers of the physical frames.\n" } else { "" };
        format!(
            "4. A counter that each process has for itself\n\n  \
             static int i;\n  int count(void) {{ return ++i; }}\n\n\
             Four processes use one library with this code, in turns. They share the page that holds the code; and as\n\
             long as nobody has written it, also the page that holds i. With the first ++i the kernel gives the caller a\n\
             copy of that page: from then on there are four, and each process counts for itself.\n\n{}{hint}",
            indented(&rows, 2)
        )
    }
}
