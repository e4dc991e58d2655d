//! The demo's own machinery, without Folio: with a copy of glibc's linker in Folio's place every claim must hold, and
//! with something that is no linker the demo must end with a sentence.

use std::process::{Command, Output};

fn demo(interpreter: &str) -> Output {
    let mut demo = Command::new(env!("CARGO_BIN_EXE_xtask"));
    demo.args(["demo", "--json"]).env("FOLIO_INTERPRETER", interpreter).output().unwrap()
}

#[test]
fn every_claim_holds_for_glibcs_linker_under_another_name() {
    let output = demo("/lib64/ld-linux-x86-64.so.2");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(report["claims"].as_u64().unwrap() > 50, "{report}");
    assert_eq!(report["programs"]["rows"].as_array().unwrap().len(), 5);
    assert_eq!(report["counter"]["processes"].as_array().unwrap().len(), 4);
    let calls = |side: &str| report["calls"]["comparison"][side]["calls"].as_array().unwrap().len();
    assert_eq!(calls("folio"), calls("glibc"));
}

#[test]
fn a_linker_that_does_not_work_ends_the_demo() {
    let output = demo("/bin/true");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(errors.contains("bash under Folio: ") && errors.contains("instead of answering"), "{errors}");
    assert_eq!(output.stdout, b"", "no report of claims that do not hold");
}
