//! Memory cgroups of every size: a program runs in one, or the kernel ends it, under both loaders; where it runs under glibc's
//! it runs under Folio, but for a margin.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use folio_tests::run::{Outcome, Status};
use folio_tests::suite::Verdict;
use folio_tests::workspace;

use crate::Pair;

const KIB: u64 = 1024;
/// Enough for each program.
const LARGE: u64 = 1 << 30;
/// Sizes grow by this, until both programs have run or one should have; from there they double.
const STEP: u64 = 128 * KIB;
const ROOMY: u64 = 32 << 20;
/// The kernel charges memory by the batch, so the border is not sharp.
const MARGIN: u64 = 256 * KIB;

/// Goes into the cgroup and becomes the program.
const SCRIPT: &str = r#"echo $$ > "$1"/cgroup.procs || exit 125; shift; exec "$@""#;

/// A cgroup for one run, gone with it: what was charged to one before would count.
struct Cgroup {
    folder: PathBuf,
}

impl Cgroup {
    /// In the hierarchy that has the memory controller: its own (version 1), or the unified one.
    fn new(name: &str, bytes: u64) -> Result<Cgroup> {
        let own = Path::new("/sys/fs/cgroup/memory");
        let unified = Path::new("/sys/fs/cgroup");
        let (parent, limit) = if own.join("memory.limit_in_bytes").exists() {
            (own, "memory.limit_in_bytes")
        } else {
            let file = unified.join("cgroup.subtree_control");
            fs::write(&file, "+memory").with_context(|| file.display().to_string())?;
            (unified, "memory.max")
        };
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let folder = parent.join(format!("folio-{name}-{}-{number}", std::process::id()));
        fs::create_dir(&folder).with_context(|| folder.display().to_string())?;
        let cgroup = Cgroup { folder };
        fs::write(cgroup.folder.join(limit), bytes.to_string())?;
        Ok(cgroup)
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // Processes that the run left behind were killed, but may not have ended; an empty cgroup costs nothing.
        for _ in 0..1000 {
            if fs::remove_dir(&self.folder).is_ok() {
                break;
            }
            thread::sleep(Duration::from_millis(1));
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Effect {
    Ran,
    Killed,
}

pub fn test(pair: &Pair) -> Result<Verdict> {
    if let Err(error) = Cgroup::new(pair.name, LARGE) {
        return Ok(Verdict::Skip(format!("no memory cgroup can be made here: {error:#}")));
    }
    let run = |program: &Path, size: u64| -> Result<Outcome> {
        let cgroup = Cgroup::new(pair.name, size)?;
        let place = cgroup.folder.display().to_string();
        let words = ["-c", SCRIPT, "sh", &place];
        pair.launch(Path::new("/bin/sh"), &words, program).within(Duration::from_secs(30)).outcome()
    };
    let expected = run(&pair.native, LARGE)?;
    let judge = |outcome: &Outcome| match outcome.status {
        Status::Signal(9) => Some(Effect::Killed),
        _ if *outcome == expected => Some(Effect::Ran),
        _ => None,
    };
    let (mut findings, mut table) = (Vec::new(), String::new());
    let mut smallest = [None, None];
    let mut size = 0;
    while size < LARGE {
        size = if size < ROOMY && smallest.contains(&None) { size + STEP } else { (2 * size).min(LARGE) };
        for (program, smallest) in [&pair.native, &pair.adopted].into_iter().zip(&mut smallest) {
            let outcome = run(program, size)?;
            let effect = judge(&outcome);
            match effect {
                Some(Effect::Ran) => drop(smallest.get_or_insert(size)),
                Some(Effect::Killed) => {}
                None => {
                    let said = String::from_utf8_lossy(&outcome.stderr);
                    findings.push(format!("{} in {} KiB: {}\n{said}", program.display(), size / KIB, outcome.status));
                }
            }
        }
    }
    let [glibc, folio] = smallest;
    writeln!(
        table,
        "{}: runs from {:?} bytes on under glibc's loader, from {:?} under Folio",
        pair.name, glibc, folio
    )?;
    print!("{table}");
    fs::write(workspace::target("confined")?.join(format!("{}.txt", pair.name)), table)?;
    let (Some(glibc), Some(folio)) = (glibc, folio) else {
        findings.push("it runs in no memory cgroup".to_owned());
        return Ok(Verdict::from_findings(findings));
    };
    if folio > glibc + MARGIN {
        findings.push(format!("takes {} KiB, under glibc's loader {}", folio / KIB, glibc / KIB));
    }
    if glibc == STEP {
        findings.push("the limit limits nothing".to_owned());
    }
    Ok(Verdict::from_findings(findings))
}
