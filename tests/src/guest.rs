//! Building a guest, and running it in every way that its directives ask for.
//!
//! A guest's program and libraries all come from its one source. They are built into a folder of `target/guests` whose
//! name holds a hash of the source, of the compiler's version and of the build commands, so a guest is built once.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context, Result, bail};

use crate::compare;
use crate::directives::{Directives, Launch, Mode, Step, Way};
use crate::interpreter::{GLIBC, Interpreter};
use crate::run::{Outcome, Run, Status, output};
use crate::workspace;

/// A guest: one source with its directives.
#[derive(Clone, Debug)]
pub struct Guest {
    pub name: String,
    pub directives: Directives,
    source: PathBuf,
    text: String,
}

impl Guest {
    pub fn read(source: &Path) -> Result<Self> {
        let text = fs::read_to_string(source)?;
        let directives = Directives::parse(&text).with_context(|| source.display().to_string())?;
        let name = source.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Self { name, directives, source: source.to_path_buf(), text })
    }

    /// Reads every guest of a folder, in order of name.
    pub fn all(folder: &Path) -> Result<Vec<Self>> {
        let mut sources: Vec<PathBuf> = fs::read_dir(folder)?
            .map(|entry| Ok(entry?.path()))
            .collect::<Result<Vec<_>>>()?
            .into_iter()
            .filter(|path| path.extension().is_some_and(|extension| extension == "c" || extension == "cpp"))
            .collect();
        sources.sort();
        sources.iter().map(|source| Self::read(source)).collect()
    }

    /// Builds the guest in one mode, unless it was built before, and returns the build folder.
    pub fn build(&self, mode: Mode) -> Result<PathBuf> {
        let commands: Vec<String> = self.directives.steps.iter().map(|step| self.command(step, mode)).collect();
        let mut hasher = DefaultHasher::new();
        (&self.text, &commands, compiler_version()).hash(&mut hasher);
        let folder = workspace::target("guests")?.join(format!("{}-{mode}-{:016x}", self.name, hasher.finish()));
        let _lock = workspace::lock(&format!("{}-{mode}", self.name))?;
        let stamp = folder.join("built");
        if stamp.exists() {
            return Ok(folder);
        }
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        fs::create_dir_all(&folder)?;
        for command in &commands {
            let output = output(Command::new("sh").args(["-ec", command]).current_dir(&folder))?;
            if !output.status.success() {
                bail!("{}: {command}\n{}", self.name, String::from_utf8_lossy(&output.stderr));
            }
        }
        fs::write(stamp, "")?;
        Ok(folder)
    }

    /// The shell command of one build step.
    fn command(&self, step: &Step, mode: Mode) -> String {
        let source = self.source.display();
        let compiler = if self.source.extension().is_some_and(|extension| extension == "cpp") { "g++" } else { "gcc" };
        let common = "-O1 -g -Wall -pthread";
        match step {
            Step::Shell(command) => command.clone(),
            Step::Library { path, flags } => {
                let folder = Path::new(path).parent().unwrap_or(Path::new("")).join(".");
                let name = Path::new(path).file_name().unwrap_or_default().to_string_lossy();
                let stem = name.split('.').next().unwrap_or_default().to_uppercase().replace('-', "_");
                format!(
                    "mkdir -p {}; {compiler} {common} -fPIC -shared -D{stem} -o {path} {source} {flags}",
                    folder.display()
                )
            }
            Step::Program { flags } => {
                let position = match mode {
                    Mode::Pie => "-fPIE -pie",
                    Mode::NoPie => "-fno-pie -no-pie",
                    Mode::StaticPie => "-fPIE -static-pie",
                };
                format!("{compiler} {common} {position} -DPROGRAM -o program {source} {flags}")
            }
        }
    }

    /// Runs the guest, built in one mode, in each of its ways, and says what went differently or wrong. `place` turns a
    /// run on this machine into the run that is wanted, for instance the same inside another root.
    pub fn findings(
        &self,
        mode: Mode,
        interpreter: &Interpreter,
        place: impl Fn(Run) -> Result<Run>,
    ) -> Result<Vec<String>> {
        let folder = self.build(mode)?;
        let mut findings = Vec::new();
        for launch in &self.directives.launches {
            if launch.loader {
                let expected = self.loader_run(&folder, launch, Path::new(GLIBC));
                let actual = self.loader_run(&folder, launch, interpreter.path());
                self.compare("loader", &place(expected)?, &place(actual)?, &mut findings)?;
                continue;
            }
            for &way in self.ways(mode) {
                let (expected, actual) = self.pair(&folder, launch, way, interpreter)?;
                self.compare(&way.to_string(), &place(expected)?, &place(actual)?, &mut findings)?;
            }
        }
        Ok(findings)
    }

    /// A static program has no interpreter to replace: it can only be run by the interpreter, if at all.
    fn ways(&self, mode: Mode) -> &[Way] {
        if mode == Mode::StaticPie { &[Way::Direct] } else { &self.directives.ways }
    }

    /// The run under glibc and the run under the interpreter under test.
    fn pair(&self, folder: &Path, launch: &Launch, way: Way, interpreter: &Interpreter) -> Result<(Run, Run)> {
        let program = folder.join("program");
        let words = launch.words.iter().map(|word| expand(word, folder));
        let native = dressed(Run::new(&program).named("./program").args(words), folder, launch);
        let copy = folder.join(format!("program.{way}"));
        Ok(match way {
            Way::Interp => {
                interpreter.adopt(&program, &copy)?;
                let adopted = Run { program: copy, ..native.clone() };
                (native, adopted)
            }
            Way::Patchelf => {
                interpreter.adopt_with_patchelf(&program, &copy)?;
                let adopted = Run { program: copy, ..native.clone() };
                (native, adopted)
            }
            Way::Direct => {
                let mut launch = launch.clone();
                launch.words.insert(0, "./program".to_owned());
                let expected = self.loader_run(folder, &launch, Path::new(GLIBC));
                (expected, self.loader_run(folder, &launch, interpreter.path()))
            }
        })
    }

    /// The interpreter run as a program, with the words of the launch.
    fn loader_run(&self, folder: &Path, launch: &Launch, interpreter: &Path) -> Run {
        let words = launch.words.iter().map(|word| expand(word, folder));
        // The same argv[0] for both, since error messages may begin with it.
        dressed(Run::new(interpreter).named("ld.so").args(words), folder, launch)
    }

    fn compare(&self, way: &str, expected: &Run, actual: &Run, findings: &mut Vec<String>) -> Result<()> {
        let mut judged = self.normalised(actual.outcome()?);
        for text in &self.directives.may_add {
            judged.stderr = compare::without_lines(&judged.stderr, text);
        }
        let mut found = Vec::new();
        if self.directives.only_folio {
            if judged.status != Status::Exit(self.directives.status) {
                found.push(format!("{}\n{}", judged.status, String::from_utf8_lossy(&judged.stderr)));
            }
        } else {
            let reference = self.normalised(expected.outcome()?);
            found.extend(self.misbehaved(&reference));
            found.extend(compare::difference(&reference, &judged));
        }
        findings.extend(found.iter().map(|text| format!("[{way}] {text}reproduce: {}\n", actual.reproduction())));
        Ok(())
    }

    /// What is wrong with the run under glibc itself: then the guest tests nothing.
    fn misbehaved(&self, reference: &Outcome) -> Option<String> {
        let said = [&reference.stdout[..], &reference.stderr[..]].concat();
        let said = String::from_utf8_lossy(&said);
        if reference.status != Status::Exit(self.directives.status) {
            return Some(format!(
                "under glibc: {}, where the guest declares exit status {}\n{said}",
                reference.status, self.directives.status
            ));
        }
        let missing = self.directives.expected.iter().find(|text| !said.contains(*text))?;
        Some(format!("under glibc: {missing:?} is not in the output\n{said}"))
    }

    fn normalised(&self, mut outcome: Outcome) -> Outcome {
        if self.directives.blot_addresses {
            outcome.stdout = compare::without_addresses(&outcome.stdout);
            outcome.stderr = compare::without_addresses(&outcome.stderr);
        }
        if self.directives.drop_requester {
            outcome.stderr = compare::without_requester(&outcome.stderr);
        }
        outcome
    }
}

fn expand(word: &str, folder: &Path) -> String {
    word.replace("{dir}", &folder.display().to_string()).replace("{program}", "./program")
}

fn dressed(run: Run, folder: &Path, launch: &Launch) -> Run {
    let run = run.in_folder(folder);
    launch.environment.iter().fold(run, |run, (key, value)| run.env(key, expand(value, folder)))
}

fn compiler_version() -> &'static str {
    static VERSION: OnceLock<String> = OnceLock::new();
    VERSION.get_or_init(|| match output(Command::new("gcc").arg("-v")) {
        Ok(output) => String::from_utf8_lossy(&output.stderr).into_owned(),
        Err(_) => String::new(),
    })
}
