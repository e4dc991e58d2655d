//! `folio doctor`.

use crate::workshop::{folio, json};

#[test]
fn every_fact_has_a_state_and_what_is_less_has_a_reason() {
    // Whether an interpreter lies beside the command depends on what was built.
    let output = folio(["doctor", "--json"]);
    let status = output.status.code().unwrap();
    assert!(status <= 1, "{output:?}");
    let answer = json(&output, status);
    let facts: Vec<_> = ["linking", "protection", "kernel", "tools"]
        .iter()
        .flat_map(|subject| answer[subject].as_array().unwrap())
        .collect();
    assert!(facts.len() >= 12);
    for fact in &facts {
        let is_good = fact["state"] == "good";
        assert!(is_good || fact["consequence"].is_string(), "{fact}");
    }
    let is_bad = facts.iter().any(|fact| fact["state"] == "bad");
    assert_eq!(is_bad, status == 1);
    let libc = facts.iter().find(|fact| fact["name"] == "libc").unwrap();
    assert!(libc["value"].as_str().unwrap().contains("libc.so.6"), "{libc}");
}
