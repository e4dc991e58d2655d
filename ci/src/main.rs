//! `cargo xtask`: build, install, show, test and measure Folio.
#![forbid(unsafe_code)]

mod bench;
mod build;
mod cargo;
mod demo;
mod dependencies;
mod documents;
mod install;
mod layouts;
mod metadata;
mod order;
mod packages;
mod repository;
mod reproducible;
mod test;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Build, install, show, test and measure Folio
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Xtask {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Build(build::Build),
    Install(install::Install),
    Demo(demo::Demo),
    Test(test::Test),
    Bench(bench::Bench),
    Order(order::Order),
    #[command(
        after_help = "Examples:\n  cargo xtask layouts\n  cargo xtask layouts --check\n  cargo xtask layouts --from unpacked --out ld/glibc/layouts/2.44.json"
    )]
    Layouts(layouts::Layouts),
}

fn main() -> ExitCode {
    let result = match Xtask::parse().command {
        Command::Build(build) => build.run(),
        Command::Install(install) => install.run(),
        Command::Demo(demo) => demo.run(),
        Command::Test(test) => test.run(),
        Command::Bench(bench) => bench.run(),
        Command::Order(order) => order.run(),
        Command::Layouts(layouts) => layouts.run(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cargo xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}
