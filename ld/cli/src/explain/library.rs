//! One library of a plan: how it was found, who wants what of it, and what it wants of others.

use std::collections::BTreeMap;
use std::fmt::Write;

use anyhow::{Context, Result};
use folio_link::object::ObjectId;
use serde::Serialize;

use super::{Search, lossy, searches};
use crate::plan::Plan;
use crate::table::{indented, table};

#[derive(Debug, Serialize)]
pub struct Library {
    pub name: String,
    pub path: String,
    pub soname: Option<String>,
    /// Place in the search order, and turn among the initializers; both count from 1.
    pub scope_position: usize,
    pub initialization_turn: usize,
    /// The searches that led here.
    pub searches: Vec<Search>,
    pub needed_by: Vec<String>,
    pub needs: Vec<String>,
    /// Version by version, who needs it.
    pub versions: BTreeMap<String, Vec<String>>,
    /// References that others bind to it, by who refers.
    pub gives: BTreeMap<String, Vec<String>>,
    /// Its own references, by who defines.
    pub takes: BTreeMap<String, Vec<String>>,
}

/// The library that a user means: by soname, file name, path, or a part of the file name.
pub fn find(plan: &Plan, wanted: &str) -> Result<ObjectId> {
    let scope = &plan.scope.objects;
    let is_exact = |id: &&ObjectId| {
        let object = &plan.objects[**id];
        plan.name(**id) == wanted || object.answers_to(wanted.as_bytes()) || plan.path(**id) == wanted.as_bytes()
    };
    let is_like = |id: &&ObjectId| plan.name(**id).contains(wanted);
    let found = scope.iter().find(is_exact).or_else(|| scope.iter().find(is_like)).copied();
    found.with_context(|| format!("{} loads no library {wanted}", plan.program.display()))
}

pub fn library(plan: &Plan, wanted: &str) -> Result<Library> {
    let id = find(plan, wanted)?;
    let object = &plan.objects[id];
    let path = plan.path_text(id).into_owned();
    let place = |list: &[ObjectId]| list.iter().position(|&other| other == id).map_or(0, |place| place + 1);
    let mut versions: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for need in plan.versions.iter().filter(|need| need.provider == id) {
        versions.entry(lossy(&need.version)).or_default().push(plan.name(need.requester));
    }
    let (mut gives, mut takes): (BTreeMap<_, Vec<_>>, BTreeMap<_, Vec<_>>) = Default::default();
    for binding in &plan.bindings {
        let symbol = lossy(&binding.name);
        if binding.definition.object == id && binding.requester != id {
            gives.entry(plan.name(binding.requester)).or_default().push(symbol);
        } else if binding.requester == id {
            takes.entry(plan.name(binding.definition.object)).or_default().push(symbol);
        }
    }
    Ok(Library {
        name: plan.name(id),
        soname: object.soname().map(lossy),
        scope_position: place(&plan.scope.objects),
        initialization_turn: place(&plan.initialization),
        searches: searches(plan).into_iter().filter(|search| search.path.as_ref() == Some(&path)).collect(),
        needed_by: plan.users(id).into_iter().map(|user| plan.name(user)).collect(),
        needs: object.needed.iter().map(|&needed| plan.name(needed)).collect(),
        versions,
        gives,
        takes,
        path,
    })
}

impl Library {
    pub fn text(&self) -> String {
        let mut text = format!("{}\n", self.path);
        let _ = writeln!(
            text,
            "  number {} in the search order, initialised as number {}; needed by {}; needs {}",
            self.scope_position,
            self.initialization_turn,
            or_nobody(&self.needed_by),
            or_nobody(&self.needs),
        );
        for search in &self.searches {
            let _ = writeln!(text, "  searched as {} for {}:", search.name, search.requester);
            for attempt in &search.attempts {
                let outcome = attempt.refused.as_deref().unwrap_or("found");
                let _ = writeln!(text, "    {}  ({}): {outcome}", attempt.path, attempt.rule);
            }
        }
        for (version, users) in &self.versions {
            let _ = writeln!(text, "  version {version} is needed by {}", users.join(", "));
        }
        let mut rows = table(&["other object", ">refers to it", ">it refers to", "for instance"]);
        let names: std::collections::BTreeSet<&String> = self.gives.keys().chain(self.takes.keys()).collect();
        for name in names {
            let count = |map: &BTreeMap<String, Vec<String>>| map.get(name).map_or(0, Vec::len);
            let example = self.gives.get(name).or_else(|| self.takes.get(name)).and_then(|symbols| symbols.first());
            let name = if *name == self.name { "itself" } else { name };
            rows.add_row([
                name,
                &count(&self.gives).to_string(),
                &count(&self.takes).to_string(),
                example.map_or("", String::as_str),
            ]);
        }
        text + "\n" + &indented(&rows, 2)
    }
}

fn or_nobody(names: &[String]) -> String {
    if names.is_empty() { "nothing".to_owned() } else { names.join(", ") }
}
