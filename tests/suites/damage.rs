//! Damaged programs and libraries, started under Folio and, beside it, under glibc's loader: whatever is in a file, the
//! program runs or a sentence says why it does not.
//!
//! `FOLIO_DAMAGED_STARTS` is how many starts there are in all (otherwise a few hundred, and 20,000 with `FOLIO_ALL=1`),
//! `FOLIO_DAMAGE_SEED` the number of the first damage. Each failure names its number, and how to have it again.

#[path = "damage/outcome.rs"]
mod outcome;
#[path = "damage/victims.rs"]
mod victims;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};
use folio_tests::damage::{Dice, Original};
use folio_tests::interpreter::{GLIBC, Interpreter};
use folio_tests::run::{Outcome, Run, Status, writing};
use folio_tests::suite::{self, Verdict};
use folio_tests::trace::{Answer, Depth, trace};
use folio_tests::workspace;
use libtest_mimic::Trial;

use outcome::Ending;
use victims::{VICTIMS, Victim};

fn main() -> ExitCode {
    suite::run_or_explain(tests())
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

fn tests() -> Result<Vec<Trial>> {
    let interpreter = Interpreter::under_test()?;
    let all = if workspace::all_suites() { 20_000 } else { 480 };
    let starts = number("FOLIO_DAMAGED_STARTS").unwrap_or(all).div_ceil(VICTIMS.len() as u64);
    let seed = number("FOLIO_DAMAGE_SEED").unwrap_or(0);
    let trial = |victim: &'static Victim| {
        let interpreter = interpreter.clone();
        suite::test(format!("damage::{}", victim.name), move || damaged(victim, seed..seed + starts, &interpreter))
    };
    Ok(VICTIMS.iter().map(trial).collect())
}

/// One of the two loaders, and the folder where the victim lies for it.
struct Side {
    name: &'static str,
    run: Run,
    loader: std::path::PathBuf,
    /// The file that is damaged, and its sound bytes.
    file: std::path::PathBuf,
    sound: Vec<u8>,
    expected: Outcome,
    /// The sound program's mappings replace none: glibc's loader puts programs at fixed addresses over whatever is there.
    reserves: bool,
    counts: BTreeMap<Ending, u64>,
}

impl Side {
    fn new(name: &'static str, victim: &Victim, folder: &Path, interpreter: Option<&Interpreter>) -> Result<Side> {
        let run = victim.prepare(folder, interpreter)?;
        let loader = match interpreter {
            Some(interpreter) => interpreter.path().to_path_buf(),
            None => fs::canonicalize(GLIBC)?,
        };
        let file = folder.join(victim.file);
        let sound = fs::read(&file)?;
        let traced = trace(&run, &loader, Depth::Start, |_| Answer::Make)?;
        let (expected, reserves) = (traced.outcome, traced.wild.is_empty());
        let well = expected.status == Status::Exit(0) && traced.ran && (reserves || interpreter.is_none());
        anyhow::ensure!(well, "{name}: the sound program does not run: {expected:?} {:?}", traced.wild);
        Ok(Side { name, run, loader, file, sound, expected, reserves, counts: BTreeMap::new() })
    }

    /// Starts the damaged program; gives a text about what must not be.
    fn start(&mut self, original: &Original, seed: u64) -> Result<Option<String>> {
        let damage = original.damage(seed);
        let mut bytes = self.sound.clone();
        damage.apply(&mut bytes);
        // Not in place: a file whose pages a process has mapped is not changed under it.
        writing(|| fs::remove_file(&self.file).and_then(|()| write_program(&self.file, &bytes)))?;
        let mut traced = trace(&self.run, &self.loader, Depth::Start, |_| Answer::Make)?;
        if !self.reserves {
            traced.wild.clear();
        }
        let ending = Ending::of(&traced, &self.expected);
        *self.counts.entry(ending).or_default() += 1;
        Ok(ending.is_wrong().then(|| {
            let said = String::from_utf8_lossy(&traced.outcome.stderr).into_owned();
            format!(
                "damage {seed}: {ending}: {}\n  {}\n  {:x?}\n  {}\n  {said}",
                traced.outcome.status,
                damage.said.join("; "),
                traced.fault,
                traced.wild.join("; "),
            )
        }))
    }
}

fn write_program(file: &Path, bytes: &[u8]) -> std::io::Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    fs::OpenOptions::new().write(true).create_new(true).mode(0o755).open(file)?.write_all(bytes)
}

fn damaged(victim: &'static Victim, numbers: std::ops::Range<u64>, interpreter: &Interpreter) -> Result<Verdict> {
    let base = workspace::fresh(&format!("damage/{}", victim.name))?;
    let mut sides = vec![Side::new("glibc", victim, &base.join("glibc"), None)?];
    if !interpreter.is_stand_in() {
        sides.push(Side::new("folio", victim, &base.join("folio"), Some(interpreter))?);
    }
    let original = Original::new(sides[0].sound.clone()).context("the victim is sound")?;
    let mut findings = Vec::new();
    for number in numbers.clone() {
        let seed = victim.name.bytes().fold(number, |seed, byte| Dice(seed ^ u64::from(byte)).roll());
        for side in &mut sides {
            let wrong = side.start(&original, seed)?.filter(|_| side.name == "folio");
            findings.extend(wrong.map(|text| format!("{} {number}: {text}", victim.name)));
        }
    }
    let mut table = format!("{}: {} starts\n", victim.name, numbers.end - numbers.start);
    for ending in Ending::ALL {
        let counts: Vec<u64> = sides.iter().map(|side| side.counts.get(&ending).copied().unwrap_or(0)).collect();
        if counts.iter().any(|&count| count > 0) {
            let counts: Vec<String> =
                sides.iter().zip(counts).map(|(side, count)| format!("{} {count:>6}", side.name)).collect();
            table += &format!("  {:<46} {}\n", ending.to_string(), counts.join("   "));
        }
    }
    fs::write(base.join("table"), &table)?;
    print!("{table}");
    fs::write(base.join("findings"), findings.join("\n"))?;
    findings.truncate(20);
    Ok(Verdict::from_findings(findings))
}
