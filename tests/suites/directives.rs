//! The parser of guest directives.

use folio_tests::directives::{Directives, Launch, Misread, Mode, Step, Way};

#[test]
fn defaults() {
    let directives = Directives::parse("int main(void) { return 0; }").expect("no directives is fine");
    assert_eq!(directives.steps, [Step::Program { flags: String::new() }]);
    assert_eq!(directives.modes, [Mode::Pie]);
    assert_eq!(directives.ways, [Way::Interp, Way::Patchelf, Way::Direct]);
    assert_eq!(directives.launches, [Launch::default()]);
    assert_eq!(directives.status, 0);
}

#[test]
fn steps_keep_their_order() {
    let source = "// A subject.\n//#Library: sub/liba.so: -Wl,-rpath,'$ORIGIN'\n//#Shell: ln -s a b\n//#Program: -L.\n";
    let directives = Directives::parse(source).expect("well formed");
    assert_eq!(
        directives.steps,
        [
            Step::Library { path: "sub/liba.so".into(), flags: "-Wl,-rpath,'$ORIGIN'".into() },
            Step::Shell("ln -s a b".into()),
            Step::Program { flags: "-L.".into() },
        ]
    );
}

#[test]
fn launches_split_environment_from_words() {
    let source = "//#Env: A=1\n//#Run: B=2 one K=V\n//#Loader: --argv0 x {program}\n//#Mode: pie nopie\n";
    let directives = Directives::parse(source).expect("well formed");
    let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    assert_eq!(directives.launches[0].environment, [pair("A", "1"), pair("B", "2")]);
    assert_eq!(directives.launches[0].words, ["one", "K=V"]);
    assert!(directives.launches[1].loader);
    assert_eq!(directives.launches[1].words, ["--argv0", "x", "{program}"]);
    assert_eq!(directives.modes, [Mode::Pie, Mode::NoPie]);
}

#[test]
fn code_ends_the_directives() {
    let directives = Directives::parse("int x;\n//#Expect-status: 3\n").expect("well formed");
    assert_eq!(directives.status, 0);
}

#[test]
fn what_cannot_be_understood_is_named() {
    let misread = Directives::parse("//\n//#Mode: pie sideways\n");
    assert_eq!(misread, Err(Misread { line: 2, problem: "unknown word \"sideways\"".into() }));
    assert!(Directives::parse("//#Colour: red\n").is_err());
    assert!(Directives::parse("//#Skip:\n").is_err());
}
