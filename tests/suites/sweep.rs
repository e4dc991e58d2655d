//! The sweep over /usr/bin as a test. It takes minutes, so it runs only when all suites are asked for (`FOLIO_ALL=1`).

use std::process::{Command, ExitCode};

use anyhow::Result;
use folio_tests::suite::{self, Verdict};
use folio_tests::workspace;

fn main() -> ExitCode {
    suite::run(vec![suite::test("sweep::usr_bin", usr_bin).with_ignored_flag(!workspace::all_suites())])
}

fn usr_bin() -> Result<Verdict> {
    if !workspace::is_root() {
        return Ok(Verdict::Skip("a bind mount needs root".to_owned()));
    }
    let output = Command::new(env!("CARGO_BIN_EXE_sweep")).output()?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    println!("{said}");
    Ok(if output.status.success() {
        Verdict::Pass
    } else {
        Verdict::Fail(format!("{said}{}", String::from_utf8_lossy(&output.stderr)))
    })
}
