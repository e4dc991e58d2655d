//! A build gives the same bytes wherever it is made: in another folder, for another user, with another cargo's home.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Everything that `cargo xtask build` finishes, by its place below `target/folio`.
type Files = BTreeMap<PathBuf, Vec<u8>>;

#[test]
#[ignore = "builds everything once more: cargo xtask test --all"]
fn builds_in_two_places_are_the_same() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let place = here.join("target/reproducible");
    if place.exists() {
        fs::remove_dir_all(&place).unwrap();
    }
    let (there, home) = (place.join("in/another/folder"), place.join("home"));
    copy_sources(here, &there);
    copy_registry(&home.join("cargo"));
    let mut first = Command::new(env!("CARGO_BIN_EXE_xtask"));
    let mut second = cargo();
    second.args(["xtask", "build"]).current_dir(&there);
    second.env("HOME", &home).env("CARGO_HOME", home.join("cargo")).env("CARGO_NET_OFFLINE", "true");
    for variable in ["CARGO_TARGET_DIR", "CARGO_BUILD_TARGET_DIR"] {
        second.env_remove(variable);
    }
    for build in [first.arg("build"), &mut second] {
        let output = build.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    let (made_here, made_there) = (built(here), built(&there));
    assert!(made_here.contains_key(Path::new("ld-folio.so.1")) && made_here.contains_key(Path::new("folio")));
    assert!(made_here.keys().eq(made_there.keys()), "{:?}\n{:?}", made_here.keys(), made_there.keys());
    for (file, bytes) in &made_here {
        assert!(*bytes == made_there[file], "{} differs, and is left in {}", file.display(), there.display());
    }
    fs::remove_dir_all(place).unwrap();
}

/// The cargo of this build; rustup, if it is there, is told where it lives.
fn cargo() -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").map_or_else(|| "cargo".into(), PathBuf::from));
    if std::env::var_os("RUSTUP_HOME").is_none() {
        cargo.env("RUSTUP_HOME", Path::new(&std::env::var_os("HOME").unwrap()).join(".rustup"));
    }
    cargo
}

/// The files that belong to the repository, or are about to, as they are now.
fn copy_sources(from: &Path, to: &Path) {
    let listed = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(from)
        .output()
        .unwrap();
    assert!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
    for file in String::from_utf8(listed.stdout).unwrap().split_terminator('\0') {
        let copy = to.join(file);
        fs::create_dir_all(copy.parent().unwrap()).unwrap();
        fs::copy(from.join(file), copy).unwrap();
    }
}

/// A cargo's home that knows the crates that this one has downloaded, and unpacks them for itself.
fn copy_registry(home: &Path) {
    let own = std::env::var_os("CARGO_HOME")
        .map_or_else(|| PathBuf::from(std::env::var_os("HOME").unwrap()).join(".cargo"), PathBuf::from);
    fs::create_dir_all(home.join("registry")).unwrap();
    for part in ["registry/index", "registry/cache", "config.toml"] {
        if own.join(part).exists() {
            symlink(own.join(part), home.join(part)).unwrap();
        }
    }
}

fn built(root: &Path) -> Files {
    fn collect(folder: &Path, below: &Path, files: &mut Files) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => collect(&path, below, files),
                false => drop(files.insert(path.strip_prefix(below).unwrap().to_owned(), fs::read(&path).unwrap())),
            }
        }
    }
    let (folder, mut files) = (root.join("target/folio"), Files::new());
    collect(&folder, &folder, &mut files);
    files
}
