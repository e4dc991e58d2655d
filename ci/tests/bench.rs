//! The benchmark's own machinery, without Folio: with a copy of glibc's linker in Folio's place both sides must cost the same in
//! all that can be counted, and what costs more than its budget, or does not start programs at all, must end it.

use std::process::{Command, Output};

fn bench(interpreter: &str, arguments: &[&str]) -> Output {
    let mut bench = Command::new(env!("CARGO_BIN_EXE_xtask"));
    bench.arg("bench").args(arguments).env("FOLIO_INTERPRETER", interpreter).output().unwrap()
}

/// What is timed differs from run to run and may be void; what is counted does not.
#[test]
fn both_sides_cost_the_same_under_the_same_linker() {
    let output = bench("/lib64/ld-linux-x86-64.so.2", &["--json", "--quick", "hello"]);
    let report: serde_json::Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
    let row = &report["rows"][0];
    assert_eq!(row["workload"], "hello");
    for figure in ["system_calls", "private_dirty"] {
        assert!(row["glibc"][figure].as_u64().unwrap() > 5, "{row}");
        assert_eq!(row["glibc"][figure], row["folio"][figure], "{figure}");
    }
    assert!(report["cpuid"]["glibc"].as_u64().unwrap() > 20, "{report}");
    assert_eq!(report["cpuid"]["glibc"], report["cpuid"]["folio"]);
    assert_eq!(report["cpuid"]["musl"], 0);
    let ways: Vec<_> = row["others"].as_array().unwrap().iter().map(|other| other["way"].as_str().unwrap()).collect();
    assert_eq!(ways, ["musl", "static-PIE"]);
}

#[test]
fn a_linker_that_does_not_work_ends_the_benchmark() {
    let output = bench("/bin/true", &["--quick", "hello"]);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(errors.contains("hello"), "{errors}");
    assert_eq!(output.stdout, b"", "no figures of starts that failed");
}

/// glibc's linker takes another number of instructions, and asks the kernel for other things.
#[test]
fn another_linker_does_not_keep_to_the_budgets() {
    let output = bench("/lib64/ld-linux-x86-64.so.2", &["--budget"]);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stdout));
    assert!(errors.contains("costs more than its budget") && errors.contains("--update-budget"), "{errors}");
}

#[test]
fn an_unknown_workload_is_an_error_that_names_the_known() {
    let output = bench("/bin/true", &["nonsense"]);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(errors.contains("nonsense") && errors.contains("rustc"), "{errors}");
}
