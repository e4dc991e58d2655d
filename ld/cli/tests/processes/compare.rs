//! `folio compare`, with glibc's own linker in Folio's place: both sides are then equal in all but time.

use std::fs;
use std::process::Command;

use folio::loader;
use serde_json::Value;

use crate::workshop::{Workshop, complaint, json, run, said};

/// The command beside an interpreter that is glibc's.
struct Twins {
    shop: Workshop,
}

impl Twins {
    fn new(name: &str) -> Self {
        let shop = Workshop::new(name);
        shop.copy(env!("CARGO_BIN_EXE_folio"), "folio");
        shop.copy(loader::GLIBC, loader::NAME);
        Self { shop }
    }

    fn compare(&self, arguments: &[&str]) -> std::process::Output {
        run(Command::new(self.shop.path("folio")).arg("compare").args(arguments))
    }
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("no number: {value}"))
}

#[test]
fn twins_are_equal() {
    let twins = Twins::new("twins");
    for follow in ["strace", "ptrace"] {
        let told = json(&twins.compare(&["--json", "--pairs", "12", "--follow", follow, "/usr/bin/true"]), 0);
        assert_eq!(told["followed_by"], follow);
        let calls = |side: &str| -> Vec<Value> {
            let calls = told[side]["calls"].as_array().unwrap();
            calls.iter().map(|call| serde_json::json!([call["role"], call["subject"], call["short"]])).collect()
        };
        assert!(calls("glibc").len() > 20);
        assert_eq!(calls("glibc"), calls("folio"), "{follow}");
        assert_eq!(told["folio"]["ending"], "exited with 0");
        for figure in ["minor_faults", "private_dirty", "resident"] {
            let (glibc, folio) = (number(&told["glibc"]["cost"][figure]), number(&told["folio"]["cost"][figure]));
            assert!(glibc > 0.0 && (folio - glibc).abs() <= glibc * 0.2 + 4.0, "{figure}: {glibc} and {folio}");
        }
        let timing = &told["timing"];
        assert_eq!((&timing["pairs"], timing["glibc"]["runs"].as_array().unwrap().len()), (&12.into(), 12));
        let (from, ratio, to) = (&timing["ratio_from"], &timing["ratio"], &timing["ratio_to"]);
        assert!(number(from) <= number(ratio) && number(ratio) <= number(to), "{timing}");
        assert!(number(&timing["folio"]["lower_quartile"]) <= number(&timing["folio"]["median"]), "{timing}");
    }
}

#[test]
fn both_ways_to_follow_agree() {
    let twins = Twins::new("follow");
    let told = |follow: &str| json(&twins.compare(&["--json", "--pairs", "0", "--follow", follow, "/usr/bin/true"]), 0);
    let (strace, ptrace) = (told("strace"), told("ptrace"));
    let roles = |told: &Value| -> Vec<Value> {
        let calls = told["glibc"]["calls"].as_array().unwrap();
        calls.iter().map(|call| serde_json::json!([call["role"], call["subject"]])).collect()
    };
    assert_eq!(roles(&strace), roles(&ptrace));
    assert!(strace["timing"].is_null());
}

/// Where strace is not installed, the program is followed all the same.
#[test]
fn strace_may_be_missing() {
    let twins = Twins::new("without");
    let bare = twins.shop.path("bin");
    fs::create_dir(&bare).unwrap();
    let output = run(Command::new(twins.shop.path("folio"))
        .args(["compare", "--json", "--pairs", "0", "/usr/bin/true"])
        .env("PATH", &bare));
    assert_eq!(json(&output, 0)["followed_by"], "ptrace");
}

#[test]
fn the_text_says_what_was_measured() {
    let twins = Twins::new("text");
    let page = twins.shop.text("page.html");
    let output = twins.compare(&["--pairs", "6", "--html", &page, "/usr/bin/true"]);
    let text = said(&output, 0);
    for words in ["map text (code)", "page faults", "private dirty pages", "6 pairs of runs", "Both exited with 0."] {
        assert!(text.contains(words), "{words}: {text}");
    }
    let html = fs::read_to_string(page).unwrap();
    assert_eq!(html.matches("<circle").count(), 12, "a dot for each run");
    assert!(html.contains("map text (code)") && html.contains("prefers-color-scheme"));
    for reference in ["src=", "href=", "http", "url(", "@import"] {
        assert!(!html.contains(reference), "nothing is fetched: {reference}");
    }
}

#[test]
fn a_program_that_does_not_end_is_given_up() {
    let twins = Twins::new("endless");
    let sentence = complaint(&twins.compare(&["--limit", "1", "sleep", "1000"]));
    assert!(sentence.contains("did not end within 1 s") && sentence.contains("--limit"), "{sentence}");
    let few = complaint(&twins.compare(&["--pairs", "2", "true"]));
    assert!(few.contains("fewer than 6 pairs"), "{few}");
}
