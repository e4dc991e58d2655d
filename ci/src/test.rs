//! `cargo xtask test`: every test, in the order in which a failure is cheapest to find.

use std::process::Command;

use anyhow::Result;

use crate::cargo::{cargo, run};
use crate::{build, packages};

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
        if self.filters.is_empty() {
            packages::ensure(&[packages::CRATES, packages::DEMO, packages::PROGRAMS])?;
            self.sources()?;
        } else {
            packages::ensure(&[packages::PROGRAMS])?;
        }
        step("building the interpreter and the command");
        build::build()?;
        step("whole programs");
        if self.filters.is_empty() {
            return run(&mut self.programs());
        }
        // The suites take one filter each time.
        self.filters.iter().try_for_each(|filter| run(self.programs().args(["--", filter])))
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
        run(cargo(["test", "--no-fail-fast"]).args(host()))
    }
}

fn step(what: &str) {
    eprintln!("== {what}");
}
