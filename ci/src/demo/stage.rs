//! A temporary folder with everything that the demo runs: the interpreter, compiled programs, and copies of the
//! machine's programs that name Folio as their dynamic linker.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// The folder; gone when this is dropped.
pub struct Stage {
    folder: PathBuf,
    pub interpreter: PathBuf,
}

/// The demo's own sources, by file name.
const SOURCES: &[(&str, &str)] = &[
    ("counter.c", include_str!("../../demo/counter.c")),
    ("counter_program.c", include_str!("../../demo/counter_program.c")),
    ("thrower.cpp", include_str!("../../demo/thrower.cpp")),
    ("catcher.cpp", include_str!("../../demo/catcher.cpp")),
    ("words.py", include_str!("../../demo/words.py")),
    ("words.pl", include_str!("../../demo/words.pl")),
];

impl Stage {
    /// Writes the sources and compiles them.
    pub fn set(interpreter: &Path) -> Result<Self> {
        let folder = std::env::temp_dir().join(format!("folio-demo-{}", std::process::id()));
        fs::create_dir(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let stage = Self { interpreter: folder.join(folio::loader::NAME), folder };
        // A copy: patchelf writes this path into programs, and others must be able to read it.
        fs::copy(interpreter, &stage.interpreter).with_context(|| format!("cannot copy {}", interpreter.display()))?;
        for (name, text) in SOURCES {
            fs::write(stage.file(name), text)?;
        }
        let library = ["-shared", "-fPIC", "-O2", "-o"];
        let program = ["-O2", "-Wl,-rpath,$ORIGIN", "-L.", "-o"];
        stage.compile("gcc", &library, &["libcounter.so", "counter.c"])?;
        stage.compile("gcc", &program, &["counter", "counter_program.c", "-lcounter"])?;
        stage.compile("g++", &library, &["libthrower.so", "thrower.cpp"])?;
        stage.compile("g++", &program, &["catcher", "catcher.cpp", "-lthrower", "-pthread"])?;
        Ok(stage)
    }

    /// The path of a file on the stage.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn compile(&self, compiler: &str, options: &[&str], files: &[&str]) -> Result<()> {
        succeed(Command::new(compiler).args(options).args(files).current_dir(&self.folder))
    }

    /// A copy of a program, set to be started by Folio. What is made once is made for all parts of the demo.
    pub fn adopt(&self, program: &Path) -> Result<PathBuf> {
        let name = program.file_name().context("a program has a name")?.to_string_lossy();
        // Beside the original's libraries, where it looks for them by $ORIGIN.
        let copy = self.file(&format!("{name}.folio"));
        if !copy.exists() {
            fs::copy(program, &copy).with_context(|| format!("cannot copy {}", program.display()))?;
            succeed(Command::new("patchelf").arg("--set-interpreter").arg(&self.interpreter).arg(&copy))?;
        }
        Ok(copy)
    }

    /// Starts a program in the same surroundings each time, whatever this command was started in.
    pub fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        // cargo sets this for what it runs, and a linker would then look into cargo's folders first.
        command.env_remove("LD_LIBRARY_PATH").env("LC_ALL", "C.UTF-8");
        command.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_SYSTEM", "/dev/null");
        command
    }

    /// A small git repository, the same each time.
    pub fn repository(&self) -> Result<PathBuf> {
        let repository = self.file("repository");
        fs::create_dir(&repository)?;
        fs::write(repository.join("letter"), "A page that nobody writes is in memory once.\n")?;
        for arguments in [
            &["init", "--quiet", "--initial-branch", "main"][..],
            &["add", "letter"],
            &["commit", "--quiet", "--message", "Write a letter"],
        ] {
            let mut git = self.command(Path::new("/usr/bin/git"));
            for who in ["AUTHOR", "COMMITTER"] {
                git.env(format!("GIT_{who}_NAME"), "Folio").env(format!("GIT_{who}_EMAIL"), "folio@example.org");
                git.env(format!("GIT_{who}_DATE"), "2000-01-01T00:00:00Z");
            }
            succeed(git.arg("-C").arg(&repository).args(arguments))?;
        }
        Ok(repository)
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        // Best effort: a folder that stays behind in the temporary folder harms nobody.
        drop(fs::remove_dir_all(&self.folder));
    }
}

fn succeed(command: &mut Command) -> Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.output().with_context(|| format!("cannot start {program}"))?;
    ensure!(output.status.success(), "{program}: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr));
    Ok(())
}
