//! `folio explain`; that it agrees with the loader is a test of whole programs.

use crate::workshop::{Workshop, folio, json, said};

#[test]
fn files_are_listed_with_the_rule_that_found_them() {
    let shop = Workshop::new("e");
    shop.shared_object("int f(void) { return 1; }", "libf.so", &[]);
    let source = "int f(void); int main(void) { return f(); }";
    shop.compile(source, "t", &["-L.", "-lf", "-Wl,-rpath,/nowhere:$ORIGIN"]);
    let answer = json(&folio(["explain", "--json", &shop.text("t")]), 0);
    let object = |name: &str| {
        let objects = answer["objects"].as_array().unwrap();
        objects.iter().find(|object| object["name"] == name).unwrap_or_else(|| panic!("{name}: {answer:#}")).clone()
    };
    let library = object("libf.so");
    assert_eq!((&library["found_by"], &library["tried_in_vain"]), (&"DT_RUNPATH".into(), &1.into()), "{library}");
    assert_eq!(library["needed_by"], serde_json::json!(["t"]));
    assert_eq!(object("libc.so.6")["found_by"], "ld.so.cache");
    let order: Vec<&str> =
        answer["initialization"].as_array().unwrap().iter().map(|step| step["path"].as_str().unwrap()).collect();
    assert_eq!(order.last(), Some(&shop.text("t").as_str()));
    let text = folio(["explain", &shop.text("t")]);
    assert!(said(&text, 0).contains("/nowhere/libf.so  (DT_RUNPATH): No such file or directory"), "{text:?}");
}

#[test]
fn a_symbol_is_told_with_all_its_candidates() {
    let shop = Workshop::new("y");
    shop.shared_object(
        "__attribute__((weak)) int who(void) { return 1; } int a(void) { return who(); }",
        "liba.so",
        &[],
    );
    shop.shared_object("int who(void) { return 2; }", "libb.so", &[]);
    let source = "int a(void); int who(void); int main(void) { return a() + who(); }";
    shop.compile(source, "t", &["-L.", "-Wl,--no-as-needed", "-la", "-lb", "-Wl,-rpath,$ORIGIN"]);
    let answer = json(&folio(["explain", "--json", "--symbol", "who", &shop.text("t")]), 0);
    let lookup = &answer["symbol"]["lookups"][0];
    assert_eq!(lookup["winner"], shop.text("liba.so"), "the first wins, weak or not");
    assert!(lookup["note"].as_str().unwrap().contains("LD_DYNAMIC_WEAK"), "{lookup}");
    let verdicts: Vec<&str> = lookup["candidates"]
        .as_array()
        .unwrap()
        .iter()
        .map(|candidate| candidate["verdict"].as_str().unwrap())
        .collect();
    assert_eq!(verdicts, ["undefined", "wins", "comes-later"]);
    assert_eq!(answer["symbol"]["references"].as_array().unwrap().len(), 2);

    let text = folio(["explain", "--symbol", "nobody_knows_this", &shop.text("t")]);
    assert!(String::from_utf8_lossy(&text.stderr).contains("no object of"), "{text:?}");
}

#[test]
fn interposition_and_another_environment_are_shown() {
    let shop = Workshop::new("w");
    shop.shared_object("int who(void) { return 1; } int a(void) { return who(); }", "liba.so", &[]);
    shop.shared_object("int who(void) { return 2; }", "libb.so", &[]);
    shop.compile("int a(void); int main(void) { return a(); }", "t", &["-L.", "-la", "-Wl,-rpath,$ORIGIN"]);
    let preload = format!("LD_PRELOAD={}", shop.text("libb.so"));
    let answer = json(&folio(["explain", "--json", "--with", &preload, &shop.text("t")]), 0);
    let change = &answer["change"];
    assert_eq!(change["files"][0]["after"], shop.text("libb.so"), "{change:#}");
    let binding = &change["bindings"][0];
    assert_eq!((&binding["symbol"], &binding["requester"]), (&"who".into(), &"liba.so".into()), "{change:#}");
    assert_eq!((&binding["before"], &binding["after"]), (&shop.text("liba.so").into(), &shop.text("libb.so").into()));
    let refused = folio(["explain", "--with", "PATH=/", &shop.text("t")]);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("neither LD_LIBRARY_PATH"), "{refused:?}");
}

#[test]
fn all_that_is_missing_is_named_with_the_nearest_thing() {
    let shop = Workshop::new("m");
    shop.write("v.map", b"V_1.0 { global: f; }; V_1.1 { global: g; } V_1.0;");
    let versioned = ["-Wl,--version-script=v.map", "-Wl,-soname,libv.so.1"];
    shop.shared_object("int f(void) { return 1; } int g(void) { return 2; }", "libv.so.1", &versioned);
    shop.shared_object("int x(void) { return 1; }", "libgone.so.3", &["-Wl,-soname,libgone.so.3"]);
    let source = "int f(void); int g(void); int x(void); int main(void) { return f() + g() + x(); }";
    shop.compile(source, "t", &["-L.", "-l:libv.so.1", "-l:libgone.so.3", "-Wl,-rpath,$ORIGIN"]);
    std::fs::rename(shop.path("libgone.so.3"), shop.path("libgone.so.2")).unwrap();
    shop.write("v.map", b"V_1.0 { global: f; ff_old; };");
    shop.shared_object("int f(void) { return 1; } int ff_old(void) { return 1; }", "libv.so.1", &versioned);

    let answer = json(&folio(["explain", "--json", &shop.text("t")]), 1);
    let missing = &answer["missing"];
    assert_eq!(missing["libraries"][0]["name"], "libgone.so.3", "{missing:#}");
    assert_eq!(missing["libraries"][0]["nearest"][0], shop.text("libgone.so.2"), "{missing:#}");
    assert_eq!(missing["versions"][0]["name"], "V_1.1");
    assert!(missing["versions"][0]["nearest"][0].as_str().unwrap().starts_with("V_1.0 in "), "{missing:#}");
    let symbols: Vec<&str> =
        missing["symbols"].as_array().unwrap().iter().map(|symbol| symbol["name"].as_str().unwrap()).collect();
    assert!(symbols.contains(&"g@V_1.1") && symbols.contains(&"x"), "{missing:#}");
    let text = folio(["explain", &shop.text("t")]);
    assert!(said(&text, 1).contains("nearest: "), "{text:?}");
}
