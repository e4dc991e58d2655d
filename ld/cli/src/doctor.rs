//! `folio doctor`: what of this machine matters to Folio, what falls back, and why.

mod kernel;
mod linking;
mod processor;
mod protection;
mod tools;

use std::fmt::Write;
use std::process::ExitCode;

use anstyle::AnsiColor;
use anyhow::Result;
use clap::Args;
use serde::Serialize;

use crate::output::Output;

#[derive(Args, Debug)]
pub struct Arguments {
    #[command(flatten)]
    output: Output,
}

/// Examines, and says by the status whether programs run under Folio here.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let diagnosis = examine();
    arguments.output.print(&diagnosis, || diagnosis.text())?;
    Ok(if diagnosis.is_usable() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// How it stands with one thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    Good,
    /// It works, in another way or with less to see.
    Limited,
    /// Programs do not run under Folio here.
    Bad,
}

/// One fact of this machine, and what follows from it.
#[derive(Debug, Serialize)]
pub struct Fact {
    pub name: &'static str,
    pub state: State,
    pub value: String,
    /// What falls back, and why; what to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub consequence: Option<String>,
}

impl Fact {
    fn new(name: &'static str, state: State, value: impl Into<String>, consequence: impl Into<Option<String>>) -> Fact {
        Fact { name, state, value: value.into(), consequence: consequence.into() }
    }

    fn good(name: &'static str, value: impl Into<String>) -> Fact {
        Fact::new(name, State::Good, value, None)
    }

    fn limited(name: &'static str, value: impl Into<String>, consequence: impl Into<String>) -> Fact {
        Fact::new(name, State::Limited, value, Some(consequence.into()))
    }

    fn bad(name: &'static str, value: impl Into<String>, consequence: impl Into<String>) -> Fact {
        Fact::new(name, State::Bad, value, Some(consequence.into()))
    }
}

/// All facts, by subject.
#[derive(Debug, Serialize)]
pub struct Diagnosis {
    pub linking: Vec<Fact>,
    pub protection: Vec<Fact>,
    pub kernel: Vec<Fact>,
    pub tools: Vec<Fact>,
}

/// Looks at this machine.
fn examine() -> Diagnosis {
    Diagnosis {
        linking: linking::facts(),
        protection: protection::facts(),
        kernel: kernel::facts().into_iter().chain(processor::facts()).collect(),
        tools: tools::facts(),
    }
}

impl Diagnosis {
    fn all(&self) -> impl Iterator<Item = &Fact> {
        self.linking.iter().chain(&self.protection).chain(&self.kernel).chain(&self.tools)
    }

    /// Whether programs run under Folio here.
    pub fn is_usable(&self) -> bool {
        self.all().all(|fact| fact.state != State::Bad)
    }

    pub fn text(&self) -> String {
        let mut text = String::new();
        let width = self.all().map(|fact| fact.name.len()).max().unwrap_or(0);
        for (head, facts) in [
            ("Linking", &self.linking),
            ("Protection", &self.protection),
            ("Kernel and processor", &self.kernel),
            ("Tools and rights", &self.tools),
        ] {
            let _ = writeln!(text, "{head}");
            for fact in facts {
                let (sign, colour) = match fact.state {
                    State::Good => ("ok  ", AnsiColor::Green),
                    State::Limited => ("less", AnsiColor::Yellow),
                    State::Bad => ("no  ", AnsiColor::Red),
                };
                let style = colour.on_default();
                let _ = writeln!(text, "  {style}{sign}{style:#} {:width$}  {}", fact.name, fact.value);
                if let Some(consequence) = &fact.consequence {
                    let _ = writeln!(text, "       {:width$}    {consequence}", "");
                }
            }
            text.push('\n');
        }
        text += if self.is_usable() {
            "Programs run under Folio here.\n"
        } else {
            "Programs do not run under Folio here.\n"
        };
        text
    }
}
