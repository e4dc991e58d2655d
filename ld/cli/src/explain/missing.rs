//! All that a start would miss, each with the nearest thing there is.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fmt::Write;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use folio_elf::version as records;
use folio_link::Problem;
use folio_link::object::directory_of;
use folio_link::search::{DEBIAN_AMD64, cache};
use serde::Serialize;

use super::lossy;
use crate::draw::base_name;
use crate::plan::Plan;

/// How alike two names have to be (Jaro-Winkler distance, 1 is equal).
const ALIKE: f64 = 0.88;

/// As many missing symbols are compared with all others; a program that misses hundreds misses a library.
const COMPARED: usize = 50;

/// As many of a kind are shown; a library that is missing leaves all its symbols missing.
const SHOWN: usize = 20;

#[derive(Debug, Default, Serialize)]
pub struct Missing {
    pub libraries: Vec<Lack>,
    pub versions: Vec<Lack>,
    pub symbols: Vec<Lack>,
    /// Said, and no reason not to start.
    pub warnings: Vec<String>,
}

/// Something that is not there.
#[derive(Debug, Serialize)]
pub struct Lack {
    pub name: String,
    /// The loader's sentence.
    pub sentence: String,
    pub nearest: Vec<String>,
}

pub fn missing(plan: &mut Plan) -> Missing {
    let mut missing = Missing::default();
    let candidates = if plan.missing_objects.is_empty() { BTreeSet::new() } else { library_candidates(plan) };
    for error in &plan.missing_objects {
        let nearest = nearest_libraries(&lossy(&error.object), &candidates);
        missing.libraries.push(Lack { name: lossy(&error.object), sentence: error.to_string(), nearest });
    }
    for error in &plan.missing_versions {
        if error.problem.is_warning() {
            missing.warnings.push(error.to_string());
            continue;
        }
        let Problem::Version { name, .. } = &error.problem else { continue };
        let nearest = nearest_versions(plan, &error.object, name);
        missing.versions.push(Lack { name: lossy(name), sentence: error.to_string(), nearest });
    }
    for (place, error) in plan.missing_symbols.iter().enumerate() {
        let Problem::UndefinedSymbol { name, version } = &error.problem else {
            missing.warnings.push(error.to_string());
            continue;
        };
        let nearest = if place < COMPARED { nearest_symbols(plan, name) } else { Vec::new() };
        let version = version.as_ref().map_or(String::new(), |version| format!("@{}", lossy(version)));
        missing.symbols.push(Lack { name: lossy(name) + &version, sentence: error.to_string(), nearest });
    }
    let ignored = plan.ignored.iter().map(|error| format!("{error}: not preloaded"));
    missing.warnings.extend(ignored);
    missing
}

/// Paths of libraries that are on this machine: those that ldconfig knows, and those in the folders that were searched.
fn library_candidates(plan: &mut Plan) -> BTreeSet<String> {
    let mut found: BTreeSet<String> = plan.cached_names().into_iter().map(|(_, path)| lossy(&path)).collect();
    let tried = plan.requests.iter().flat_map(|request| &request.attempts);
    let tried = tried.map(|attempt| directory_of(attempt.path.as_bytes()));
    let folders: BTreeSet<&[u8]> = tried.chain(DEBIAN_AMD64.iter().copied()).collect();
    for folder in folders {
        let Ok(files) = fs::read_dir(Path::new(OsStr::from_bytes(folder))) else { continue };
        let paths = files.flatten().map(|file| file.path()).filter(|path| path.to_string_lossy().contains(".so"));
        found.extend(paths.map(|path| path.to_string_lossy().into_owned()));
    }
    found
}

/// The name without folder and version: `libssl` of `/x/libssl.so.1.1`.
fn stem(name: &str) -> &str {
    let file = base_name(name);
    file.split(".so").next().unwrap_or(file)
}

fn nearest_libraries(name: &str, candidates: &BTreeSet<String>) -> Vec<String> {
    let wanted = stem(name);
    let mut ranked: Vec<(f64, &String)> = candidates
        .iter()
        .map(|path| (strsim::jaro_winkler(wanted, stem(path)), path))
        .filter(|(likeness, _)| *likeness >= ALIKE)
        .collect();
    ranked.sort_by(|(a, x), (b, y)| b.total_cmp(a).then_with(|| x.cmp(y)));
    // A library of the same name in another version leaves no room for others that merely sound like it.
    let best = ranked.first().map_or(0.0, |(likeness, _)| *likeness);
    ranked.retain(|(likeness, _)| best < 1.0 || *likeness == best);
    ranked.into_iter().take(3).map(|(_, path)| path.clone()).collect()
}

/// The newest version of the same family (`GLIBC_2.38` and `GLIBC_2.36`) that the provider has.
fn nearest_versions(plan: &Plan, provider: &[u8], wanted: &[u8]) -> Vec<String> {
    let provider = plan.scope.objects.iter().map(|&id| &plan.objects[id]).find(|object| object.path == provider);
    let Some((object, dynamic)) = provider.and_then(|object| Some((object, object.dynamic.as_ref()?))) else {
        return Vec::new();
    };
    let Some(at) = dynamic.verdef else { return Vec::new() };
    let family = |name: &[u8]| name.iter().position(|byte| byte.is_ascii_digit()).unwrap_or(name.len());
    let of_family = &wanted[..family(wanted)];
    let defined = records::definitions(&object.image, dynamic.strings, at).map(|definition| definition.name);
    let mut alike: Vec<&[u8]> = defined.filter(|name| &name[..family(name)] == of_family).collect();
    alike.sort_by(|a, b| cache::compare(b, a));
    alike.into_iter().take(1).map(|name| format!("{} in {}", lossy(name), lossy(&object.path))).collect()
}

/// The same name in another version, else names that are spelt alike.
fn nearest_symbols(plan: &Plan, wanted: &[u8]) -> Vec<String> {
    let wanted_text = lossy(wanted);
    let mut same = Vec::new();
    let mut alike: Vec<(f64, String)> = Vec::new();
    for &id in &plan.scope.objects {
        let object = &plan.objects[id];
        let Some(symbols) = &object.symbols else { continue };
        for index in 1..symbols.count() {
            let Some(symbol) = symbols.get(index).filter(folio_elf::Symbol::is_defined) else { continue };
            let Some(name) = symbols.name(&symbol) else { continue };
            if name == wanted {
                let version = symbols.version_index(index).and_then(|versym| object.versions.get(versym));
                let version = version.map_or(String::new(), |version| format!("@{}", lossy(version.name)));
                same.push(format!("{wanted_text}{version} in {}", plan.path_text(id)));
            } else if name.len().abs_diff(wanted.len()) <= 3 && name.first() == wanted.first() {
                let name = lossy(name);
                let likeness = strsim::jaro_winkler(&wanted_text, &name);
                if likeness >= 0.93 {
                    alike.push((likeness, format!("{name} in {}", plan.path_text(id))));
                }
            }
        }
    }
    if !same.is_empty() {
        return same;
    }
    alike.sort_by(|(a, x), (b, y)| b.total_cmp(a).then_with(|| x.cmp(y)));
    alike.into_iter().take(3).map(|(_, name)| name).collect()
}

impl Missing {
    pub fn is_empty(&self) -> bool {
        self.libraries.is_empty() && self.versions.is_empty() && self.symbols.is_empty()
    }

    pub fn text(&self) -> String {
        let mut text = String::new();
        for (what, lacks) in [
            ("Missing libraries", &self.libraries),
            ("Missing versions", &self.versions),
            ("Missing symbols", &self.symbols),
        ] {
            if !lacks.is_empty() {
                let _ = writeln!(text, "{what}: {}", lacks.len());
            }
            for lack in lacks.iter().take(SHOWN) {
                let _ = writeln!(text, "  {}", lack.sentence);
                if !lack.nearest.is_empty() {
                    let _ = writeln!(text, "    nearest: {}", lack.nearest.join(", "));
                }
            }
            if lacks.len() > SHOWN {
                let _ = writeln!(text, "  and {} more, which --json names", lacks.len() - SHOWN);
            }
        }
        for warning in &self.warnings {
            let _ = writeln!(text, "warning: {warning}");
        }
        text
    }
}
