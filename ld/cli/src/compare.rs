//! `folio compare`: the system calls of one program under glibc's dynamic linker and under Folio, side by side.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;
use std::process::Command;

use anyhow::Result;
use serde::Serialize;
use similar::{Algorithm, DiffOp, capture_diff_slices};

use crate::role::{self, Labelled, Role};
use crate::table::{indented, table};
use crate::{loader, run, strace};

/// One program under two dynamic linkers.
#[derive(Debug, Serialize)]
pub struct Comparison {
    pub glibc: Side,
    pub folio: Side,
}

#[derive(Debug, Serialize)]
pub struct Side {
    pub calls: Vec<Labelled>,
    /// How the process ended, in strace's words.
    pub ending: String,
}

/// How often each side makes calls of one role.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Count {
    pub role: Role,
    pub glibc: usize,
    pub folio: usize,
}

/// Starts the program twice, by handing it to each dynamic linker as its argument, so that both do the same work.
pub fn compare(name: &str, arguments: &[OsString]) -> Result<Comparison> {
    commands(
        &run::command(Path::new(loader::GLIBC), name, arguments)?,
        &run::command(&loader::find()?, name, arguments)?,
    )
}

/// Compares two ways to start a program.
pub fn commands(glibc: &Command, folio: &Command) -> Result<Comparison> {
    let side = |command: &Command| -> Result<Side> {
        let trace = strace::trace(command)?;
        Ok(Side { calls: role::label(&trace.calls), ending: trace.ending })
    };
    Ok(Comparison { glibc: side(glibc)?, folio: side(folio)? })
}

/// The calls of both sides in order; those that do the same for the same file stand on one line.
type Line<'a> = (Option<&'a Labelled>, Option<&'a Labelled>);

impl Comparison {
    fn aligned(&self) -> Vec<Line<'_>> {
        let key = |call: &Labelled| (call.role, call.subject.clone());
        let (left, right): (Vec<_>, Vec<_>) =
            (self.glibc.calls.iter().map(key).collect(), self.folio.calls.iter().map(key).collect());
        let (glibc, folio) = (&self.glibc.calls, &self.folio.calls);
        let mut lines: Vec<Line<'_>> = Vec::new();
        for op in capture_diff_slices(Algorithm::Myers, &left, &right) {
            let (old, new) = (op.old_range(), op.new_range());
            if matches!(op, DiffOp::Equal { .. }) {
                lines.extend(glibc[old].iter().map(Some).zip(folio[new].iter().map(Some)));
            } else {
                lines.extend(glibc[old].iter().map(|call| (Some(call), None)));
                lines.extend(folio[new].iter().map(|call| (None, Some(call))));
            }
        }
        lines
    }

    /// Calls by role, in the order in which a start usually goes through them.
    pub fn counts(&self) -> Vec<Count> {
        let mut counts: BTreeMap<Role, (usize, usize)> = BTreeMap::new();
        for call in &self.glibc.calls {
            counts.entry(call.role).or_default().0 += 1;
        }
        for call in &self.folio.calls {
            counts.entry(call.role).or_default().1 += 1;
        }
        counts.into_iter().map(|(role, (glibc, folio))| Count { role, glibc, folio }).collect()
    }

    /// The calls side by side. Stretches that belong to libc and the program are folded into one line each.
    pub fn calls_text(&self, indent: usize) -> String {
        let mut rows = table(&["what it does", "for which file", "under glibc's ld.so", "under Folio"]);
        let lines = self.aligned();
        let own = |line: &Line<'_>| line.0.or(line.1).is_some_and(|call| call.role == Role::Program);
        for stretch in lines.chunk_by(|a, b| own(a) && own(b)) {
            let cell = |side: for<'a> fn(&Line<'a>) -> Option<&'a Labelled>| {
                let calls: Vec<_> = stretch.iter().filter_map(side).collect();
                match calls.as_slice() {
                    [] => "·".to_owned(),
                    [call] => call.short.clone(),
                    more => format!("{} calls", more.len()),
                }
            };
            let Some(call) = stretch[0].0.or(stretch[0].1) else { continue };
            let subject = if stretch.len() == 1 { call.subject.as_str() } else { "" };
            rows.add_row([call.role.label(), subject, &cell(|line| line.0), &cell(|line| line.1)]);
        }
        indented(&rows, indent)
    }

    /// How many calls each role takes.
    pub fn counts_text(&self, indent: usize) -> String {
        let mut rows = table(&["system calls", ">glibc", ">Folio"]);
        for count in self.counts() {
            rows.add_row([count.role.label().to_owned(), count.glibc.to_string(), count.folio.to_string()]);
        }
        let total = |side: &Side| side.calls.len().to_string();
        rows.add_row(["all together".to_owned(), total(&self.glibc), total(&self.folio)]);
        indented(&rows, indent)
    }

    /// The whole comparison, and a sentence when the two did not end alike.
    pub fn text(&self) -> String {
        let ending = if self.glibc.ending == self.folio.ending {
            format!("Both {}.\n", self.glibc.ending)
        } else {
            format!("Under glibc the program {}, under Folio it {}.\n", self.glibc.ending, self.folio.ending)
        };
        format!("{}\n{}\n{ending}", self.calls_text(0), self.counts_text(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(role: Role, subject: &str) -> Labelled {
        Labelled { role, subject: subject.to_owned(), short: subject.to_owned(), line: String::new() }
    }

    #[test]
    fn calls_of_one_role_and_file_stand_on_one_line() {
        let side = |calls| Side { calls, ending: "exited with 0".to_owned() };
        let comparison = Comparison {
            glibc: side(vec![call(Role::Open, "a"), call(Role::ReadHeader, "a"), call(Role::Close, "a")]),
            folio: side(vec![call(Role::Open, "a"), call(Role::Identify, "a"), call(Role::Close, "a")]),
        };
        let both: Vec<_> = comparison.aligned().iter().map(|(l, r)| (l.map(|c| c.role), r.map(|c| c.role))).collect();
        let expected = [
            (Some(Role::Open), Some(Role::Open)),
            (Some(Role::ReadHeader), None),
            (None, Some(Role::Identify)),
            (Some(Role::Close), Some(Role::Close)),
        ];
        assert_eq!(both, expected);
        assert!(comparison.counts().contains(&Count { role: Role::ReadHeader, glibc: 1, folio: 0 }));
        assert!(comparison.counts().contains(&Count { role: Role::Open, glibc: 1, folio: 1 }));
    }
}
