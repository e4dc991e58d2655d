//! A folder for each test with the command in it, and the compiler that fills it.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Mutex;

use serde_json::Value;

/// Children of one test hold what another is writing open for a moment; a file that is to be executed is therefore written
/// while no process is started (`ETXTBSY`).
static STARTING: Mutex<()> = Mutex::new(());

pub struct Workshop {
    pub folder: PathBuf,
}

impl Workshop {
    /// A short path that every user may enter: an interpreter in it fits where glibc's stands.
    pub fn new(name: &str) -> Self {
        let folder = PathBuf::from(format!("/tmp/fl{}{name}", std::process::id()));
        drop(fs::remove_dir_all(&folder));
        fs::create_dir(&folder).unwrap();
        Self { folder }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    pub fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    pub fn copy(&self, from: &str, name: &str) -> PathBuf {
        let _alone = STARTING.lock().unwrap();
        let to = self.path(name);
        fs::copy(from, &to).unwrap();
        to
    }

    pub fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let _alone = STARTING.lock().unwrap();
        let to = self.path(name);
        fs::write(&to, bytes).unwrap();
        to
    }

    /// Compiles a C source with these words.
    pub fn compile(&self, source: &str, name: &str, options: &[&str]) -> PathBuf {
        let from = self.write(&format!("{name}.c"), source.as_bytes());
        let to = self.path(name);
        let mut command = Command::new("gcc");
        command.current_dir(&self.folder).arg("-o").arg(&to).arg(from).args(options);
        let output = run(&mut command);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        to
    }

    pub fn shared_object(&self, source: &str, name: &str, options: &[&str]) -> PathBuf {
        self.compile(source, name, &[&["-shared", "-fPIC", "-nostdlib"], options].concat())
    }
}

impl Drop for Workshop {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.folder));
    }
}

pub fn run(command: &mut Command) -> Output {
    let child = {
        let _alone = STARTING.lock().unwrap();
        // cargo sets it for its own children.
        command.env_remove("LD_LIBRARY_PATH").env_remove("LD_PRELOAD");
        command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().unwrap()
    };
    child.wait_with_output().unwrap()
}

pub fn folio<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Output {
    run(Command::new(env!("CARGO_BIN_EXE_folio")).args(arguments))
}

/// What the command printed, which must have ended with this status.
pub fn said(output: &Output, status: i32) -> &str {
    let text = std::str::from_utf8(&output.stdout).unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(status), "{text}{errors}");
    text
}

/// The one line on standard error of a command that failed.
pub fn complaint(output: &Output) -> String {
    let errors = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(output.status.code(), Some(1), "{errors}");
    assert!(errors.starts_with("folio: ") && errors.ends_with('\n') && errors.lines().count() == 1, "{errors}");
    errors
}

pub fn json(output: &Output, status: i32) -> Value {
    serde_json::from_str(said(output, status)).unwrap()
}

/// The only library of `folio lint --json`.
pub fn linted(path: &Path) -> Value {
    let answer = json(&folio(["lint".as_ref(), "--json".as_ref(), path.as_os_str()]), 0);
    answer["libraries"][0].clone()
}
