//! `folio explain`: what a start of a program would do, and why, told from its plan.

mod change;
mod library;
mod missing;
mod symbol;

use std::ffi::OsString;
use std::fmt::Write;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, ValueHint};
use folio_link::object::{Kind, ObjectId};
use folio_link::search::Reference;
use serde::Serialize;

pub use self::change::Change;
pub use self::library::Library;
pub use self::missing::Missing;
pub use self::symbol::Symbol;
use crate::draw::{base_name, some};
use crate::loader;
use crate::output::Output;
use crate::plan::{Attempt, Disk, Environment, Plan};
use crate::table::{indented, table};

#[derive(Args, Debug)]
pub struct Arguments {
    /// A path, or a name to look for in PATH; a library will do
    #[arg(value_hint = ValueHint::CommandName)]
    program: String,
    /// Who defines this symbol, who wins, and who refers to it; NAME or NAME@VERSION
    #[arg(short, long, value_name = "SYMBOL")]
    symbol: Option<String>,
    /// How this library was found, who needs it, and what is bound to it
    #[arg(short = 'l', long = "library", value_name = "LIBRARY")]
    asked: Option<String>,
    /// What this setting would change: LD_LIBRARY_PATH=... or LD_PRELOAD=...; may be repeated
    #[arg(short, long, value_name = "VARIABLE=VALUE")]
    with: Vec<OsString>,
    /// List every reference and what it is bound to
    #[arg(long)]
    bindings: bool,
    #[command(flatten)]
    output: Output,
}

/// Explains, and says by the status whether the program would start.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let explanation = explain(&loader::program(&arguments.program)?, arguments)?;
    arguments.output.print(&explanation, || explanation.text())?;
    Ok(if explanation.is_complete() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The plan of a start with its reasons.
#[derive(Debug, Serialize)]
pub struct Explanation {
    pub program: String,
    pub interpreter: String,
    /// The program runs with more rights than its user: no environment variable has a say.
    pub secure: bool,
    /// In search order.
    pub objects: Vec<Object>,
    /// Every search, in order.
    pub searches: Vec<Search>,
    pub tried_in_vain: usize,
    pub directories_asked: usize,
    pub versions: Vec<VersionNeed>,
    pub initialization: Vec<Initialization>,
    pub missing: Missing,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[serde(rename = "library")]
    pub about: Option<Library>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub symbol: Option<Symbol>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub change: Option<Change>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bindings: Option<Vec<Binding>>,
    pub relocated_references: usize,
}

#[derive(Debug, Serialize)]
pub struct Object {
    pub name: String,
    pub path: String,
    pub found_by: String,
    pub tried_in_vain: usize,
    pub needed_by: Vec<String>,
}

/// A library that was asked for when no loaded object answered to its name.
#[derive(Debug, Serialize)]
pub struct Search {
    pub name: String,
    pub requester: String,
    pub preloaded: bool,
    pub path: Option<String>,
    /// The file was loaded already, under another name.
    pub known: bool,
    pub attempts: Vec<Attempt>,
}

#[derive(Debug, Serialize)]
pub struct VersionNeed {
    pub version: String,
    pub provider: String,
    pub requester: String,
}

/// One object's turn in the order of initializers.
#[derive(Debug, Serialize)]
pub struct Initialization {
    pub path: String,
    /// What it needs, and what is therefore initialised before it.
    pub after: Vec<String>,
    /// What it needs and what comes later all the same: the two need each other.
    pub in_cycle_with: Vec<String>,
    /// DF_1_INITFIRST.
    pub goes_first: bool,
}

#[derive(Debug, Serialize)]
pub struct Binding {
    pub requester: String,
    pub symbol: String,
    pub version: Option<String>,
    pub winner: String,
    pub protected: bool,
}

/// Explains the start of a program.
fn explain(program: &Path, questions: &Arguments) -> Result<Explanation> {
    let environment = Environment::current();
    let mut plan = Plan::make(program, &environment, Disk::default())?;
    let mut explanation = Explanation {
        program: program.display().to_string(),
        interpreter: plan.path_text(plan.interpreter).into_owned(),
        secure: plan.secure,
        objects: plan.scope.objects.iter().map(|&id| object(&plan, id)).collect(),
        searches: searches(&plan),
        tried_in_vain: plan.requests.iter().map(|request| request.wasted()).sum(),
        directories_asked: plan.directories_asked,
        versions: versions(&plan),
        initialization: initialization(&plan),
        missing: missing::missing(&mut plan),
        about: questions.asked.as_deref().map(|name| library::library(&plan, name)).transpose()?,
        symbol: questions.symbol.as_deref().map(|name| symbol::symbol(&plan, name)).transpose()?,
        change: None,
        bindings: questions.bindings.then(|| bindings(&plan)),
        relocated_references: plan.bindings.len(),
    };
    if !questions.with.is_empty() {
        let mut changed = environment;
        for setting in &questions.with {
            changed = changed.with(setting)?;
        }
        let disk = std::mem::take(&mut plan.disk);
        let mut other = Plan::make(program, &changed, disk)?;
        explanation.change = Some(change::change(&plan, &mut other, &questions.with));
    }
    Ok(explanation)
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn object(plan: &Plan, id: ObjectId) -> Object {
    let request = plan.request_of(id);
    let found_by = match plan.objects[id].kind {
        Kind::Executable => "the program",
        Kind::Interpreter => "the interpreter",
        _ => request.and_then(|request| request.rule()).unwrap_or("-"),
    };
    let is_preloaded = request.is_some_and(|request| request.reference == Reference::Preloaded);
    let mut needed_by: Vec<String> = plan.users(id).into_iter().map(|user| plan.name(user)).collect();
    if is_preloaded {
        needed_by.insert(0, "preloaded".to_owned());
    }
    Object {
        name: plan.name(id),
        path: plan.path_text(id).into_owned(),
        found_by: found_by.to_owned(),
        tried_in_vain: request.map_or(0, |request| request.wasted()),
        needed_by,
    }
}

fn searches(plan: &Plan) -> Vec<Search> {
    let search = |request: &crate::plan::Request| Search {
        name: lossy(&request.name),
        requester: lossy(&request.requester),
        preloaded: request.reference == Reference::Preloaded,
        path: request.path.as_deref().map(lossy),
        known: request.is_known,
        attempts: request.attempts.clone(),
    };
    plan.requests.iter().map(search).collect()
}

fn versions(plan: &Plan) -> Vec<VersionNeed> {
    let need = |need: &crate::plan::VersionNeed| VersionNeed {
        version: lossy(&need.version),
        provider: plan.path_text(need.provider).into_owned(),
        requester: plan.path_text(need.requester).into_owned(),
    };
    plan.versions.iter().map(need).collect()
}

fn initialization(plan: &Plan) -> Vec<Initialization> {
    let order = &plan.initialization;
    let first = folio_link::graph::goes_first(&plan.objects, &plan.scope.objects);
    order
        .iter()
        .enumerate()
        .map(|(turn, &id)| {
            let needed = plan.objects[id].needed.iter().filter(|&&needed| needed != id);
            let (after, later): (Vec<ObjectId>, Vec<ObjectId>) =
                needed.partition(|needed| order[..turn].contains(needed));
            let names = |ids: Vec<ObjectId>| ids.into_iter().map(|id| plan.name(id)).collect();
            Initialization {
                path: plan.path_text(id).into_owned(),
                after: names(after),
                in_cycle_with: names(later),
                goes_first: first == Some(id),
            }
        })
        .collect()
}

fn bindings(plan: &Plan) -> Vec<Binding> {
    let binding = |binding: &crate::plan::Binding| Binding {
        requester: plan.path_text(binding.requester).into_owned(),
        symbol: lossy(&binding.name),
        version: binding.version.as_deref().map(lossy),
        winner: plan.path_text(binding.definition.object).into_owned(),
        protected: binding.protected,
    };
    plan.bindings.iter().map(binding).collect()
}

impl Explanation {
    /// Whether the program would start.
    pub fn is_complete(&self) -> bool {
        self.missing.is_empty()
    }

    pub fn text(&self) -> String {
        let mut text = String::new();
        if self.secure {
            text += "The program gains rights when it starts (AT_SECURE): no environment variable has a say.\n\n";
        }
        match (&self.symbol, &self.about, &self.change, &self.bindings) {
            (None, None, None, None) => {
                text += &self.files();
                text += &self.order();
            }
            (symbol, library, change, bindings) => {
                let parts = [
                    library.as_ref().map(Library::text),
                    symbol.as_ref().map(Symbol::text),
                    change.as_ref().map(Change::text),
                    bindings.as_ref().map(|bindings| binding_table(bindings)),
                ];
                text += &parts.into_iter().flatten().collect::<Vec<_>>().join("\n");
            }
        }
        let missing = self.missing.text();
        if !missing.is_empty() {
            text += "\n";
            text += &missing;
        }
        text
    }

    fn files(&self) -> String {
        let mut rows = table(&["file", "path", "found by", ">in vain", "needed by"]);
        for object in &self.objects {
            let needed_by = some(&object.needed_by, 4, ", ");
            let in_vain = object.tried_in_vain.to_string();
            rows.add_row([&object.name, &object.path, &object.found_by, &in_vain, &needed_by]);
        }
        let loaded = self.objects.len();
        let mut text = indented(&rows, 0);
        let _ = writeln!(
            text,
            "\n{loaded} objects, in the order in which symbols are looked up. To find them, Folio tries {} files in vain and \
             asks for {} folders.",
            self.tried_in_vain, self.directories_asked,
        );
        for search in self.searches.iter().filter(|search| search.attempts.len() > 1) {
            let _ = writeln!(text, "  {} for {}:", search.name, search.requester);
            for attempt in &search.attempts {
                let outcome = attempt.refused.as_deref().unwrap_or("found");
                let _ = writeln!(text, "    {}  ({}): {outcome}", attempt.path, attempt.rule);
            }
        }
        text
    }

    fn order(&self) -> String {
        let mut rows = table(&[">turn", "initialised", "because it needs, and they went before", "cycle"]);
        for (turn, step) in self.initialization.iter().enumerate() {
            let cycle = if step.in_cycle_with.is_empty() {
                String::new()
            } else {
                format!("also needs {}, later", step.in_cycle_with.join(", "))
            };
            let mut after = some(&step.after, 6, ", ");
            if step.goes_first {
                after = "(DF_1_INITFIRST: before all others)".to_owned();
            }
            rows.add_row([(turn + 1).to_string(), base_name(&step.path).to_owned(), after, cycle]);
        }
        format!("\n{}", indented(&rows, 0))
    }
}

fn binding_table(bindings: &[Binding]) -> String {
    let mut rows = table(&["reference of", "symbol", "version", "bound to"]);
    for binding in bindings {
        let version = binding.version.as_deref().unwrap_or("");
        rows.add_row([base_name(&binding.requester), &binding.symbol, version, &binding.winner]);
    }
    indented(&rows, 0)
}
