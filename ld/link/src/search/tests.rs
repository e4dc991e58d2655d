//! The rules against a file system in memory that notes what it is asked.

use std::collections::BTreeMap;

use super::cache::Hwcaps;
use super::cache::tests::new_format;
use super::*;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Node {
    Library,
    SetUserIdLibrary,
    LibraryOf(u32),
    OtherClass,
    OtherMachine,
    Text,
    Errno(i32),
}
use Node::*;

/// Files by path; a directory exists when a file lies in it. What is asked is noted in the words of strace.
#[derive(Default)]
struct Disk {
    nodes: BTreeMap<&'static str, Node>,
    cache: Option<Vec<u8>>,
    calls: Vec<String>,
}

impl Disk {
    fn new(nodes: &[(&'static str, Node)]) -> Self {
        Self { nodes: nodes.iter().copied().collect(), ..Self::default() }
    }

    fn with_cache(mut self, entries: &[(&str, &str)]) -> Self {
        let entries: Vec<_> = entries.iter().map(|&(name, path)| (name, path, 0x303, 0)).collect();
        self.cache = Some(new_format(&entries, &[], 0));
        self
    }

    fn calls(&mut self) -> Vec<String> {
        std::mem::take(&mut self.calls)
    }
}

impl Files for Disk {
    type File = Node;
    type Error = &'static str;

    fn open(&mut self, path: &[u8]) -> Result<Node, OpenError<&'static str>> {
        let path = str::from_utf8(path).unwrap();
        self.calls.push(format!("open {path}"));
        match self.nodes.get(path) {
            None => Err(OpenError::Absent(ENOENT)),
            Some(Errno(errno)) => Err(OpenError::Absent(*errno)),
            Some(OtherClass) => Err(OpenError::OtherClass),
            Some(OtherMachine) => Err(OpenError::OtherMachine),
            Some(Text) => Err(OpenError::Failed("invalid ELF header")),
            Some(&library) => Ok(library),
        }
    }

    fn is_directory(&mut self, path: &[u8]) -> bool {
        let path = str::from_utf8(path).unwrap();
        self.calls.push(format!("stat {path}"));
        let below = format!("{path}/");
        self.nodes.keys().any(|node| node.starts_with(&below))
    }

    fn cache(&mut self) -> Option<&[u8]> {
        self.calls.push("cache".into());
        self.cache.as_deref()
    }

    fn is_set_user_id(&mut self, file: &Node) -> bool {
        *file == SetUserIdLibrary
    }

    fn owner(&mut self, file: &Node) -> u32 {
        if let LibraryOf(user) = *file { user } else { 0 }
    }
}

const SYSTEM: &[&[u8]] = &[b"/lib", b"/usr/lib"];
const PROGRAM: Owner<'_> = Owner { name: b"", origin: Some(b"/opt/bin"), is_executable: true };
const LIBRARY: Owner<'_> = Owner { name: b"/opt/lib/libx.so", origin: Some(b"/opt/lib"), is_executable: false };
const PLAIN: Requester<'_> = Requester { owner: PROGRAM, runpath: None, rpaths: &[], no_default_libraries: false };

fn settings(ld_library_path: &'static str) -> Settings<'static> {
    Settings {
        ld_library_path: ld_library_path.as_bytes(),
        inhibit_cache: false,
        inhibit_rpath: None,
        secure: false,
        program_owner: 0,
        system_directories: SYSTEM,
        lib: b"lib64",
        platform: Some(b"x86_64"),
        machine: &Hwcaps::NONE,
    }
}

fn with_hwcaps(ld_library_path: &'static str) -> Settings<'static> {
    const HWCAPS: Hwcaps = Hwcaps { subdirectories: &[b"x86-64-v3", b"x86-64-v2"], isa_level: 0b111 };
    Settings { machine: &HWCAPS, ..settings(ld_library_path) }
}

type Answer = Result<(String, Rule), SearchError<&'static str>>;

fn answer(found: Result<Found<Node>, SearchError<&'static str>>) -> Answer {
    found.map(|found| (String::from_utf8(found.path).unwrap(), found.rule))
}

fn found(path: &str, rule: Rule) -> Answer {
    Ok((path.into(), rule))
}

fn absent(errno: i32) -> Answer {
    Err(SearchError::NotFound { errno })
}

fn needed(search: &mut Search<'_>, disk: &mut Disk, requester: &Requester<'_>, name: &str) -> Answer {
    answer(search.find(disk, &mut (), requester, Reference::Needed, name.as_bytes()))
}

#[test]
fn rules_have_an_order() {
    let everywhere = ["/rpath/l", "/parent/l", "/env/l", "/runpath/l", "/cached/l", "/lib/l", "/usr/lib/l"]
        .map(|path| (path, Library));
    let mut disk = Disk::new(&everywhere).with_cache(&[("l", "/cached/l")]);
    let mut search = Search::new(settings("/env"), &PROGRAM);
    let own = search.decompose(b"/rpath", &LIBRARY);
    let parent = search.decompose(b"/parent", &PROGRAM);
    let runpath = search.decompose(b"/runpath", &LIBRARY);
    let rpaths = [&own, &parent];
    let old = Requester { owner: LIBRARY, rpaths: &rpaths, ..PLAIN };
    let new = Requester { runpath: Some(&runpath), ..old };
    let mut remove = |path, requester, next: Answer| {
        disk.nodes.remove(path);
        assert_eq!(needed(&mut search.clone(), &mut disk, requester, "l"), next);
        disk.calls()
    };
    assert_eq!(remove("", &old, found("/rpath/l", Rule::Rpath)), ["open /rpath/l"]);
    remove("/rpath/l", &old, found("/parent/l", Rule::Rpath));
    // DT_RUNPATH puts all DT_RPATHs out of force, and comes after LD_LIBRARY_PATH.
    remove("", &new, found("/env/l", Rule::LibraryPath));
    remove("/parent/l", &old, found("/env/l", Rule::LibraryPath));
    let calls = remove("/env/l", &new, found("/runpath/l", Rule::Runpath));
    assert_eq!(calls, ["open /env/l", "stat /env", "open /runpath/l"]);
    remove("/runpath/l", &new, found("/cached/l", Rule::Cache));
    remove("/cached/l", &new, found("/lib/l", Rule::Default));
    remove("/lib/l", &new, found("/usr/lib/l", Rule::Default));
    let calls = remove("/usr/lib/l", &PLAIN, absent(ENOENT));
    assert_eq!(
        calls,
        [
            "open /env/l",
            "stat /env",
            "cache",
            "open /cached/l",
            "open /lib/l",
            "stat /lib",
            "open /usr/lib/l",
            "stat /usr/lib"
        ]
    );
}

/// The names that glibc 2.36 gave its objects, with `/tmp/d` as the directory of the program.
#[test]
fn paths_are_written_as_glibc_writes_them() {
    let program = Owner { origin: Some(b"/tmp/d"), ..PROGRAM };
    for (ld_library_path, file, name) in [
        ("/tmp/d//", "/tmp/d/l", "l"),
        ("d/", "d/l", "l"),
        (":", "cwd", "cwd"),
        (";d", "cwd", "cwd"),
        (";d", "d/l", "l"),
        ("$ORIGIN/d1/", "/tmp/d/d1/l", "l"),
        ("${ORIGIN}/./d2", "/tmp/d/./d2/l", "l"),
        ("/nonexist:rel", "rel/l", "l"),
        ("//tmp//d", "//tmp//d/l", "l"),
        ("/:d", "d/l", "l"),
        ("/", "/l", "l"),
        ("///", "/l", "l"),
        ("$ORIGINx:$LIB/../d:rel", "rel/l", "l"),
        ("$LIB/..", "lib64/../l", "l"),
    ] {
        let mut disk = Disk::new(&[(file, Library)]);
        let mut search = Search::new(settings(ld_library_path), &program);
        assert_eq!(needed(&mut search, &mut disk, &PLAIN, name), found(file, Rule::LibraryPath), "{ld_library_path}");
    }
}

#[test]
fn missing_directories_are_asked_once() {
    let mut disk = Disk::new(&[("/usr/lib/l", Library), ("/usr/lib/m", Library)]);
    let mut search = Search::new(with_hwcaps(""), &PROGRAM);
    assert_eq!(needed(&mut search, &mut disk, &PLAIN, "l"), found("/usr/lib/l", Rule::Default));
    assert_eq!(
        disk.calls(),
        [
            "cache",
            "stat /lib/glibc-hwcaps",
            "open /lib/l",
            "stat /lib",
            "stat /usr/lib/glibc-hwcaps",
            "open /usr/lib/l"
        ]
    );
    assert_eq!(needed(&mut search, &mut disk, &PLAIN, "m"), found("/usr/lib/m", Rule::Default));
    assert_eq!(disk.calls(), ["cache", "open /usr/lib/m"]);
    // The same directory in another list is the same directory.
    let runpath = search.decompose(b"/lib/:/usr/lib///", &PROGRAM);
    needed(&mut search, &mut disk, &Requester { runpath: Some(&runpath), ..PLAIN }, "m").unwrap();
    assert_eq!(disk.calls(), ["open /usr/lib/m"]);
}

#[test]
fn hwcaps_subdirectories_come_first_where_they_exist() {
    let mut disk = Disk::new(&[
        ("/env/glibc-hwcaps/x86-64-v2/l", Library),
        ("/env/glibc-hwcaps/x86-64-v4/l", Library),
        ("/env/l", Library),
        ("/env/m", Library),
    ]);
    let mut search = Search::new(with_hwcaps("/env"), &PROGRAM);
    let v2 = "/env/glibc-hwcaps/x86-64-v2/l";
    assert_eq!(needed(&mut search, &mut disk, &PLAIN, "l"), found(v2, Rule::LibraryPath));
    assert_eq!(
        disk.calls(),
        [
            "stat /env/glibc-hwcaps",
            "open /env/glibc-hwcaps/x86-64-v3/l",
            "stat /env/glibc-hwcaps/x86-64-v3",
            "open /env/glibc-hwcaps/x86-64-v2/l",
        ]
    );
    assert_eq!(needed(&mut search, &mut disk, &PLAIN, "m"), found("/env/m", Rule::LibraryPath));
    assert_eq!(disk.calls(), ["open /env/glibc-hwcaps/x86-64-v2/m", "open /env/m"]);
}

/// A machine that takes long to say what it offers.
#[derive(Debug, Default)]
struct Slow {
    asked: core::cell::Cell<usize>,
}

impl Machine for Slow {
    fn hwcaps(&self) -> Hwcaps<'_> {
        self.asked.set(self.asked.get() + 1);
        Hwcaps { subdirectories: &[b"x86-64-v2"], isa_level: 0b11 }
    }
}

#[test]
fn the_machine_is_asked_where_there_is_something_for_it() {
    let machine = Slow::default();
    let mut disk = Disk::new(&[("/lib/l", Library), ("/lib/c", Library), ("/env/glibc-hwcaps/x86-64-v2/m", Library)]);
    disk.cache = Some(new_format(&[("c", "/lib/c", 0x303, 0)], &[], 0));
    let mut search = Search::new(Settings { machine: &machine, ..settings("") }, &PROGRAM);
    assert_eq!(needed(&mut search, &mut disk, &PLAIN, "l"), found("/lib/l", Rule::Default));
    assert_eq!(needed(&mut search, &mut disk, &PLAIN, "c"), found("/lib/c", Rule::Cache));
    assert_eq!(machine.asked.get(), 0);
    let runpath = search.decompose(b"/env", &PROGRAM);
    let requester = Requester { runpath: Some(&runpath), ..PLAIN };
    let v2 = "/env/glibc-hwcaps/x86-64-v2/m";
    assert_eq!(needed(&mut search, &mut disk, &requester, "m"), found(v2, Rule::Runpath));
    assert_ne!(machine.asked.get(), 0);
}

#[test]
fn relative_directories_are_asked_each_time() {
    let mut disk = Disk::new(&[]);
    let mut search = Search::new(with_hwcaps("rel:"), &PROGRAM);
    for (file, calls) in [
        ("rel/l", &["stat rel/glibc-hwcaps", "open rel/l"][..]),
        ("l", &["stat rel/glibc-hwcaps", "open rel/l", "stat glibc-hwcaps", "open l"]),
        (
            "glibc-hwcaps/x86-64-v2/l",
            &[
                "stat rel/glibc-hwcaps",
                "open rel/l",
                "stat glibc-hwcaps",
                "open glibc-hwcaps/x86-64-v3/l",
                "open glibc-hwcaps/x86-64-v2/l",
            ],
        ),
        ("rel/glibc-hwcaps/x86-64-v3/l", &["stat rel/glibc-hwcaps", "open rel/glibc-hwcaps/x86-64-v3/l"]),
    ] {
        disk.nodes = [(file, Library)].into();
        assert_eq!(needed(&mut search, &mut disk, &PLAIN, "l"), found(file, Rule::LibraryPath));
        assert_eq!(disk.calls(), calls);
    }
}

#[test]
fn unsuitable_files_are_passed_over_in_a_search_and_refused_by_path() {
    let mut disk = Disk::new(&[("/a/l", OtherClass), ("/b/l", OtherMachine), ("/c/l", Library), ("/d/l", Text)]);
    let find = |disk: &mut Disk, path, name| needed(&mut Search::new(settings(path), &PROGRAM), disk, &PLAIN, name);
    assert_eq!(find(&mut disk, "/a:/b:/c", "l"), found("/c/l", Rule::LibraryPath));
    assert_eq!(find(&mut disk, "/a:/b", "l"), Err(SearchError::OtherClass));
    assert_eq!(find(&mut disk, "/b", "l"), absent(ENOENT));
    assert_eq!(find(&mut disk, "", "/a/l"), Err(SearchError::OtherClass));
    assert_eq!(find(&mut disk, "", "/b/l"), absent(ENOENT));
    // A file that is no ELF file ends the search, also where a good one would follow.
    let error = SearchError::Unusable { path: b"/d/l".to_vec(), error: "invalid ELF header" };
    assert_eq!(find(&mut disk, "/d:/c", "l"), Err(error.clone()));
    assert_eq!(find(&mut disk, "", "/d/l"), Err(error));
}

#[test]
fn strange_errors_end_one_list() {
    const EMFILE: i32 = 24;
    for (errno, expected) in [
        (EMFILE, found("/lib/l", Rule::Default)),
        (ENOTDIR, found("/b/l", Rule::LibraryPath)),
        (EACCES, found("/b/l", Rule::LibraryPath)),
    ] {
        let mut disk = Disk::new(&[("/a/l", Errno(errno)), ("/b/l", Library), ("/lib/l", Library)]);
        assert_eq!(needed(&mut Search::new(settings("/a:/b"), &PROGRAM), &mut disk, &PLAIN, "l"), expected);
    }
    let mut disk = Disk::new(&[("/usr/lib/l", Errno(EACCES))]);
    assert_eq!(needed(&mut Search::new(settings(""), &PROGRAM), &mut disk, &PLAIN, "l"), absent(EACCES));
}

#[test]
fn names_with_a_slash_are_paths() {
    let mut disk = Disk::new(&[("./l", Library), ("/opt/bin/d/l", Library), ("$LIBx/l", Library)]);
    let mut search = Search::new(settings("/env"), &PROGRAM);
    assert_eq!(needed(&mut search, &mut disk, &PLAIN, "./l"), found("./l", Rule::Direct));
    assert_eq!(needed(&mut search, &mut disk, &PLAIN, "$ORIGIN/d/l"), found("/opt/bin/d/l", Rule::Direct));
    assert_eq!(needed(&mut search, &mut disk, &PLAIN, "$LIBx/l"), found("$LIBx/l", Rule::Direct));
    assert_eq!(disk.calls(), ["open ./l", "open /opt/bin/d/l", "open $LIBx/l"]);
    let unknown = Requester { owner: Owner { origin: None, ..PROGRAM }, ..PLAIN };
    assert_eq!(needed(&mut search, &mut disk, &unknown, "$ORIGIN/l"), Err(SearchError::EmptySubstitution));
    let opened = search.find(&mut disk, &mut (), &unknown, Reference::Opened, b"$ORIGIN/l");
    assert_eq!(answer(opened), absent(ENOENT));
    assert_eq!(disk.calls(), [""; 0]);
    // Without a slash, dlopen takes the name as it is, and DT_NEEDED does not.
    answer(search.find(&mut disk, &mut (), &PLAIN, Reference::Opened, b"$LIB")).unwrap_err();
    assert_eq!(disk.calls()[0], "open /env/$LIB");
    disk.nodes.insert("/env/lib64", Library);
    let mut search = Search::new(settings("/env"), &PROGRAM);
    assert_eq!(needed(&mut search, &mut disk, &PLAIN, "$LIB"), found("/env/lib64", Rule::LibraryPath));
}

#[test]
fn inhibitions() {
    let mut disk = Disk::new(&[("/r/l", Library), ("/lib/l", Library)]).with_cache(&[("l", "/r/l")]);
    let inhibited = Settings { inhibit_cache: true, ..settings("") };
    assert_eq!(needed(&mut Search::new(inhibited, &PROGRAM), &mut disk, &PLAIN, "l"), found("/lib/l", Rule::Default));
    for (list, program, library) in [
        ("", true, false),
        (":/opt/lib/libx.so", true, true),
        ("/opt/lib/libx.so:", false, true),
        ("libx.so", false, false),
    ] {
        let mut search = Search::new(Settings { inhibit_rpath: Some(list.as_bytes()), ..settings("") }, &PROGRAM);
        assert_eq!(search.decompose(b"/r", &PROGRAM).is_empty(), program, "{list}");
        assert_eq!(search.decompose(b"/r", &LIBRARY).is_empty(), library, "{list}");
    }
}

#[test]
fn no_default_libraries() {
    let own = Requester { no_default_libraries: true, ..PLAIN };
    let mut disk = Disk::new(&[("/lib/l", Library), ("/libx/m", Library), ("/lib/n", Library)])
        .with_cache(&[("n", "/lib/n"), ("m", "/libx/m")]);
    let mut search = Search::new(settings(""), &PROGRAM);
    assert_eq!(needed(&mut search, &mut disk, &own, "l"), absent(ENOENT));
    assert_eq!(needed(&mut search, &mut disk, &own, "m"), found("/libx/m", Rule::Cache));
    assert_eq!(needed(&mut search, &mut disk, &own, "n"), absent(ENOENT));
    assert_eq!(disk.calls(), ["cache", "cache", "open /libx/m", "cache"]);
}

#[test]
fn secure_programs_trust_nobody() {
    let mut disk = Disk::new(&[
        ("/env/l", Library),
        ("/cached/l", SetUserIdLibrary),
        ("/lib/l", Library),
        ("/usr/lib/l", SetUserIdLibrary),
        ("/rpath/m", Library),
    ])
    .with_cache(&[("l", "/cached/l")]);
    let secure = Settings { secure: true, inhibit_rpath: Some(b""), ..settings("/env") };
    let mut search = Search::new(secure, &PROGRAM);
    assert_eq!(needed(&mut search, &mut disk, &PLAIN, "l"), found("/cached/l", Rule::Cache));
    disk.calls();
    let preloaded = search.find(&mut disk, &mut (), &PLAIN, Reference::Preloaded, b"l");
    assert_eq!(answer(preloaded), found("/usr/lib/l", Rule::Default));
    assert_eq!(disk.calls(), ["open /lib/l", "open /usr/lib/l"]);
    // Paths from /etc/ld.so.preload belong to root.
    let preloaded = search.find(&mut disk, &mut (), &PLAIN, Reference::Preloaded, b"/lib/l");
    assert_eq!(answer(preloaded), found("/lib/l", Rule::Direct));
    assert_eq!(needed(&mut search, &mut disk, &PLAIN, "$LIB/l"), Err(SearchError::TokenInSecureProgram));
    // --inhibit-rpath does not count, and the program's origin is not trusted.
    let rpath = search.decompose(b"$ORIGIN/x:/rpath", &PROGRAM);
    assert_eq!(
        needed(&mut search, &mut disk, &Requester { rpaths: &[&rpath], ..PLAIN }, "m"),
        found("/rpath/m", Rule::Rpath)
    );
    assert!(!disk.calls().iter().any(|call| call.contains("/opt")));
}

#[test]
fn secure_programs_load_what_root_or_their_owner_owns() {
    let files =
        [("/rpath/l", LibraryOf(33)), ("/lib/l", Library), ("/rpath/m", LibraryOf(33)), ("/own/n", LibraryOf(7))];
    let load = |secure, reference, name: &str| {
        let mut search = Search::new(Settings { secure, program_owner: 7, ..settings("") }, &PROGRAM);
        let rpath = search.decompose(b"/rpath:/own", &PROGRAM);
        let requester = Requester { rpaths: &[&rpath], ..PLAIN };
        answer(search.find(&mut Disk::new(&files), &mut (), &requester, reference, name.as_bytes()))
    };
    assert_eq!(load(false, Reference::Needed, "l"), found("/rpath/l", Rule::Rpath));
    assert_eq!(load(true, Reference::Needed, "l"), found("/lib/l", Rule::Default));
    assert_eq!(load(true, Reference::Needed, "n"), found("/own/n", Rule::Rpath));
    for reference in [Reference::Needed, Reference::Preloaded] {
        assert_eq!(load(true, reference, "/rpath/m"), absent(EACCES));
    }
    // A path that the program itself opens is its own decision.
    assert_eq!(load(true, Reference::Opened, "/rpath/m"), found("/rpath/m", Rule::Direct));
    assert!(load(true, Reference::Opened, "m").is_err());
}

/// Writes a search down as `LD_DEBUG=libs` shows it.
#[derive(Default)]
struct Log(Vec<String>);

impl Observe for Log {
    fn find(&mut self, name: &[u8]) {
        self.0.push(format!("find {}", name.escape_ascii()));
    }

    fn list(&mut self, rule: Rule, owner: &[u8], directories: &Listing<'_>) {
        let paths: Vec<_> = directories.paths().map(|path| path.escape_ascii().to_string()).collect();
        self.0.push(format!("{rule:?} of {:?}: {}", str::from_utf8(owner).unwrap(), paths.join(":")));
    }

    fn cache(&mut self) {
        self.0.push("cache".into());
    }

    fn trying(&mut self, path: &[u8], _: Rule) -> Redirect {
        self.0.push(format!("trying {}", path.escape_ascii()));
        Redirect::Keep
    }

    fn refused(&mut self, _: &[u8], _: Rule, reason: Refusal) {
        self.0.push(format!("{reason:?}"));
    }

    fn done(&mut self, rule: Option<Rule>) {
        self.0.push(format!("done {rule:?}"));
    }
}

#[test]
fn observers_see_every_step() {
    let mut disk = Disk::new(&[("/r/l", OtherClass), ("/lib/l", Library), ("/r/glibc-hwcaps/x86-64-v2/x", Library)]);
    let mut search = Search::new(with_hwcaps(""), &PROGRAM);
    let runpath = search.decompose(b"/r:/:/s/", &LIBRARY);
    let requester = Requester { owner: LIBRARY, runpath: Some(&runpath), ..PLAIN };
    let mut log = Log::default();
    search.find(&mut disk, &mut log, &requester, Reference::Needed, b"l").unwrap();
    assert_eq!(
        log.0,
        [
            "find l",
            r#"Runpath of "/opt/lib/libx.so": /r:/:/s"#,
            "trying /r/glibc-hwcaps/x86-64-v3/l",
            "Absent(2)",
            "trying /r/glibc-hwcaps/x86-64-v2/l",
            "Absent(2)",
            "trying /r/l",
            "OtherClass",
            "trying /l",
            "Absent(2)",
            "trying /s/l",
            "Absent(2)",
            "cache",
            r#"Default of "": /lib:/usr/lib"#,
            "trying /lib/l",
            "done Some(Default)",
        ]
    );
    log.0.clear();
    search.find(&mut disk, &mut log, &requester, Reference::Needed, b"m").unwrap_err();
    // What is missing is not shown again.
    assert_eq!(log.0[1], r#"Runpath of "/opt/lib/libx.so": /r/glibc-hwcaps/x86-64-v2:/r"#);
    assert_eq!(log.0.last().unwrap(), "done None");
}
