//! `folio lint`: each rule on a library that breaks it and on one that does not, and the numbers against the kernel's.

use std::fs;
use std::process::Command;

use serde_json::Value;

use crate::workshop::{Workshop, folio, json, linted, run, said};

fn rules(library: &Value) -> Vec<&str> {
    library["findings"].as_array().unwrap().iter().map(|finding| finding["rule"].as_str().unwrap()).collect()
}

fn finding<'l>(library: &'l Value, rule: &str) -> &'l Value {
    let mut findings = library["findings"].as_array().unwrap().iter();
    findings.find(|finding| finding["rule"] == rule).unwrap_or_else(|| panic!("{rule}: {library:#}"))
}

const PLAIN: &str = "int f(int n) { return n + 1; }";

#[test]
fn a_plain_library_breaks_no_rule() {
    let shop = Workshop::new("l");
    let library = linted(&shop.shared_object(PLAIN, "lib.so", &["-Wl,-z,now"]));
    assert_eq!(rules(&library), [""; 0]);
    let text = folio(["lint", &shop.text("lib.so")]);
    assert!(said(&text, 0).contains("Nothing to improve."));
    said(&folio(["lint", "--deny", "all", &shop.text("lib.so")]), 0);
}

#[test]
fn each_rule_is_broken_by_what_it_is_about() {
    let shop = Workshop::new("k");
    let calls = "int f(int n) { return n + 1; } int g(int n) { return f(n) + f(n + 1); }";
    let needs = "int f(int); int g(int n) { return f(n); }";
    shop.shared_object(PLAIN, "libneeded.so", &[]);
    let pointer = "int x; int *const p = &x; int f(void) { return *p; }";
    for (rule, source, options) in [
        ("executable-stack", PLAIN, &["-Wl,-z,execstack"][..]),
        ("no-relro", pointer, &["-Wl,-z,norelro"]),
        ("partial-relro", calls, &["-Wl,-z,lazy"]),
        ("self-lookups", calls, &[]),
        ("no-gnu-hash", PLAIN, &["-Wl,--hash-style=sysv"]),
        ("mixed-pages", pointer, &["-Wl,-z,noseparate-code"]),
        ("oversized-alignment", pointer, &["-Wl,-z,max-page-size=0x400000"]),
        ("wasteful-rpath", needs, &["-L.", "-lneeded", "-Wl,-rpath,/nowhere:/usr/lib:/tmp:/tmp/"]),
        ("writable-code", pointer, &["-Wl,--omagic"]),
    ] {
        let path = shop.shared_object(source, "lib.so", options);
        let library = linted(&path);
        assert!(rules(&library).contains(&rule), "{rule}: {library:#}");
        let denied = folio(["lint", "--deny", rule, &shop.text("lib.so")]);
        assert!(said(&denied, 1).contains(&format!("Denied: {rule}")));
        said(&folio(["lint", "--deny", "stale-textrel", &shop.text("lib.so")]), 0);
    }
    let symbolic = linted(&shop.shared_object(calls, "lib.so", &["-Wl,-Bsymbolic-functions"]));
    assert!(!rules(&symbolic).contains(&"self-lookups"), "{symbolic:#}");
}

#[test]
fn text_relocations_are_told_by_function_and_only_where_there_are_some() {
    let shop = Workshop::new("x");
    let source = "__asm__(\".text\\n.type table,@object\\ntable: .quad f\\n.zero 4096\\n.quad f\\n.size table,.-table\"); \
                  int f(int n) { return n + 1; }";
    let library = linted(&shop.shared_object(source, "lib.so", &["-Wl,-z,notext"]));
    let text = finding(&library, "text-relocations");
    assert_eq!(text["private_pages"], 2, "{text}");
    assert_eq!((&text["places"][0]["name"], &text["places"][0]["count"]), (&"table".into(), &2.into()), "{text}");
    assert_eq!(library["weight"]["changed_text"], 2);
    // The flag alone is another matter: nothing becomes private by it.
    let path = shop.shared_object("int x; int *p = &x;", "flag.so", &["-Wl,-z,now"]);
    let mut bytes = fs::read(&path).unwrap();
    let flags = [30u64.to_le_bytes(), 8u64.to_le_bytes()].concat();
    let place = bytes.windows(16).position(|window| window == flags).expect("DT_FLAGS, DF_BIND_NOW");
    bytes[place + 8] |= 4;
    let library = linted(&shop.write("flag.so", &bytes));
    assert!(rules(&library).contains(&"stale-textrel") && !rules(&library).contains(&"text-relocations"));
}

/// A library with large tables, and a program that shows its memory map.
fn tables(shop: &Workshop) -> String {
    let names: String = (0..3000).map(|n| format!("\"{n}\",")).collect();
    format!(
        "static const char *const sealed[] = {{{names}}}; static const char *open[] = {{{names}}}; int big[9000] = {{1}}; \
         int zeros[9000]; const char *f(int n) {{ return n > 0 ? sealed[n] : open[-n]; }}"
    )
    .replace("static const char *open", &format!("/* {} */ const char *open", shop.folder.display()))
}

#[test]
fn what_it_calls_private_is_what_the_kernel_counts() {
    let shop = Workshop::new("n");
    let library = linted(&shop.shared_object(&tables(&shop), "libt.so", &["-Wl,-z,now"]));
    let found = finding(&library, "relocated-tables");
    let places = found["places"].as_array().unwrap();
    assert!(places.iter().any(|place| place["name"] == "sealed" && place["count"] == 3000), "{found}");
    assert_eq!(finding(&library, "writable-constants")["places"][0]["name"], "open", "{library:#}");

    let source = "#include <stdio.h>\nconst char *f(int); int main(void) { FILE *maps = fopen(\"/proc/self/smaps\", \"r\"); \
                  int c; if (!f(1)) return 1; while ((c = getc(maps)) != EOF) putchar(c); return 0; }";
    shop.compile(source, "t", &["-L.", "-lt", "-Wl,-rpath,$ORIGIN"]);
    let output = run(&mut Command::new(shop.path("t")));
    let smaps = said(&output, 0);
    let (mut of_library, mut copied) = (false, 0);
    for line in smaps.lines() {
        let first = line.split_whitespace().next().unwrap_or_default();
        if !first.ends_with(':') {
            of_library = line.ends_with("libt.so");
        } else if of_library && first == "Anonymous:" {
            copied += line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap();
        }
    }
    assert_eq!(library["private_kib"], copied, "{library:#}\n{smaps}");
}

#[test]
fn remedies_are_applied_to_a_copy_that_still_works() {
    let shop = Workshop::new("f");
    let options = ["-Wl,-z,execstack", "-Wl,-z,now", "-Wl,-rpath,/nowhere:/usr/lib", "-Wl,-soname,libt.so"];
    let path = shop.shared_object(&tables(&shop), "libt.so", &options);
    let original = fs::read(&path).unwrap();
    let rules = "executable-stack,wasteful-rpath,no-relr";
    fs::create_dir(shop.path("fixed")).unwrap();
    let output = folio(["lint", "--json", "--fix", rules, "-o", &shop.text("fixed/libt.so"), &shop.text("libt.so")]);
    let answer = json(&output, 0);
    assert_eq!(fs::read(&path).unwrap(), original);
    let broken = |side: &str| self::rules(&answer[side]).join(" ");
    for rule in rules.split(',') {
        assert!(broken("before").contains(rule) && !broken("after").contains(rule), "{answer:#}");
    }
    let source = "#include <string.h>\nconst char *f(int); \
                  int main(void) { return strcmp(f(7), \"7\") || strcmp(f(-2999), \"2999\"); }";
    shop.compile(source, "t", &["-L.", "-lt", "-Wl,-rpath,$ORIGIN/fixed"]);
    let output = run(&mut Command::new(shop.path("t")));
    said(&output, 0);
    let plan = json(&folio(["explain", "--json", "--library", "libt.so", &shop.text("t")]), 0);
    assert_eq!(plan["library"]["path"], shop.text("fixed/libt.so"));
}

#[test]
fn folders_are_searched_and_the_worst_come_first() {
    let shop = Workshop::new("d");
    fs::create_dir_all(shop.path("a/b")).unwrap();
    shop.shared_object(&tables(&shop), "a/b/heavy.so", &[]);
    shop.shared_object(PLAIN, "a/light.so", &[]);
    shop.compile("int main(void) { return 0; }", "a/program", &[]);
    shop.write("a/text.so", b"INPUT(-lc)\n");
    std::os::unix::fs::symlink("b/heavy.so", shop.path("a/again.so")).unwrap();
    let output = folio(["lint", "--worst", "1", &shop.text("a")]);
    let text = said(&output, 0);
    assert!(text.contains("a/b/heavy.so") && !text.contains("a/light.so"), "{text}");
    assert!(text.contains("\n2 libraries: "), "{text}");
}

#[test]
fn the_rules_are_listed() {
    let output = folio(["lint", "--list-rules"]);
    assert!(said(&output, 0).contains("text-relocations (error)"));
    let answer = json(&folio(["lint", "--list-rules", "--json"]), 0);
    assert_eq!(answer.as_array().unwrap().len(), folio::lint::Rule::ALL.len());
    let unknown = folio(["lint", "--deny", "no-such-rule", "/tmp"]);
    assert_eq!(unknown.status.code(), Some(2));
}
