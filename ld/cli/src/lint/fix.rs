//! Remedies that need no source: applied to a copy of one library, with the numbers before and after.

mod relr;

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use folio_elf::FileHeader;
use folio_elf::header::PT_GNU_STACK;
use folio_link::placement::PF_X;
use serde::Serialize;

use super::library::{self, Library};
use super::{Examined, Rule, check, examined};

#[derive(Debug, Serialize)]
pub struct Fixed {
    pub output: PathBuf,
    /// What was done, a sentence for each rule.
    pub done: Vec<String>,
    pub before: Examined,
    pub after: Examined,
}

/// Applies the remedies of `rules` to a copy of the one library.
pub fn fix(libraries: &[PathBuf], rules: &[String], output: &Path) -> Result<Fixed> {
    let [input] = libraries else { bail!("--fix takes one library at a time, and {} were named", libraries.len()) };
    let shown = input.display();
    let mut file = fs::read(input).with_context(|| format!("cannot read {shown}"))?;
    ensure!(fs::canonicalize(output).ok() != fs::canonicalize(input).ok(), "{shown}: the copy needs a name of its own");
    let before = look(input, &file)?;
    let mut done = Vec::new();
    let mut rpath = None;
    for rule in rules.iter().filter_map(|name| Rule::named(name)) {
        done.push(match rule {
            Rule::ExecutableStack => clear_executable_stack(&mut file)?,
            Rule::NoRelr => relr::pack(&mut file).with_context(|| format!("{shown} cannot be packed"))?,
            Rule::WastefulRpath => {
                let (list, sentence) = shorter_rpath(input, &file)?;
                rpath = list;
                sentence
            }
            _ => bail!("{}: has no remedy that works without the source", rule.name()),
        });
    }
    fs::write(output, &file).with_context(|| format!("cannot write {}", output.display()))?;
    fs::set_permissions(output, fs::metadata(input)?.permissions())?;
    if let Some(arguments) = rpath {
        let outcome = Command::new("patchelf").args(arguments).arg(output).output();
        let outcome =
            outcome.context("cannot start patchelf, which rewrites search paths (Debian package patchelf)")?;
        ensure!(outcome.status.success(), "patchelf: {}", String::from_utf8_lossy(&outcome.stderr).trim_end());
        file = fs::read(output)?;
    }
    let after = look(output, &file).context("the copy came out damaged")?;
    Ok(Fixed { output: output.to_owned(), done, before, after })
}

fn look(path: &Path, file: &[u8]) -> Result<Examined> {
    let mut storage = library::storage(file);
    let library = Library::decode(path, file, &mut storage).with_context(|| path.display().to_string())?;
    Ok(examined(&library))
}

/// Takes the wish for an executable stack out of the program headers.
fn clear_executable_stack(file: &mut [u8]) -> Result<String> {
    let header = FileHeader::decode(file).map_err(|error| anyhow::anyhow!("{error}"))?;
    let table = usize::try_from(header.phoff)?;
    for index in 0..usize::from(header.phnum) {
        let at = table + index * (header.phsize() / usize::from(header.phnum));
        let record = file.get_mut(at..at + 8).context("cut off in its program headers")?;
        let (kind, flags) = record.split_at_mut(4);
        if kind == PT_GNU_STACK.to_le_bytes() {
            let old = u32::from_le_bytes([flags[0], flags[1], flags[2], flags[3]]);
            flags.copy_from_slice(&(old & !PF_X).to_le_bytes());
            let sentence = if old & PF_X == 0 {
                "the stack was not executable"
            } else {
                "PT_GNU_STACK no longer asks for an executable stack; code that keeps trampolines on the stack (nested functions of GNU C) now crashes"
            };
            return Ok(sentence.to_owned());
        }
    }
    bail!("there is no PT_GNU_STACK whose flag could be cleared: link again with -z noexecstack")
}

/// What patchelf is to do, and the sentence that says it. Folders that exist may serve dlopen(3), so they stay.
fn shorter_rpath(path: &Path, file: &[u8]) -> Result<(Option<Vec<OsString>>, String)> {
    let mut storage = library::storage(file);
    let library = Library::decode(path, file, &mut storage)?;
    let useless = check::useless_folders(&library);
    if useless.is_empty() {
        return Ok((None, "no folder of the search path is useless".to_owned()));
    }
    let dynamic = library.object.dynamic.as_ref().context("no dynamic section")?;
    let list = dynamic.runpath.or(dynamic.rpath).unwrap_or_default();
    let mut drop = useless.iter().map(|(element, _)| element.as_slice()).collect::<Vec<_>>();
    // Of a folder that stands there twice, the first stays.
    let mut kept: Vec<&[u8]> = Vec::new();
    for element in list.split(|&byte| byte == b':') {
        match drop.iter().position(|&useless| useless == element) {
            Some(place)
                if useless.iter().any(|(name, why)| name == element && *why != "stands there twice")
                    || kept.contains(&element) =>
            {
                drop.remove(place);
            }
            _ => kept.push(element),
        }
    }
    let names: Vec<String> =
        useless.iter().map(|(element, why)| format!("{} {why}", String::from_utf8_lossy(element))).collect();
    let sentence = format!("dropped from the search path: {}", names.join(", "));
    let mut arguments: Vec<OsString> = Vec::new();
    if kept.is_empty() {
        arguments.push("--remove-rpath".into());
    } else {
        arguments.extend((dynamic.runpath.is_none()).then(|| "--force-rpath".into()));
        arguments.extend(["--set-rpath".into(), OsStr::from_bytes(&kept.join(&b':')).to_owned()]);
    }
    Ok((Some(arguments), sentence))
}

impl Fixed {
    pub fn text(&self) -> String {
        let mut text = format!("{}\n", self.output.display());
        for sentence in &self.done {
            text += &format!("  {sentence}\n");
        }
        let broken = |examined: &Examined| {
            let names: Vec<&str> = examined.findings.iter().map(|finding| finding.rule.name()).collect();
            if names.is_empty() { "none".to_owned() } else { names.join(" ") }
        };
        let mut rows = crate::table::table(&["", "before", "after"]);
        let numbers = |part: fn(&Examined) -> u64| [part(&self.before).to_string(), part(&self.after).to_string()];
        for (what, [before, after]) in [
            ("private KiB in each process", numbers(|examined| examined.private_kib)),
            ("shared KiB", numbers(|examined| examined.shared_kib)),
            ("relocations", numbers(|examined| examined.relocations)),
            ("rules broken", [broken(&self.before), broken(&self.after)]),
        ] {
            rows.add_row([what, &before, &after]);
        }
        text + &crate::table::indented(&rows, 2)
    }
}
