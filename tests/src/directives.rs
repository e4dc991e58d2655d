//! The directives at the top of a guest: how it is built, how it is run, and what must come of it.
//!
//! A directive is a comment `//#Key: value` before the first line of code. In order of appearance:
//!
//! | directive | meaning |
//! | --- | --- |
//! | `//#Library: sub/libx.so.1: FLAGS` | build a shared library from this same source, with `-DLIBX` |
//! | `//#Shell: COMMAND` | run a command in the build folder |
//! | `//#Program: FLAGS` | build the program from this source (default: no flags); it is called `program` |
//! | `//#Mode: pie nopie static-pie` | build and run everything once a mode (default: `pie`) |
//! | `//#Env: K=V` | set a variable in every run |
//! | `//#Run: [K=V …] ARGUMENTS` | one run (default: one without arguments) |
//! | `//#Loader: [K=V …] OPTIONS {program} …` | one run of the interpreter itself with these words |
//! | `//#Ways: interp patchelf direct` | the ways to hand the program over (default: all three) |
//! | `//#Expect-status: N` | exit status under glibc, so that a guest cannot fail on both sides alike (default: 0) |
//! | `//#Expect: TEXT` | text that glibc's standard output or error must contain |
//! | `//#Normalise: addresses` | compare output with run-time addresses blotted out |
//! | `//#Normalise: requester` | Folio's message about a missing library may end by naming who requires it |
//! | `//#May-add: TEXT` | Folio may print lines with this text on standard error, beyond what glibc prints |
//! | `//#Only-on: folio` | the guest checks itself; glibc is not asked, only the status counts |
//! | `//#Skip: REASON` | do not run, and say why |
//!
//! `{dir}` stands for the build folder. Words are split at blanks; quotes work as in a shell for `Library`, `Program`
//! and `Shell`, which a shell runs.

use std::fmt;

/// A step of building a guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    Library { path: String, flags: String },
    Shell(String),
    Program { flags: String },
}

/// How the program is linked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Pie,
    NoPie,
    StaticPie,
}

impl fmt::Display for Mode {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Pie => "pie",
            Self::NoPie => "nopie",
            Self::StaticPie => "static-pie",
        })
    }
}

/// How a program is handed to the interpreter under test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// A copy in which only the path in `PT_INTERP` differs.
    Interp,
    /// A copy that patchelf made.
    Patchelf,
    /// The interpreter is run, and given the untouched program as its argument.
    Direct,
}

impl fmt::Display for Way {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Interp => "interp",
            Self::Patchelf => "patchelf",
            Self::Direct => "direct",
        })
    }
}

/// One run of a guest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Launch {
    pub environment: Vec<(String, String)>,
    pub words: Vec<String>,
    /// The words are the interpreter's own command line, not the program's.
    pub loader: bool,
}

/// Everything that a guest's directives say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directives {
    pub steps: Vec<Step>,
    pub modes: Vec<Mode>,
    pub launches: Vec<Launch>,
    pub ways: Vec<Way>,
    pub status: i32,
    pub expected: Vec<String>,
    pub blot_addresses: bool,
    pub drop_requester: bool,
    pub may_add: Vec<String>,
    pub only_folio: bool,
    pub skip: Option<String>,
}

/// A directive that cannot be understood.
#[derive(Debug, PartialEq, Eq)]
pub struct Misread {
    pub line: usize,
    pub problem: String,
}

impl fmt::Display for Misread {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "line {}: {}", self.line, self.problem)
    }
}

impl std::error::Error for Misread {}

impl Directives {
    /// Reads the directives of a source. Reading ends at the first line that is neither empty nor a comment.
    pub fn parse(source: &str) -> Result<Self, Misread> {
        let mut directives = Self {
            steps: Vec::new(),
            modes: Vec::new(),
            launches: Vec::new(),
            ways: Vec::new(),
            status: 0,
            expected: Vec::new(),
            blot_addresses: false,
            drop_requester: false,
            may_add: Vec::new(),
            only_folio: false,
            skip: None,
        };
        let mut environment = Vec::new();
        let head = source.lines().map(str::trim).take_while(|line| line.is_empty() || line.starts_with("//"));
        for (index, line) in head.enumerate() {
            let Some(directive) = line.strip_prefix("//#") else { continue };
            let misread = |problem: String| Misread { line: index + 1, problem };
            let (key, value) =
                directive.split_once(':').ok_or_else(|| misread(format!("no colon in {directive:?}")))?;
            directives.read(key.trim(), value.trim(), &mut environment).map_err(misread)?;
        }
        directives.complete(&environment);
        Ok(directives)
    }

    fn read(&mut self, key: &str, value: &str, environment: &mut Vec<(String, String)>) -> Result<(), String> {
        match key {
            "Library" => {
                let (path, flags) = value.split_once(':').unwrap_or((value, ""));
                self.steps.push(Step::Library { path: path.trim().to_owned(), flags: flags.trim().to_owned() });
            }
            "Shell" => self.steps.push(Step::Shell(value.to_owned())),
            "Program" => self.steps.push(Step::Program { flags: value.to_owned() }),
            "Mode" => self.modes = each(value, mode)?,
            "Ways" => self.ways = each(value, way)?,
            "Env" => environment.push(assignment(value).ok_or("expected K=V")?),
            "Run" => self.launches.push(launch(value, false)),
            "Loader" => self.launches.push(launch(value, true)),
            "Expect-status" => self.status = value.parse().map_err(|_| format!("not a status: {value:?}"))?,
            "Expect" => self.expected.push(value.to_owned()),
            "Normalise" if value == "addresses" => self.blot_addresses = true,
            "Normalise" if value == "requester" => self.drop_requester = true,
            "May-add" if !value.is_empty() => self.may_add.push(value.to_owned()),
            "Only-on" if value == "folio" => self.only_folio = true,
            "Skip" if !value.is_empty() => self.skip = Some(value.to_owned()),
            _ => return Err(format!("unknown directive {key:?} with value {value:?}")),
        }
        Ok(())
    }

    /// Fills in what the source left to the defaults.
    fn complete(&mut self, environment: &[(String, String)]) {
        if !self.steps.iter().any(|step| matches!(step, Step::Program { .. })) {
            self.steps.push(Step::Program { flags: String::new() });
        }
        if self.modes.is_empty() {
            self.modes.push(Mode::Pie);
        }
        if self.ways.is_empty() {
            self.ways = vec![Way::Interp, Way::Patchelf, Way::Direct];
        }
        if self.launches.is_empty() {
            self.launches.push(Launch::default());
        }
        for launch in &mut self.launches {
            launch.environment.splice(0..0, environment.iter().cloned());
        }
    }
}

fn each<T>(value: &str, read: impl Fn(&str) -> Option<T>) -> Result<Vec<T>, String> {
    value.split_whitespace().map(|word| read(word).ok_or_else(|| format!("unknown word {word:?}"))).collect()
}

fn mode(word: &str) -> Option<Mode> {
    [Mode::Pie, Mode::NoPie, Mode::StaticPie].into_iter().find(|mode| mode.to_string() == word)
}

fn way(word: &str) -> Option<Way> {
    [Way::Interp, Way::Patchelf, Way::Direct].into_iter().find(|way| way.to_string() == word)
}

/// Reads `K=V` where K is a name that a shell would take for a variable.
fn assignment(word: &str) -> Option<(String, String)> {
    let (key, value) = word.split_once('=')?;
    let name = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    name.then(|| (key.to_owned(), value.to_owned()))
}

fn launch(value: &str, loader: bool) -> Launch {
    let words: Vec<&str> = value.split_whitespace().collect();
    let environment: Vec<_> = words.iter().map_while(|word| assignment(word)).collect();
    let words = words[environment.len()..].iter().map(|&word| word.to_owned()).collect();
    Launch { environment, words, loader }
}
