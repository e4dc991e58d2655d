//! Guests: small programs in C and C++, each on one subject of dynamic linking, run under glibc's loader and under
//! Folio with equal output and status.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;
use folio_tests::guest::Guest;
use folio_tests::interpreter::Interpreter;
use folio_tests::suite::{self, Verdict};
use libtest_mimic::Trial;

fn main() -> ExitCode {
    suite::run_or_explain(tests())
}

fn tests() -> Result<Vec<Trial>> {
    let interpreter = Interpreter::under_test()?;
    let mut tests = Vec::new();
    for guest in Guest::all(&Path::new(env!("CARGO_MANIFEST_DIR")).join("guests"))? {
        for mode in guest.directives.modes.clone() {
            let (guest, interpreter) = (guest.clone(), interpreter.clone());
            tests.push(suite::test(format!("guests::{}::{mode}", guest.name), move || {
                if let Some(reason) = &guest.directives.skip {
                    return Ok(Verdict::Skip(reason.clone()));
                }
                if guest.directives.only_folio && interpreter.is_stand_in() {
                    return Ok(Verdict::Skip("the interpreter under test is glibc's own".to_owned()));
                }
                Ok(Verdict::from_findings(guest.findings(mode, &interpreter, Ok)?))
            }));
        }
    }
    Ok(tests)
}
