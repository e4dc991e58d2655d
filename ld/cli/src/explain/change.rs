//! What another environment would change in a plan.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::fmt::Write;

use serde::Serialize;

use super::{Missing, lossy, missing};
use crate::plan::Plan;
use crate::table::{indented, table};

#[derive(Debug, Serialize)]
pub struct Change {
    pub with: Vec<String>,
    pub files: Vec<FileChange>,
    /// The turns of objects that both plans have, where they differ.
    pub initialization: Option<[Vec<String>; 2]>,
    pub bindings: Vec<BindingChange>,
    pub missing: Missing,
}

/// A file that is taken from elsewhere, comes in, or goes.
#[derive(Debug, Serialize)]
pub struct FileChange {
    pub name: String,
    pub before: Option<String>,
    pub after: Option<String>,
}

#[derive(Debug, Serialize)]
pub struct BindingChange {
    pub requester: String,
    pub symbol: String,
    pub version: Option<String>,
    pub before: String,
    pub after: String,
}

pub fn change(plan: &Plan, other: &mut Plan, with: &[OsString]) -> Change {
    let missing = missing::missing(other);
    Change {
        with: with.iter().map(|setting| setting.display().to_string()).collect(),
        files: files(plan, other),
        initialization: initialization(plan, other),
        bindings: bindings(plan, other),
        missing,
    }
}

fn paths(plan: &Plan) -> BTreeMap<String, String> {
    let named = |&id| (plan.name(id), plan.path_text(id).into_owned());
    plan.scope.objects.iter().map(named).collect()
}

fn files(plan: &Plan, other: &Plan) -> Vec<FileChange> {
    let (before, mut after) = (paths(plan), paths(other));
    let mut changes: Vec<FileChange> = before
        .into_iter()
        .map(|(name, path)| FileChange { after: after.remove(&name), before: Some(path), name })
        .collect();
    changes.extend(after.into_iter().map(|(name, path)| FileChange { name, before: None, after: Some(path) }));
    changes.retain(|change| change.before != change.after);
    changes
}

fn initialization(plan: &Plan, other: &Plan) -> Option<[Vec<String>; 2]> {
    let names = |plan: &Plan| -> Vec<String> { plan.initialization.iter().map(|&id| plan.name(id)).collect() };
    let (before, after) = (names(plan), names(other));
    let common = |list: &[String], in_both: &[String]| -> Vec<String> {
        list.iter().filter(|name| in_both.contains(name)).cloned().collect()
    };
    (common(&before, &after) != common(&after, &before)).then_some([before, after])
}

fn bindings(plan: &Plan, other: &Plan) -> Vec<BindingChange> {
    let mut winners = HashMap::new();
    for binding in &plan.bindings {
        let key =
            (plan.name(binding.requester), binding.name.as_slice(), binding.version.as_deref(), binding.class as u8);
        winners.insert(key, plan.path_text(binding.definition.object));
    }
    let mut changes = Vec::new();
    for binding in &other.bindings {
        let key =
            (other.name(binding.requester), binding.name.as_slice(), binding.version.as_deref(), binding.class as u8);
        let after = other.path_text(binding.definition.object);
        if let Some(before) = winners.get(&key).filter(|before| **before != after) {
            changes.push(BindingChange {
                requester: key.0,
                symbol: lossy(&binding.name),
                version: binding.version.as_deref().map(lossy),
                before: before.clone().into_owned(),
                after: after.into_owned(),
            });
        }
    }
    changes
}

impl Change {
    pub fn text(&self) -> String {
        let mut text = format!("With {}:\n\n", self.with.join(" "));
        if self.files.is_empty() {
            text += "The same files are loaded.\n";
        } else {
            let mut rows = table(&["file", "before", "after"]);
            for file in &self.files {
                let path = |path: &Option<String>| path.clone().unwrap_or_else(|| "not loaded".to_owned());
                rows.add_row([file.name.clone(), path(&file.before), path(&file.after)]);
            }
            text += &indented(&rows, 0);
        }
        if let Some([before, after]) = &self.initialization {
            let _ =
                writeln!(text, "\nInitialised before in the order {}.\nThen: {}.", before.join(", "), after.join(", "));
        }
        if self.bindings.is_empty() {
            text += "\nNo reference is bound to another object.\n";
        } else {
            let mut groups: BTreeMap<(&str, &str), Vec<&BindingChange>> = BTreeMap::new();
            for change in &self.bindings {
                groups.entry((&change.before, &change.after)).or_default().push(change);
            }
            let mut rows = table(&["was bound to", "is bound to", ">references", "for instance"]);
            for ((before, after), changes) in groups {
                let count = changes.len().to_string();
                let example =
                    changes.first().map_or(String::new(), |first| format!("{} of {}", first.symbol, first.requester));
                rows.add_row([before, after, &count, &example]);
            }
            text += "\n";
            text += &indented(&rows, 0);
        }
        let missing = self.missing.text();
        if !missing.is_empty() {
            text += "\nAnd then:\n";
            text += &missing;
        }
        text
    }
}
