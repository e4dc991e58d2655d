//! `folio profile`, on the record of an interpreter that is a script, and with interpreters that write none.
//!
//! That a start under Folio itself is measured truly, the whole-program tests show.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output};

use folio::loader;
use serde_json::Value;

use crate::workshop::{Workshop, complaint, json, run, said};

/// A start of 1000 µs, at one tick a nanosecond: a search, a library with lookups, initializers.
const RECORD: &str = "folio-profile 1
start 1000000 $now 2000000 $((now + 1000000)) times
span open 1010000 1020000 2 0 /usr/bin/true
span map 1020000 1050000 3 1 
span adopt 1005000 1055000 6 1 
span cache 1065000 1070000 0 0 
span open 1080000 1090000 1 0 $dir/libone & two.so
span search 1060000 1100000 2 0 libone & two.so
span map 1100000 1200000 5 0 
span discover 1060000 1300000 9 0 
span relative 1400000 1450000 4 0 $dir/libone & two.so
span symbolic 1450000 1650000 1 0 $dir/libone & two.so
span object 1400000 1700000 5 0 $dir/libone & two.so
span symbolic 1700000 1800000 0 0 /usr/bin/true
span object 1700000 1800000 0 0 /usr/bin/true
span relocate 1400000 1800000 5 0 
span initializers 1850000 1950000 7 0 $dir/libone & two.so
span initialise 1850000 1950000 7 0 
lookups 12 120000 3 2 30000 40 25 9 long_way $dir/libone & two.so
lookups 5 10000 0 0 0 6 1 2 _ITM /usr/bin/true
";

/// The command beside an interpreter that is a shell script.
fn with_interpreter(shop: &Workshop, script: &str) {
    shop.copy(env!("CARGO_BIN_EXE_folio"), "folio");
    let file = shop.write(loader::NAME, format!("#!/bin/sh\n{script}").as_bytes());
    fs::set_permissions(file, fs::Permissions::from_mode(0o755)).unwrap();
}

fn profile(shop: &Workshop, arguments: &[&str]) -> Output {
    run(Command::new(shop.path("folio")).arg("profile").args(arguments))
}

fn recorded(name: &str) -> Workshop {
    let shop = Workshop::new(name);
    let script = format!(
        "dir={}\nnow=$(date +%s%N)\nread -r up _ </proc/uptime\nnow=${{up%.*}}000000000\n\
         cat >\"${{LD_FOLIO_PROFILE#*:}}.$$\" <<END\n{RECORD}END\n",
        shop.folder.display()
    );
    with_interpreter(&shop, &script);
    shop
}

fn find<'v>(list: &'v Value, key: &str, value: &str) -> &'v Value {
    let found = list.as_array().unwrap().iter().find(|entry| entry[key].as_str().unwrap().ends_with(value));
    found.unwrap_or_else(|| panic!("no {value}: {list}"))
}

fn near(value: &Value, expected: f64) {
    let value = value.as_f64().unwrap();
    assert!((value - expected).abs() < 0.01, "{value} and {expected}");
}

#[test]
fn every_microsecond_is_accounted_for_once() {
    let shop = recorded("account");
    let told = json(&profile(&shop, &["--json", "--runs", "3", "/usr/bin/true"]), 0);
    near(&told["linker"], 1000.0);
    let sum = |list: &Value| list.as_array().unwrap().iter().map(|entry| entry["time"].as_f64().unwrap()).sum::<f64>();
    near(&sum(&told["parts"]).into(), 1000.0);
    for (part, time, faults) in [
        ("lookup", 130.0, 0),
        ("resolver", 30.0, 0),
        ("symbolic", 140.0, 1),
        ("relative", 50.0, 4),
        ("map", 130.0, 8),
        ("search", 25.0, 1),
        ("discover", 100.0, 2),
        ("initializers", 100.0, 7),
    ] {
        let part = find(&told["parts"], "kind", part);
        near(&part["time"], time);
        assert_eq!(part["minor_faults"], faults, "{part}");
    }
    let library = find(&told["libraries"], "path", "libone & two.so");
    for (figure, time) in [
        ("files", 40.0),
        ("map", 100.0),
        ("relocate", 150.0),
        ("lookup", 120.0),
        ("resolve", 30.0),
        ("initialise", 100.0),
    ] {
        near(&library[figure], time);
    }
    assert_eq!((&library["asked"], &library["filtered"], &library["longest"]), (&40.into(), &25.into(), &9.into()));
    assert_eq!((&library["longest_symbol"], &library["repeated"]), (&"long_way".into(), &3.into()));
    // The program's own file, by whichever name.
    near(&find(&told["libraries"], "path", "/usr/bin/true")["time"], 140.0);
    assert_eq!((&told["minor_faults"], &told["major_faults"]), (&27.into(), &1.into()));
}

#[test]
fn text_flame_graph_and_trace_tell_the_same() {
    let shop = recorded("pictures");
    let (flame, trace) = (shop.text("flame.svg"), shop.text("trace.json"));
    let output = profile(&shop, &["--flame", &flame, "--trace", &trace, "/usr/bin/true", "a<b"]);
    let text = said(&output, 0);
    for words in
        ["1,000.0 µs in the linker", "look symbols up", "130.0   13.0 %", "libone & two.so", "long_way", "JUMP_SLOT"]
    {
        assert!(text.contains(words), "{words}: {text}");
    }
    let svg = fs::read_to_string(flame).unwrap();
    assert!(
        svg.contains("true a&lt;b") && svg.contains("libone &amp; two.so: 300.0 µs, 30.0 %, 5 page faults"),
        "{svg}"
    );
    for reference in ["src=", "href=", "url(", "@import"] {
        assert!(!svg.contains(reference), "nothing is fetched: {reference}");
    }
    let trace: Value = serde_json::from_str(&fs::read_to_string(trace).unwrap()).unwrap();
    let events = trace["traceEvents"].as_array().unwrap();
    assert_eq!(
        events.iter().filter(|event| event["ph"] == "X").count(),
        18,
        "each span, the whole, and what came before"
    );
    let relocated = events.iter().find(|event| event["args"]["lookups"]["lookups"] == 12).unwrap();
    near(&relocated["dur"], 300.0);
}

#[test]
fn what_cannot_be_profiled_is_said() {
    let shop = Workshop::new("unprofiled");
    with_interpreter(&shop, "exit 0");
    let none = complaint(&profile(&shop, &["/usr/bin/true"]));
    assert!(none.contains("was not profiled") && none.contains("folio doctor"), "{none}");
    let failing = Workshop::new("failing");
    with_interpreter(&failing, "echo 'true: error while loading shared libraries: libx.so' >&2; exit 127");
    let missing = complaint(&profile(&failing, &["/usr/bin/true"]));
    assert!(missing.contains("does not start: true: error while loading shared libraries: libx.so"), "{missing}");
    let endless = Workshop::new("unending");
    with_interpreter(&endless, "exec sleep 1000");
    let waits = complaint(&profile(&endless, &["--limit", "1", "/usr/bin/true"]));
    assert!(waits.contains("did not end within 1 s") && waits.contains("--limit"), "{waits}");
    let damaged = Workshop::new("damaged");
    with_interpreter(&damaged, "echo nonsense >\"${LD_FOLIO_PROFILE#*:}.$$\"");
    let damage = complaint(&profile(&damaged, &["/usr/bin/true"]));
    assert!(damage.contains("another version"), "{damage}");
    for (program, words) in [
        ("no-such-program", "not found in PATH"),
        ("/no/such/program", "No such file"),
        ("/etc/passwd", "not an ELF file"),
    ] {
        let sentence = complaint(&profile(&damaged, &[program]));
        assert!(sentence.contains(words), "{program}: {sentence}");
    }
    let unwritable = recorded("unwritable");
    let sentence = complaint(&profile(&unwritable, &["--flame", "/no/such/folder/a.svg", "/usr/bin/true"]));
    assert!(sentence.contains("cannot write /no/such/folder/a.svg"), "{sentence}");
}
