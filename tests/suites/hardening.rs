//! What an attacker finds in a running process, as checksec(1) looks at files: which mappings there are, with what
//! permissions, and how far their addresses can be foreseen. Never less than under glibc's loader.

#[path = "hardening/addresses.rs"]
mod addresses;
#[path = "hardening/mappings.rs"]
mod mappings;

use std::process::ExitCode;

use anyhow::Result;
use folio_tests::interpreter::Interpreter;
use folio_tests::suite::{self, Verdict};
use libtest_mimic::Trial;

/// A test, by the interpreter that it is about.
type Test = fn(&Interpreter) -> Result<Verdict>;

fn main() -> ExitCode {
    suite::run_or_explain(tests())
}

fn tests() -> Result<Vec<Trial>> {
    let interpreter = Interpreter::under_test()?;
    let tests: [(&str, Test); 2] = [("addresses", addresses::test), ("mappings", mappings::test)];
    Ok(tests
        .into_iter()
        .map(|(name, body)| {
            let interpreter = interpreter.clone();
            suite::test(format!("hardening::{name}"), move || {
                if interpreter.is_stand_in() {
                    return Ok(Verdict::Skip("only Folio promises this".to_owned()));
                }
                body(&interpreter)
            })
        })
        .collect())
}
