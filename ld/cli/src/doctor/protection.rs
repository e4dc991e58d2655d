//! How a process under Folio is protected, as seen in one: a program is started that shows its own mappings.

use std::collections::BTreeMap;
use std::fs;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use super::Fact;
use crate::loader;
use crate::process::Mapping;
use crate::process::smaps;

pub fn facts() -> Vec<Fact> {
    let mut facts = match mappings() {
        Ok(mappings) => vec![permissions(&mappings), relocated(&mappings), stack(&mappings)],
        Err(error) => vec![Fact::limited("mappings seen", "none", format!("{error:#}: nothing can be said of them"))],
    };
    facts.push(addresses());
    facts
}

/// The mappings of a program that Folio started.
fn mappings() -> Result<Vec<Mapping>> {
    let mut command = Command::new(loader::find()?);
    command.arg(loader::program("cat")?).arg("/proc/self/smaps").stdin(Stdio::null()).env_clear();
    let output = command.output().context("the interpreter cannot be started")?;
    ensure!(output.status.success(), "cat under Folio: {}", String::from_utf8_lossy(&output.stderr));
    smaps::parse(&String::from_utf8_lossy(&output.stdout)).context("smaps is not in the form that proc(5) describes")
}

fn permissions(mappings: &[Mapping]) -> Fact {
    const NAME: &str = "writable code";
    let both: Vec<&str> = mappings
        .iter()
        .filter(|mapping| mapping.writable() && mapping.executable())
        .map(|mapping| mapping.path.as_str())
        .collect();
    match both.is_empty() {
        true => Fact::good(NAME, format!("none in {} mappings", mappings.len())),
        false => Fact::limited(NAME, both.join(", "), "whoever writes there decides what runs"),
    }
}

/// Whether what was written by relocation alone can no longer be written, in each file whose code is mapped.
fn relocated(mappings: &[Mapping]) -> Fact {
    const NAME: &str = "relocated data";
    let mut files: BTreeMap<&str, (bool, bool)> = BTreeMap::new();
    for mapping in mappings.iter().filter(|mapping| mapping.file.is_some()) {
        let (has_code, is_protected) = files.entry(&mapping.path).or_default();
        *has_code |= mapping.executable();
        *is_protected |= mapping.was_writable && !mapping.writable();
    }
    let objects = files.iter().filter(|(_, (has_code, _))| *has_code);
    let open: Vec<&str> = objects.clone().filter(|(_, (_, protected))| !protected).map(|(path, _)| *path).collect();
    match open.is_empty() {
        true => Fact::good(NAME, format!("read-only in all {} objects, the interpreter among them", objects.count())),
        false => Fact::limited(NAME, format!("writable in {}", open.join(", ")), "folio lint says how they are linked"),
    }
}

fn stack(mappings: &[Mapping]) -> Fact {
    const NAME: &str = "stack";
    let stack = mappings.iter().find(|mapping| mapping.path == "[stack]");
    match stack.is_some_and(Mapping::executable) {
        false => Fact::good(NAME, "not executable"),
        true => Fact::limited(NAME, "executable", "what is written there can be run (execstack of the program?)"),
    }
}

/// proc(5), `randomize_va_space`.
fn addresses() -> Fact {
    const NAME: &str = "random addresses";
    let read = |path: &str| fs::read_to_string(path).map(|text| text.trim().to_owned()).unwrap_or_default();
    let mode = read("/proc/sys/kernel/randomize_va_space");
    let bits = read("/proc/sys/vm/mmap_rnd_bits");
    match mode.as_str() {
        "2" if bits.is_empty() => Fact::good(NAME, "all"),
        "2" => Fact::good(NAME, format!("all; of libraries and the interpreter {bits} bits")),
        "1" => Fact::limited(NAME, "all but the heap", "kernel.randomize_va_space=2 has that, too"),
        _ => Fact::limited(NAME, "none", "addresses can be foreseen (kernel.randomize_va_space=2)"),
    }
}
