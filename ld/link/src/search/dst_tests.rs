use proptest::prelude::*;

use super::*;

const TRUSTED: &[&[u8]] = &[b"/lib", b"/usr/lib"];
const TOKENS: Tokens<'_> =
    Tokens { origin: Some(b"/opt/app/bin"), lib: b"lib/x86_64-linux-gnu", platform: Some(b"haswell"), secure: None };

fn expand(tokens: &Tokens<'_>, input: &str) -> Option<String> {
    tokens.expand(input.as_bytes()).map(|text| String::from_utf8(text.into_owned()).unwrap())
}

#[test]
fn tokens_with_and_without_braces() {
    for (input, expected) in [
        ("$ORIGIN/../lib", "/opt/app/bin/../lib"),
        ("${ORIGIN}/../lib", "/opt/app/bin/../lib"),
        ("/usr/$LIB/x", "/usr/lib/x86_64-linux-gnu/x"),
        ("/x/${PLATFORM}", "/x/haswell"),
        ("a${LIB}b", "alib/x86_64-linux-gnub"),
        ("$LIB$LIB", "lib/x86_64-linux-gnulib/x86_64-linux-gnu"),
        ("$LIB-x", "lib/x86_64-linux-gnu-x"),
        ("", ""),
    ] {
        assert_eq!(expand(&TOKENS, input).as_deref(), Some(expected), "{input}");
    }
}

#[test]
fn other_dollars_are_left_alone() {
    for input in
        ["$", "$$", "a$", "$LIBRARY", "$ORIGIN_", "$ORIGIN2", "${ORIGIN", "${ORIGINS}", "${ LIB}", "$HOME/x", "$origin"]
    {
        assert_eq!(expand(&TOKENS, input).as_deref(), Some(input), "{input}");
        assert!(!contains_token(input.as_bytes()));
    }
    assert_eq!(expand(&TOKENS, "$$LIB").as_deref(), Some("$lib/x86_64-linux-gnu"));
}

#[test]
fn tokens_without_value_make_the_string_useless() {
    let tokens = Tokens { origin: None, platform: None, ..TOKENS };
    assert_eq!(expand(&tokens, "$ORIGIN/x"), None);
    assert_eq!(expand(&tokens, "/x/$PLATFORM"), None);
    assert_eq!(expand(&tokens, "/$LIB").as_deref(), Some("/lib/x86_64-linux-gnu"));
    assert_eq!(expand(&Tokens { lib: b"", ..TOKENS }, "$LIB"), None);
}

#[test]
fn secure_programs_may_name_origin_first_only() {
    let secure = Tokens { secure: Some(Trust::Library), ..TOKENS };
    assert_eq!(expand(&secure, "$ORIGIN").as_deref(), Some("/opt/app/bin"));
    assert_eq!(expand(&secure, "${ORIGIN}/x").as_deref(), Some("/opt/app/bin/x"));
    for input in ["/$ORIGIN", "$ORIGIN-x", "x/$ORIGIN/", "$ORIGIN/$ORIGIN"] {
        assert_eq!(expand(&secure, input), None, "{input}");
    }
    assert_eq!(expand(&secure, "/x/$LIB").as_deref(), Some("/x/lib/x86_64-linux-gnu"));
}

#[test]
fn secure_executables_stay_in_trusted_directories() {
    let within = |origin: &'static str, input: &str| {
        let secure = Some(Trust::Within(TRUSTED));
        expand(&Tokens { origin: Some(origin.as_bytes()), secure, ..TOKENS }, input).is_some()
    };
    assert!(within("/usr/lib", "$ORIGIN/app"));
    assert!(within("/usr/lib/app/bin", "$ORIGIN/../priv"));
    assert!(within("/usr/bin", "$ORIGIN/../lib"));
    assert!(within("/usr/bin", "$ORIGIN/.././/lib/./app"));
    assert!(!within("/usr/bin", "$ORIGIN/../libevil"));
    assert!(!within("/usr/lib", "$ORIGIN/../../tmp"));
    assert!(!within("/tmp", "$ORIGIN/lib"));
    assert!(!within("lib", "$ORIGIN/../lib"));
    // Without $ORIGIN the author of the program is trusted.
    assert!(within("/tmp", "/opt/$LIB"));
}

#[test]
fn origin_is_the_directory() {
    for (path, origin) in [("/usr/lib/liba.so", "/usr/lib"), ("/liba.so", "/"), ("/a//b", "/a/"), ("b", "")] {
        assert_eq!(origin_of(path.as_bytes()), origin.as_bytes());
    }
}

proptest! {
    #[test]
    fn expansion_is_total(input in "([$]|[{]|[}]|ORIGIN|LIB|PLATFORM|/|[.][.]|[a-z_])*", which in 0..4) {
        let secure = [None, Some(Trust::Library), Some(Trust::Within(TRUSTED)), None][which as usize];
        let tokens = Tokens { secure, origin: (which != 3).then_some(b"/usr/lib"), ..TOKENS };
        let expanded = tokens.expand(input.as_bytes());
        if !contains_token(input.as_bytes()) {
            prop_assert_eq!(expanded.as_deref(), Some(input.as_bytes()));
        } else if let Some(text) = expanded {
            prop_assert!(!text.is_empty());
        }
    }

    #[test]
    fn any_bytes_are_taken(input in prop::collection::vec(any::<u8>(), 0..64)) {
        let _ = TOKENS.expand(&input);
        let _ = Tokens { secure: Some(Trust::Within(TRUSTED)), ..TOKENS }.expand(&input);
    }
}
