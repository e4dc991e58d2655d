//! Secure execution (ld.so(8)): every variable of glibc's loader and of its *unsecvars.h*, put by an ordinary user to a
//! set-user-ID program and to one with file capabilities, under glibc's loader and under the one under test, on each glibc.
//! What came of it stands in `target/secure`, one table each. Needs root, which makes such programs.

use std::fmt::Write;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use folio_tests::compare;
use folio_tests::interpreter::Interpreter;
use folio_tests::roots::{self, Unavailable};
use folio_tests::run::{self, Outcome, Run, Status, find};
use folio_tests::suite::{self, Verdict};
use folio_tests::workspace;
use libtest_mimic::Trial;

/// A program that shows who supplied its library, whether malloc was tuned, and its environment; and what a user who wants
/// a say in it would have it load.
const SOURCES: &str = r#"
cat > program.c <<'END'
#include <stdio.h>
#include <stdlib.h>
#include <sys/auxv.h>
extern char **environ;
const char *who(void);
int main(void) {
    volatile unsigned char *fresh = malloc(100);
    unsigned byte = fresh[50];
    printf("secure %lu, library %s, memory %#x\n", getauxval(AT_SECURE), who(), byte);
    for (char **variable = environ; *variable; variable++) puts(*variable);
    return 0;
}
END
mkdir good evil
echo 'const char *who(void) { return "trusted"; }' | gcc -x c -shared -fPIC -o good/libwho.so -
echo 'const char *who(void) { return "untrusted"; }' | gcc -x c -shared -fPIC -o evil/libwho.so -
cat > loud.c <<'END'
#include <unistd.h>
__attribute__((constructor)) static void loud(void) { write(1, "loaded\n", 7); }
unsigned la_version(unsigned version) { return version; }
END
gcc -shared -fPIC -o evil/loud.so loud.c
gcc -o program program.c -Lgood -lwho -Wl,--disable-new-dtags,-rpath,"$PWD/good"
"#;

/// A library of libc's package that nobody needs: what a test puts into the system's directory takes its place.
const PLACE: &str = "libmemusage.so";

/// In a mount namespace: puts a file into the system's directory if there is one, and becomes an ordinary user, who sets the
/// variable and starts the program.
const SCRIPT: &str = r#"
root=$1 placed=$2 place=$3; shift 3
if [ "$root" != / ]; then for folder in /dev /proc /tmp; do mount --bind "$folder" "$root$folder" || exit 125; done; fi
if [ -n "$placed" ]; then mount --bind "$placed" "$root/usr/lib/x86_64-linux-gnu/$place" || exit 125; fi
exec chroot --userspec=65534:65534 --groups= "$root" /usr/bin/env "$@"
"#;

/// Whether a program finds the variable in its environment.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stays {
    Yes,
    No,
}

use Stays::{No, Yes};

/// Variable, value, and whether it is to stay: what any supported glibc removes has to go.
const VARIABLES: [(&str, &str, Stays); 49] = [
    ("GCONV_PATH", "/x", No),
    ("GETCONF_DIR", "/x", No),
    ("GLIBC_TUNABLES", "glibc.malloc.perturb=85:glibc.rtld.nns=2", No),
    ("HOSTALIASES", "/x", No),
    ("LD_ASSUME_KERNEL", "2.2.5", Yes),
    ("LD_AUDIT", "{dir}/evil/loud.so", No),
    ("LD_AUDIT", "loud.so", No),
    ("LD_BIND_NOT", "1", No),
    ("LD_BIND_NOW", "1", No),
    ("LD_DEBUG", "all", No),
    (DEBUG, "help", No),
    ("LD_DEBUG_OUTPUT", "{dir}/evil/debug", No),
    ("LD_DYNAMIC_WEAK", "1", No),
    ("LD_HWCAP_MASK", "0", No),
    ("LD_KEEPDIR", "1", Yes),
    ("LD_LIBRARY_PATH", "{dir}/evil", No),
    ("LD_NOWARN", "1", Yes),
    ("LD_ORIGIN_PATH", "{dir}/evil", No),
    ("LD_POINTER_GUARD", "0", Yes),
    ("LD_PREFER_MAP_32BIT_EXEC", "1", No),
    ("LD_PRELOAD", "{dir}/evil/loud.so", No),
    ("LD_PRELOAD", "loud.so", No),
    ("LD_PRELOAD", "../../..{dir}/evil/loud.so", No),
    ("LD_PRELOAD", "$ORIGIN/evil/loud.so", No),
    ("LD_PROFILE", "x", No),
    ("LD_PROFILE_OUTPUT", "{dir}/evil", No),
    ("LD_SHOW_AUXV", "1", No),
    (TRACE, "1", Yes),
    ("LD_TRACE_PRELINKING", "1", Yes),
    ("LD_USE_LOAD_BIAS", "0", Yes),
    ("LD_VERBOSE", "1", No),
    ("LD_WARN", "1", No),
    ("LOCALDOMAIN", "x", No),
    ("LOCPATH", "/x", No),
    ("MALLOC_ARENA_MAX", "1", No),
    ("MALLOC_ARENA_TEST", "1", No),
    ("MALLOC_CHECK_", "3", No),
    ("MALLOC_MMAP_MAX_", "1", No),
    ("MALLOC_MMAP_THRESHOLD_", "1", No),
    ("MALLOC_PERTURB_", "85", No),
    ("MALLOC_TOP_PAD_", "1", No),
    ("MALLOC_TRACE", "/x", No),
    ("MALLOC_TRIM_THRESHOLD_", "1", No),
    ("NIS_PATH", "/x", No),
    ("NLSPATH", "/x", No),
    ("RESOLV_HOST_CONF", "/x", No),
    ("RES_OPTIONS", "debug", No),
    ("TMPDIR", "/x", No),
    ("TZDIR", "/x", No),
];

/// Refused with status 5 by glibc 2.36 and by Folio; 2.41 and later start the program as if it were not set.
const TRACE: &str = "LD_TRACE_LOADED_OBJECTS";

/// Answered by glibc 2.36, which says what categories there are and ends; ignored by 2.41 and later, and by Folio.
const DEBUG: &str = "LD_DEBUG";

/// What root put into the system's directory for a user to name without a slash: its mode, its owner, and whether glibc and
/// Folio load it. Folio loads nothing there that is not root's.
const PLACED: [(u32, u32, bool, bool); 3] =
    [(0o4755, 0, true, true), (0o755, 0, false, false), (0o4755, 1, true, false)];

/// How a program comes by rights that its user has not.
const KINDS: [&str; 2] = ["set_user_id", "capability"];

fn main() -> ExitCode {
    suite::run_or_explain(tests())
}

fn tests() -> Result<Vec<Trial>> {
    let interpreter = Interpreter::under_test()?;
    let mut tests = Vec::new();
    for system in ["here", "trixie", "sid"] {
        for kind in KINDS {
            let with = interpreter.clone();
            tests.push(suite::test(format!("secure::{system}::{kind}"), move || {
                if !workspace::is_root() {
                    return Ok(Verdict::Skip("programs that gain rights need root".to_owned()));
                }
                let root = match system {
                    "here" => PathBuf::from("/"),
                    suite => match roots::root(suite)? {
                        Ok(root) => root.path,
                        Err(Unavailable(reason)) => return Ok(Verdict::Skip(reason)),
                    },
                };
                Stage::new(system, kind, root, &with)?.play()
            }));
        }
    }
    Ok(tests)
}

/// The two programs of one kind, and where they run.
struct Stage {
    name: String,
    kind: &'static str,
    root: PathBuf,
    folder: PathBuf,
    /// Under glibc's loader, and under the one under test.
    programs: [PathBuf; 2],
    table: String,
    findings: Vec<String>,
}

impl Stage {
    fn new(system: &str, kind: &'static str, root: PathBuf, interpreter: &Interpreter) -> Result<Stage> {
        let name = format!("{system}-{kind}");
        let folder = Path::new("/tmp").join(format!("folio-secure-{}", nix::unistd::geteuid())).join(&name);
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        fs::create_dir_all(&folder)?;
        checked(Run::new("/bin/sh").args(["-ec", SOURCES]).in_folder(&folder))?;
        let programs = [folder.join("program"), folder.join("program.interp")];
        interpreter.reachable()?.adopt(&programs[0], &programs[1])?;
        let stage = Stage { name, kind, root, folder, programs, table: String::new(), findings: Vec::new() };
        stage.programs.iter().try_for_each(|program| stage.raise(program))?;
        Ok(stage)
    }

    /// Gives a program rights that its user has not.
    fn raise(&self, program: &Path) -> Result<()> {
        if self.kind == "set_user_id" {
            return Ok(fs::set_permissions(program, fs::Permissions::from_mode(0o4755))?);
        }
        fs::set_permissions(program, fs::Permissions::from_mode(0o755))?;
        let setcap = find("setcap").context("setcap (package libcap2-bin) is missing")?;
        checked(Run::new(setcap).args(["cap_net_raw+ep".into(), program.as_os_str().to_owned()]))
    }

    /// Both programs with a setting of the environment, under the name of the first.
    fn both(&self, setting: &str, placed: Option<&Path>) -> Result<[Outcome; 2]> {
        let run = |program: &PathBuf| -> Result<Outcome> {
            let run = Run::new(find("unshare").context("unshare (package util-linux) is missing")?)
                .args(["--mount", "--propagation", "private", "bash", "-c", SCRIPT, "bash"])
                .args([self.root.as_os_str(), placed.unwrap_or(Path::new("")).as_os_str(), PLACE.as_ref()])
                .args([setting.as_ref(), program.as_os_str()]);
            let mut outcome = run.outcome()?;
            for stream in [&mut outcome.stdout, &mut outcome.stderr] {
                *stream = compare::replace(stream, "program.interp", "program");
            }
            outcome.stderr = compare::without_requester(&outcome.stderr);
            Ok(outcome)
        };
        Ok([run(&self.programs[0])?, run(&self.programs[1])?])
    }

    fn play(mut self) -> Result<Verdict> {
        let plain = self.both("ORDINARY=kept", None)?;
        let said = String::from_utf8_lossy(&plain[0].stdout);
        ensure!(
            said.contains("secure 1, library trusted, memory 0\n") && said.contains("ORDINARY=kept"),
            "under glibc: {}\n{said}{}\n(is /tmp mounted nosuid?)",
            plain[0].status,
            String::from_utf8_lossy(&plain[0].stderr)
        );
        let expected = without(&plain[0], "ORDINARY");
        self.findings.extend(compare::difference(&plain[0], &plain[1]));
        for (name, value, stays) in VARIABLES {
            let setting = format!("{name}={}", value.replace("{dir}", &self.folder.display().to_string()));
            let outcomes = self.both(&setting, None)?;
            let is_in = outcomes.each_ref().map(|outcome| contains(outcome, &format!("{name}=")));
            let ran = outcomes[1].status == Status::Exit(0);
            let (shown, ours) = (without(&outcomes[0], name), without(&outcomes[1], name));
            self.row(&format!("{name}={value}"), &outcomes, is_in, &expected);
            let refuses_as_before = name == TRACE && ours.status == Status::Exit(5) && shown == expected;
            let ignores_as_later = name == DEBUG && value == "help" && ours == expected;
            if shown != ours && !refuses_as_before && !ignores_as_later {
                self.findings.push(format!("{setting}\n{}", compare::difference(&shown, &ours).unwrap_or_default()));
            }
            if ran && (is_in[1] != (stays == Yes) || is_in[1] && !is_in[0]) {
                self.findings.push(format!("{setting}: in the environment under glibc, Folio: {is_in:?}"));
            }
        }
        self.placed(&expected)?;
        self.owners()?;
        let file = workspace::target("secure")?.join(format!("{}.md", self.name));
        let head = "| variable | glibc | Folio |\n| --- | --- | --- |\n";
        fs::write(&file, format!("{head}{}", self.table)).with_context(|| file.display().to_string())?;
        fs::remove_dir_all(&self.folder)?;
        Ok(Verdict::from_findings(self.findings))
    }

    /// What root allows for privileged programs, by the set-user-ID bit of a file in the system's directory.
    fn placed(&mut self, expected: &Outcome) -> Result<()> {
        for variable in ["LD_PRELOAD", "LD_AUDIT"] {
            for (mode, owner, glibc, folio) in PLACED {
                let file = self.folder.join("placed.so");
                run::writing(|| fs::copy(self.folder.join("evil/loud.so"), &file))?;
                chown(&file, Some(owner), None)?;
                fs::set_permissions(&file, fs::Permissions::from_mode(mode))?;
                let outcomes = self.both(&format!("{variable}={PLACE}"), Some(&file))?;
                let is_in = outcomes.each_ref().map(|outcome| contains(outcome, variable));
                let shown = format!("{variable}={PLACE} ({mode:o}, of user {owner})");
                self.row(&shown, &outcomes, is_in, expected);
                let loaded = outcomes.each_ref().map(|outcome| contains(outcome, "loaded\n"));
                if loaded != [glibc, folio] || is_in != [false; 2] {
                    self.findings.push(format!("{shown}: loaded {loaded:?}, kept {is_in:?}"));
                }
            }
        }
        Ok(())
    }

    /// A library in a directory of the program's DT_RPATH: root's, of somebody else, and of the program's own owner.
    fn owners(&mut self) -> Result<()> {
        let library = self.folder.join("good/libwho.so");
        for (of_program, of_library, loads) in [(0, 0, true), (0, 1, false), (1, 1, true), (1, 0, true), (1, 2, false)]
        {
            chown(&library, Some(of_library), None)?;
            for program in &self.programs {
                chown(program, Some(of_program), None)?;
                // A new owner takes the rights away.
                self.raise(program)?;
            }
            let outcomes = self.both("ORDINARY=kept", None)?;
            let loaded = outcomes.each_ref().map(|outcome| contains(outcome, "secure 1, library trusted"));
            let shown = format!("program of user {of_program}, library of user {of_library}");
            writeln!(self.table, "| ({shown}) | {} | {} |", said(loaded[0]), said(loaded[1]))?;
            if loaded != [true, loads] || !loads && outcomes[1].status != Status::Exit(127) {
                self.findings.push(format!("{shown}: loaded {loaded:?}, {}", outcomes[1].status));
            }
        }
        Ok(())
    }

    fn row(&mut self, shown: &str, outcomes: &[Outcome; 2], is_in: [bool; 2], expected: &Outcome) {
        let name = shown.split('=').next().unwrap_or_default();
        let cell = |number: usize| {
            let outcome = without(&outcomes[number], name);
            if outcome.status != Status::Exit(0) {
                return outcome.status.to_string();
            }
            let environment = if is_in[number] { "kept" } else { "removed" };
            let effect = match (&outcome == expected, contains(&outcome, "loaded\n"), outcome.stderr.is_empty()) {
                (true, ..) => "no effect",
                (_, true, _) => "loaded",
                (.., false) => "refused with a sentence",
                _ => "another output",
            };
            format!("{environment}, {effect}")
        };
        let line = format!("| `{shown}` | {} | {} |\n", cell(0), cell(1));
        self.table += &line;
    }
}

fn said(loaded: bool) -> &'static str {
    if loaded { "loaded" } else { "refused, status 127" }
}

fn contains(outcome: &Outcome, text: &str) -> bool {
    String::from_utf8_lossy(&outcome.stdout).split_inclusive('\n').any(|line| line.starts_with(text))
}

/// What a program did, but for the line that shows one variable.
fn without(outcome: &Outcome, name: &str) -> Outcome {
    Outcome { stdout: compare::without_lines(&outcome.stdout, &format!("{name}=")), ..outcome.clone() }
}

fn checked(run: Run) -> Result<()> {
    let outcome = run.outcome()?;
    ensure!(outcome.status == Status::Exit(0), "{}: {}", run.reproduction(), String::from_utf8_lossy(&outcome.stderr));
    Ok(())
}
