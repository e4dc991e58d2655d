//! One symbol of a plan: who refers to it, every object that has a say, and who wins.

use std::fmt::Write;

use anyhow::{Result, ensure};
use folio_elf::hash;
use folio_elf::symbol::{
    STB_GLOBAL, STB_GNU_UNIQUE, STB_LOCAL, STB_WEAK, STV_HIDDEN, STV_INTERNAL, STV_PROTECTED, VERSYM_HIDDEN,
};
use folio_link::object::ObjectId;
use folio_link::resolve::{self, Class, Reference, Scope, Uniques};
use folio_link::version::Version;
use serde::Serialize;

use super::lossy;
use crate::plan::{Binding, Plan};
use crate::table::{indented, table};

#[derive(Debug, Serialize)]
pub struct Symbol {
    pub name: String,
    /// One lookup for each version that is referred to.
    pub lookups: Vec<Lookup>,
    pub references: Vec<Referring>,
    /// Weak references that nobody answers: their value is 0.
    pub unanswered: Vec<String>,
}

/// The search for one version of the name, by those references that it ends alike for.
#[derive(Debug, Serialize)]
pub struct Lookup {
    pub version: Option<String>,
    /// What the first such reference is for.
    pub how: &'static str,
    /// In scope order: every object that knows the name.
    pub candidates: Vec<Candidate>,
    pub winner: Option<String>,
    /// What is worth knowing about how it won.
    pub note: Option<String>,
}

#[derive(Debug, Serialize)]
pub struct Candidate {
    pub scope_position: usize,
    pub path: String,
    pub version: Option<String>,
    pub binding: &'static str,
    pub visibility: &'static str,
    pub size: u64,
    /// Not so of a program's stub, whose address stands for the function everywhere (psABI, *Function Addresses*).
    pub defined: bool,
    pub verdict: Verdict,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    Wins,
    /// It fits, and stands behind the winner.
    ComesLater,
    /// It is the program's, where a copy of a library's is made.
    PassedOver,
    /// It is another version.
    OtherVersion,
    /// It is its object's own.
    NotVisible,
    /// It is a reference itself.
    Undefined,
}

/// One object's reference.
#[derive(Debug, Serialize)]
pub struct Referring {
    pub requester: String,
    pub version: Option<String>,
    pub how: &'static str,
    pub winner: String,
    /// The requester has a definition of its own, and another one wins.
    pub interposed: bool,
    /// The requester's own definition wins because it is protected.
    pub protected: bool,
}

/// What is known of a symbol, `name` or `name@VERSION`.
pub fn symbol(plan: &Plan, wanted: &str) -> Result<Symbol> {
    let (name, version) = match wanted.split_once('@') {
        Some((name, version)) => (name, Some(version.trim_start_matches('@').as_bytes())),
        None => (wanted, None),
    };
    ensure!(!name.is_empty(), "a symbol has a name");
    let is_meant = |binding: &&Binding| {
        binding.name == name.as_bytes() && version.is_none_or(|version| binding.version.as_deref() == Some(version))
    };
    let bindings: Vec<&Binding> = plan.bindings.iter().filter(is_meant).collect();
    let mut forms: Vec<(Option<&[u8]>, Class)> = Vec::new();
    for binding in &bindings {
        let form = (binding.version.as_deref(), binding.class);
        if !forms.contains(&form) {
            forms.push(form);
        }
    }
    if forms.is_empty() {
        forms.push((version, Class::Address));
    }
    let mut lookups: Vec<Lookup> = Vec::new();
    for (version, class) in forms {
        let found = lookup(plan, name.as_bytes(), version, class);
        // What is asked for seldom matters: a copy looks behind the program, an address may be a stub in it.
        if !lookups.iter().any(|known| (&known.version, &known.winner) == (&found.version, &found.winner)) {
            lookups.push(found);
        }
    }
    let unanswered = unanswered(plan, name.as_bytes());
    let symbol = Symbol {
        name: wanted.to_owned(),
        lookups,
        references: bindings.into_iter().map(|binding| referring(plan, binding)).collect(),
        unanswered,
    };
    let is_known = symbol.lookups.iter().any(|lookup| !lookup.candidates.is_empty()) || !symbol.unanswered.is_empty();
    ensure!(is_known, "{}: no object of {} knows this symbol", symbol.name, plan.program.display());
    Ok(symbol)
}

fn lookup(plan: &Plan, name: &[u8], version: Option<&[u8]>, class: Class) -> Lookup {
    let wanted = version.map(|name| Version { name, hash: hash::sysv(name), exact: false });
    let reference = Reference::new(name, wanted.as_ref(), class);
    let winner = resolve::lookup(&plan.objects, [&plan.scope], &reference, None, &mut Uniques::new(), None);
    let mut candidates = Vec::new();
    for (position, &id) in plan.scope.objects.iter().enumerate() {
        let object = &plan.objects[id];
        let Some(symbols) = &object.symbols else { continue };
        let matching = resolve::find_in(object, &reference);
        for index in 1..symbols.count() {
            let Some(symbol) = symbols.get(index).filter(|symbol| symbols.name(symbol) == Some(name)) else { continue };
            let is_winner = winner.is_some_and(|winner| winner.object == id && winner.index == index);
            let verdict = match matching {
                _ if is_winner => Verdict::Wins,
                Some((found, _)) if found == index && resolve::is_searched(object, &reference) => Verdict::ComesLater,
                Some((found, _)) if found == index => Verdict::PassedOver,
                _ if !symbol.is_defined() => Verdict::Undefined,
                _ if matches!(symbol.visibility(), STV_HIDDEN | STV_INTERNAL) || symbol.binding() == STB_LOCAL => {
                    Verdict::NotVisible
                }
                _ => Verdict::OtherVersion,
            };
            let versym = symbols.version_index(index);
            let defined = versym.and_then(|versym| object.versions.get(versym));
            let is_default = versym.is_some_and(|versym| versym & VERSYM_HIDDEN == 0);
            candidates.push(Candidate {
                scope_position: position + 1,
                path: plan.path_text(id).into_owned(),
                version: defined.map(|version| {
                    let sign = if is_default && symbol.is_defined() { "@@" } else { "@" };
                    format!("{sign}{}", lossy(version.name))
                }),
                binding: match symbol.binding() {
                    STB_LOCAL => "local",
                    STB_GLOBAL => "global",
                    STB_WEAK => "weak",
                    STB_GNU_UNIQUE => "unique",
                    _ => "other",
                },
                visibility: match symbol.visibility() {
                    STV_HIDDEN => "hidden",
                    STV_INTERNAL => "internal",
                    STV_PROTECTED => "protected",
                    _ => "default",
                },
                size: symbol.0.st_size,
                defined: symbol.is_defined(),
                verdict,
            });
        }
    }
    let weak = winner.is_some_and(|winner| winner.symbol.binding() == STB_WEAK);
    let stronger = candidates.iter().find(|other| other.verdict == Verdict::ComesLater && other.binding == "global");
    let note = stronger.filter(|_| weak).map(|other| {
        format!("The winner is weak. The first wins all the same; with LD_DYNAMIC_WEAK it would be {}.", other.path)
    });
    Lookup {
        version: version.map(lossy),
        how: how(class),
        winner: winner.map(|winner| plan.path_text(winner.object).into_owned()),
        candidates,
        note,
    }
}

fn how(class: Class) -> &'static str {
    match class {
        Class::Address => "address",
        Class::Call => "call or TLS",
        Class::Copy => "copy",
    }
}

fn referring(plan: &Plan, binding: &Binding) -> Referring {
    let own = Reference::new(&binding.name, None, Class::Call);
    let is_other = binding.definition.object != binding.requester;
    let defines = Scope { objects: vec![binding.requester] };
    let has_own = resolve::lookup(&plan.objects, [&defines], &own, None, &mut Uniques::new(), None).is_some();
    Referring {
        requester: plan.path_text(binding.requester).into_owned(),
        version: binding.version.as_deref().map(lossy),
        how: how(binding.class),
        winner: plan.path_text(binding.definition.object).into_owned(),
        interposed: is_other && has_own && binding.class != Class::Copy,
        protected: binding.protected && !is_other,
    }
}

/// Objects whose weak reference found nobody.
fn unanswered(plan: &Plan, name: &[u8]) -> Vec<String> {
    let refers = |id: &&ObjectId| {
        let Some(symbols) = &plan.objects[**id].symbols else { return false };
        (1..symbols.count())
            .filter_map(|index| symbols.get(index))
            .any(|symbol| !symbol.is_defined() && symbol.binding() == STB_WEAK && symbols.name(&symbol) == Some(name))
    };
    let is_bound =
        |id: &&ObjectId| !plan.bindings.iter().any(|binding| binding.requester == **id && binding.name == name);
    let objects = plan.scope.objects.iter();
    objects.filter(refers).filter(is_bound).map(|&id| plan.path_text(id).into_owned()).collect()
}

impl Symbol {
    pub fn text(&self) -> String {
        let mut text = String::new();
        for lookup in &self.lookups {
            let version =
                lookup.version.as_ref().map_or("without a version".to_owned(), |name| format!("version {name}"));
            let _ = writeln!(text, "{}, {version}, {}:", self.name, lookup.how);
            let mut rows = table(&[">scope", "object", "its version", "binding", "visibility", ">size", "verdict"]);
            for candidate in &lookup.candidates {
                let verdict = match candidate.verdict {
                    Verdict::Wins if !candidate.defined => "wins: the program's stub is its address",
                    Verdict::Wins => "wins: the first that fits",
                    Verdict::ComesLater => "fits, but comes later",
                    Verdict::PassedOver => "is where the copy goes",
                    Verdict::OtherVersion => "another version",
                    Verdict::NotVisible => "its object's own",
                    Verdict::Undefined => "refers to it",
                };
                rows.add_row([
                    candidate.scope_position.to_string(),
                    candidate.path.clone(),
                    candidate.version.clone().unwrap_or_default(),
                    candidate.binding.to_owned(),
                    candidate.visibility.to_owned(),
                    candidate.size.to_string(),
                    verdict.to_owned(),
                ]);
            }
            text += &indented(&rows, 2);
            if lookup.winner.is_none() {
                text += "  Nobody defines it.\n";
            }
            if let Some(note) = &lookup.note {
                let _ = writeln!(text, "  {note}");
            }
        }
        let mut rows = table(&["reference of", "as", "version", "bound to", "remark"]);
        for reference in &self.references {
            let remark = match (reference.interposed, reference.protected) {
                (true, _) => "interposed: it has a definition of its own",
                (_, true) => "protected: its own definition",
                _ => "",
            };
            let version = reference.version.as_deref().unwrap_or("");
            rows.add_row([&reference.requester, reference.how, version, &reference.winner, remark]);
        }
        if self.references.is_empty() {
            text += "\nNo relocation refers to it.\n";
        } else {
            text += "\n";
            text += &indented(&rows, 0);
        }
        for object in &self.unanswered {
            let _ = writeln!(text, "{object} refers to it weakly, and nobody answers: its value there is 0.");
        }
        text
    }
}
