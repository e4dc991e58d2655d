use std::collections::BTreeMap;
use std::process::Command;

use proptest::prelude::*;

use super::*;
use crate::select::file::{installed, table_of};
use crate::tables;

fn table(minor: u16) -> &'static Layout {
    tables::ALL.iter().find(|table| table.version.minor == minor).unwrap()
}

/// What a text gives: the values and the warnings.
fn read<'env>(table: &'static Layout, text: &'env str, aliases: &[(&str, &'env str)]) -> (Values<'env>, Vec<String>) {
    let mut warnings = Vec::new();
    let alias = |name: &str| aliases.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_bytes());
    let values = Values::new(table, Some(text.as_bytes()), alias, false, |warning| warnings.push(warning.to_string()));
    (values, warnings)
}

#[test]
fn defaults_need_no_environment() {
    let nothing = |name: &str| -> Option<&'static [u8]> {
        assert!(name.starts_with("MALLOC_") || name.starts_with("LD_"), "{name} was asked for");
        None
    };
    for table in &tables::ALL {
        let values = Values::new(table, None, nothing, false, |warning| panic!("{warning}"));
        assert_eq!(values.number("glibc.rtld.nns"), Some(4), "{}", table.label);
        assert_eq!(values.number("glibc.rtld.optional_static_tls"), Some(512));
        assert_eq!(values.number("glibc.pthread.rseq"), Some(1));
        assert_eq!(values.number("glibc.pthread.stack_cache_size"), Some(40 << 20));
        assert_eq!(values.number("glibc.no.such"), None);
        assert_eq!(values.string("glibc.cpu.hwcaps"), None);
        let top_pad = if table.version.minor < 37 { 0 } else { 131072 };
        assert_eq!(values.number("glibc.malloc.top_pad"), Some(top_pad));
        for id in 0..table.tunables.len() {
            assert!(!values.is_set(id) && values.by_id(id).is_some());
        }
        assert_eq!((values.by_id(table.tunables.len()), values.is_set(usize::MAX)), (None, false));
    }
}

#[test]
fn names_are_unique_and_defaults_in_bounds() {
    for table in &tables::ALL {
        for (id, tunable) in table.tunables.iter().enumerate() {
            assert_eq!(table.tunables.iter().filter(|other| other.name == tunable.name).count(), 1);
            assert_eq!(Values::defaults(table).id(&tunable.name), Some(id));
            assert!(tunable.min <= tunable.max && tunable.default <= tunable.max, "{}", tunable.name);
        }
    }
}

#[test]
fn lenient_releases_skip_what_is_malformed() {
    let text = "glibc.malloc.check=1x:junk:glibc.rtld.nns=0x8:glibc.rtld.nns=99:glibc.cpu.hwcaps=a=b";
    let (values, warnings) = read(table(36), text, &[]);
    assert_eq!(values.number_if_set("glibc.malloc.check"), Some(1));
    assert_eq!(values.number_if_set("glibc.rtld.nns"), Some(8), "99 is out of bounds");
    assert_eq!(values.string("glibc.cpu.hwcaps"), Some(&b"a=b"[..]));
    assert!(warnings.is_empty());
}

#[test]
fn strict_releases_refuse_a_malformed_text_whole() {
    for minor in [39, 40, 41, 42, 43] {
        for text in ["glibc.rtld.nns=8:", "glibc.rtld.nns=8:junk", "glibc.rtld.nns=8=8", "glibc.rtld.nns=8:a=b=c:d=e"] {
            let (values, warnings) = read(table(minor), text, &[("MALLOC_ARENA_MAX", "3")]);
            assert_eq!(values.number_if_set("glibc.rtld.nns"), None);
            assert_eq!(values.number_if_set("glibc.malloc.arena_max"), Some(3));
            assert_eq!(warnings, [format!("WARNING: ld.so: invalid GLIBC_TUNABLES `{text}': ignored.")]);
        }
        let (values, warnings) = read(table(minor), "::junk:glibc.rtld.nns=7:glibc.rtld.nns=8x", &[]);
        let kept = (minor == 39).then_some(7);
        assert_eq!(values.number_if_set("glibc.rtld.nns"), kept, "2.40 and later read the last one alone");
        let warning = "WARNING: ld.so: invalid GLIBC_TUNABLES value `8x' for option `glibc.rtld.nns': ignored.";
        assert_eq!(warnings, [warning]);
    }
}

#[test]
fn an_alias_counts_where_the_name_is_not_set() {
    for table in &tables::ALL {
        let aliases = [("MALLOC_ARENA_MAX", "5"), ("MALLOC_CHECK_", "2"), ("MALLOC_PERTURB_", "1000")];
        let (values, _) = read(table, "glibc.malloc.arena_max=2", &aliases);
        assert_eq!(values.number_if_set("glibc.malloc.arena_max"), Some(2));
        assert_eq!(values.number_if_set("glibc.malloc.check"), Some(2));
        assert_eq!(values.number_if_set("glibc.malloc.perturb"), None, "out of bounds");
    }
    let malformed = [("MALLOC_ARENA_MAX", "many")];
    assert!(read(table(36), "", &malformed).1.is_empty());
    assert!(read(table(39), "", &malformed).1.is_empty());
    assert_eq!(read(table(40), "", &malformed).1.len(), 1);
}

#[test]
fn a_secure_process_has_the_defaults() {
    for table in &tables::ALL {
        let never = |_: &str| -> Option<&'static [u8]> { panic!("the environment was read") };
        let values = Values::new(table, Some(b"glibc.rtld.nns=8"), never, true, |warning| panic!("{warning}"));
        assert!(values.secure() && values.number("glibc.rtld.nns") == Some(4));
    }
    let (values, _) = read(table(43), "glibc.rtld.nns=8:glibc.rtld.enable_secure=1", &[("MALLOC_CHECK_", "3")]);
    assert!(values.secure());
    assert_eq!(values.number("glibc.rtld.nns"), Some(4));
    assert_eq!(values.number("glibc.malloc.check"), Some(0));
}

#[test]
fn the_processor_sees_what_the_user_set() {
    let text = "glibc.cpu.x86_rep_movsb_threshold=4096:glibc.cpu.hwcaps=-AVX2:glibc.cpu.x86_rep_stosb_threshold=0";
    let (values, _) = read(table(41), text, &[("LD_PREFER_MAP_32BIT_EXEC", "1")]);
    assert_eq!(values.size(CpuTunable::RepMovsbThreshold), Some(4096));
    assert_eq!(values.size(CpuTunable::RepStosbThreshold), None, "out of bounds");
    assert_eq!(values.hwcaps(), Some(&b"-AVX2"[..]));
    assert!(values.prefer_map_32bit_exec());
    let values = Values::defaults(table(41));
    assert!(values.size(CpuTunable::RepStosbThreshold).is_none() && !values.prefer_map_32bit_exec());
}

/// `GLIBC_TUNABLES`, and aliases with their values.
type Setting = (Option<&'static str>, &'static [(&'static str, &'static str)]);

/// What is compared with glibc's own loader.
const SETTINGS: &[Setting] = &[
    (None, &[]),
    (Some(""), &[]),
    (Some("glibc.malloc.check=1:glibc.rtld.nns=0x8:glibc.pthread.mutex_spin_count=077"), &[]),
    (Some("glibc.malloc.check=1:glibc.malloc.check=2"), &[("MALLOC_CHECK_", "3")]),
    (Some("glibc.malloc.check=9:glibc.malloc.perturb=-1:glibc.gmon.minarcs=49"), &[("MALLOC_CHECK_", "3")]),
    (Some("glibc.malloc.check=4294967297"), &[]),
    (Some("glibc.malloc.arena_max=18446744073709551616:glibc.malloc.arena_test=-1"), &[]),
    (Some("glibc.malloc.arena_max= \t+12:glibc.malloc.arena_test=08:glibc.malloc.top_pad=0x"), &[]),
    (Some("glibc.malloc.check=1x:glibc.rtld.nns=3"), &[]),
    (Some("glibc.malloc.check=:glibc.malloc.perturb=-:glibc.rtld.nns=+"), &[]),
    (Some("glibc.malloc.check=1:"), &[]),
    (Some(":::glibc.malloc.check=1"), &[]),
    (Some("junk:glibc.malloc.check=1"), &[]),
    (Some("glibc.malloc.check=1:junk"), &[]),
    (Some("glibc.malloc.check=1=2:glibc.rtld.nns=5"), &[]),
    (Some("glibc.cpu.hwcaps=-AVX2,-AVX512F:glibc.cpu.x86_shstk=on:glibc.unknown.name=1"), &[]),
    (Some("glibc.cpu.hwcaps=:glibc.rtld.dynamic_sort=1"), &[]),
    (Some("glibc.rtld.nns=5:glibc.rtld.enable_secure=1"), &[("MALLOC_ARENA_MAX", "7")]),
    (Some("glibc.rtld.nns=5:glibc.rtld.enable_secure=1y"), &[("MALLOC_ARENA_MAX", "7")]),
    (None, &[("MALLOC_ARENA_MAX", "7"), ("MALLOC_TOP_PAD_", "0x1000"), ("MALLOC_MMAP_MAX_", "x")]),
    (None, &[("MALLOC_TRIM_THRESHOLD_", ""), ("MALLOC_PERTURB_", "300"), ("LD_HWCAP_MASK", "4")]),
    (Some("glibc.mem.decorate_maps=1:glibc.rtld.optional_static_tls=1024:glibc.pthread.rseq=0"), &[]),
];

/// Values and warnings are those of the installed glibc's loader.
#[test]
fn agrees_with_list_tunables() {
    let mut compared = 0;
    for glibc in installed() {
        let Some(table) = table_of(&glibc) else { continue };
        for (text, aliases) in SETTINGS {
            let mut command = Command::new(&glibc.loader);
            command.arg("--list-tunables").env_clear().envs(aliases.iter().copied());
            command.envs(text.map(|text| ("GLIBC_TUNABLES", text)));
            let output = command.output().unwrap();
            assert!(output.status.success(), "{}: {output:?}", glibc.loader.display());
            let (stdout, stderr) =
                (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());

            let mut warnings = Vec::new();
            let alias = |name: &str| aliases.iter().find(|(known, _)| *known == name).map(|(_, text)| text.as_bytes());
            let warn = |warning: Warning| warnings.push(warning.to_string());
            let values = Values::new(table, text.map(str::as_bytes), alias, false, warn);
            assert_eq!(warnings, stderr.lines().collect::<Vec<_>>(), "{}: {text:?} {aliases:?}", table.label);

            let mut listed: BTreeMap<&str, &str> = stdout.lines().filter_map(|line| line.split_once(':')).collect();
            for (id, tunable) in table.tunables.iter().enumerate() {
                let expected =
                    listed.remove(&*tunable.name).unwrap_or_else(|| panic!("{} is not listed", tunable.name));
                // The loader has put what it found out about the processor over these.
                if tunable.name.starts_with("glibc.cpu.x86_") && tunable.kind == TunableKind::Size {
                    continue;
                }
                let ours = listing(tunable, values.by_id(id).unwrap());
                assert_eq!(ours, expected.trim_start(), "{} {}: {text:?} {aliases:?}", table.label, tunable.name);
                compared += 1;
            }
            assert!(listed.is_empty(), "not in the table: {listed:?}");
        }
    }
    println!("compared {compared} values");
}

/// A value as `--list-tunables` prints it.
fn listing(tunable: &Tunable, value: Value) -> String {
    match (tunable.kind, value) {
        (TunableKind::Int32, Value::Number(number)) => {
            format!("{} (min: {}, max: {})", number as i32, tunable.min as i32, tunable.max as i32)
        }
        (_, Value::Number(number)) => format!("{number:#x} (min: {:#x}, max: {:#x})", tunable.min, tunable.max),
        (_, Value::String(text)) => String::from_utf8_lossy(text.unwrap_or_default()).into_owned(),
    }
}

proptest! {
    /// Any text gives values within their bounds, and no panic.
    #[test]
    fn reading_is_total(text: Vec<u8>, alias: Vec<u8>, which in 0..tables::ALL.len(), secure: bool) {
        let table = &tables::ALL[which];
        let values = Values::new(table, Some(&text), |_| Some(&alias[..]), secure, |warning| drop(warning.to_string()));
        check_bounds(&values);
    }

    /// The same, for texts that come close to what is meant.
    #[test]
    fn close_texts_stay_in_bounds(
        text in "((glibc\\.(malloc\\.check|rtld\\.nns|cpu\\.hwcaps|rtld\\.enable_secure|gmon\\.minarcs)|x)(=|)[-+ ]?(0x|0|)[0-9a-f]{0,22}(:|=|)){0,6}",
        which in 0..tables::ALL.len(),
    ) {
        let values = read(&tables::ALL[which], &text, &[]).0;
        check_bounds(&values);
    }
}

fn check_bounds(values: &Values) {
    for (id, tunable) in values.layout.tunables.iter().enumerate() {
        match (tunable.kind, values.by_id(id).unwrap()) {
            (TunableKind::String, Value::Number(_)) => panic!("{} is a string", tunable.name),
            (_, Value::Number(_)) if !values.is_set(id) => {}
            (TunableKind::Int32, Value::Number(number)) => {
                assert!((tunable.min as i64..=tunable.max as i64).contains(&(number as i64)));
            }
            (_, Value::Number(number)) => assert!((tunable.min..=tunable.max).contains(&number)),
            (_, Value::String(_)) => assert_eq!(tunable.kind, TunableKind::String),
        }
    }
}
