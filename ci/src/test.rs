//! `cargo xtask test`: every test, in the order in which a failure is cheapest to find.

use std::path::PathBuf;
use std::process::Command;
use std::{env, fs};

use anyhow::Result;

use crate::bench::budget;
use crate::cargo::{cargo, run};
use crate::{build, dependencies, packages, repository};

/// The crates that run on the host. The interpreter is built on its own, since it has no standard library.
const HOST: &[&str] = &["folio-elf", "folio-link", "folio-glibc", "folio-runtime", "folio", "xtask"];

/// Run every test: format, lints, the crates' own tests, then whole programs under Folio
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  cargo xtask test\n  cargo xtask test --all\n  cargo xtask test relro    # whole-program tests whose name contains relro"
)]
pub struct Test {
    /// Run the slow suites too
    #[arg(long)]
    all: bool,
    /// Run only the whole-program tests whose name contains one of these
    filters: Vec<String>,
}

impl Test {
    pub fn run(&self) -> Result<()> {
        let mut needed = vec![packages::PROGRAMS];
        needed.extend(self.all.then_some(packages::SLOW_PROGRAMS));
        if self.filters.is_empty() {
            needed.extend([packages::CRATES, packages::DEMO, packages::BUDGETS]);
        }
        packages::ensure(&needed)?;
        if self.filters.is_empty() {
            self.sources()?;
        }
        step("building the interpreter and the command");
        let built = build::build()?;
        if self.filters.is_empty() {
            step("budgets of generated programs");
            budget::check(&built.interpreter)?;
        }
        if self.filters.is_empty() && self.all {
            step("the same build in another place");
            run(&mut cargo(["test", "--package", "xtask", "--test", "reproducible", "--", "--ignored"]))?;
        }
        step("whole programs");
        if self.filters.is_empty() {
            run(&mut self.programs())?;
            return self.other_glibcs();
        }
        // The suites take one filter each time.
        self.filters.iter().try_for_each(|filter| run(self.programs().args(["--", filter])))
    }

    /// Compares what Folio knows of glibc's insides with the releases that the whole-program tests have unpacked.
    fn other_glibcs(&self) -> Result<()> {
        let mut roots: Vec<PathBuf> = Vec::new();
        for suite in fs::read_dir(repository::root().join("target/roots")).into_iter().flatten() {
            let root = suite?.path().join("root");
            roots.extend(root.is_dir().then_some(root));
        }
        roots.sort();
        if roots.is_empty() {
            eprintln!(
                "== skipped: no other release of glibc is at hand (unpacking one takes root and a package mirror)"
            );
            return Ok(());
        }
        step("layout tables, processor features and tunables on other releases of glibc");
        let mut tests = cargo(["test", "--package", "folio-glibc"]);
        tests.env("FOLIO_GLIBC_ROOTS", env::join_paths(roots)?);
        if self.all {
            // Other processors than this one.
            tests.env("FOLIO_CPU_EMULATOR", "qemu-x86_64");
        }
        run(&mut tests)
    }

    /// The whole-program suites.
    fn programs(&self) -> Command {
        let mut programs = cargo(["test", "--package", "folio-tests", "--no-fail-fast"]);
        if self.all {
            programs.env("FOLIO_ALL", "1");
        }
        programs
    }

    /// What needs no built interpreter.
    fn sources(&self) -> Result<()> {
        step("dependencies");
        dependencies::check()?;
        if self.all && !dependencies::check_advisories()? {
            eprintln!("== skipped: advisories about dependencies (cargo install cargo-deny; it needs a network)");
        }
        step("format");
        run(&mut cargo(["fmt", "--all", "--check"]))?;
        step("generated tables");
        run(&mut cargo(["xtask", "layouts", "--check"]))?;
        let host = || HOST.iter().flat_map(|package| ["--package", package]);
        step("lints");
        run(cargo(["clippy", "--all-targets"]).args(host()).args([
            "--package",
            "folio-tests",
            "--",
            "-D",
            "warnings",
        ]))?;
        run(&mut cargo(["clippy", "--release", "--package", "folio-rtld", "--", "-D", "warnings"]))?;
        step("the crates' own tests");
        run(cargo(["test", "--no-fail-fast"]).args(host()))?;
        step("fuzz targets");
        // Without a fuzzer.
        workspace("tests/fuzz", &["--release", "--no-default-features"])?;
        step("models of what threads do to each other, in every order");
        workspace("tests/models", &[])
    }
}

/// Formats, lints and tests a workspace that has settings of its own, which cargo reads where it is started.
fn workspace(folder: &str, options: &[&str]) -> Result<()> {
    let there = |command: &'static str, options: &[&str]| {
        let mut command = cargo([command]);
        command.args(options).current_dir(repository::root().join(folder));
        for setting in ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "CARGO_BUILD_TARGET"] {
            command.env_remove(setting);
        }
        command
    };
    run(&mut there("fmt", &["--check"]))?;
    run(there("clippy", options).args(["--all-targets", "--", "-D", "warnings"]))?;
    run(&mut there("test", options))
}

fn step(what: &str) {
    eprintln!("== {what}");
}
