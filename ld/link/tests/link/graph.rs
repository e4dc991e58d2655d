//! Which files make up a process, in which order, and who is told of those that are missing.

use std::collections::BTreeMap;

use folio_elf::dynamic::DF_1_PIE;
use folio_elf::{HeaderError, Image, Vaddr};
use folio_link::graph::{Loader, Source};
use folio_link::object::Identity;
use folio_link::placement::{Placement, PlacementError};
use folio_link::search::cache::Hwcaps;
use folio_link::search::{Files, OpenError, Owner, Reference, Search, Settings};
use folio_link::{Errno, Error, Kind, ObjectId, Objects, Problem};

use crate::builder::{Builder, executable, shared_object};

/// A file by its inode, or what comes of opening or mapping it.
#[allow(clippy::large_enum_variant, reason = "there are a few in each test")]
enum Node {
    Library(u64, Builder),
    Refused(Problem),
    OtherClass,
    Unmappable(Problem),
}
use Node::*;

/// Files in memory, which note what is done with them.
#[derive(Default)]
struct Disk {
    nodes: BTreeMap<&'static str, Node>,
    calls: Vec<String>,
}

impl Disk {
    fn node(&self, path: &[u8]) -> Option<&Node> {
        self.nodes.get(str::from_utf8(path).unwrap())
    }
}

impl Files for Disk {
    type File = Vec<u8>;
    type Error = Problem;

    fn open(&mut self, path: &[u8]) -> Result<Vec<u8>, OpenError<Problem>> {
        self.calls.push(format!("open {}", path.escape_ascii()));
        match self.node(path) {
            None => Err(OpenError::Absent(2)),
            Some(Refused(problem)) => Err(OpenError::Failed(problem.clone())),
            Some(OtherClass) => Err(OpenError::OtherClass),
            Some(_) => Ok(path.to_vec()),
        }
    }

    fn is_directory(&mut self, _: &[u8]) -> bool {
        true
    }

    fn cache(&mut self) -> Option<&[u8]> {
        None
    }

    fn is_set_user_id(&mut self, _: &Vec<u8>) -> bool {
        false
    }

    fn owner(&mut self, _: &Vec<u8>) -> u32 {
        0
    }
}

impl Source<'static> for Disk {
    fn identity(&self, path: &Vec<u8>) -> Identity {
        let Some(Library(inode, _)) = self.node(path) else { return Identity { device: 1, inode: u64::MAX } };
        Identity { device: 1, inode: *inode }
    }

    fn map(&mut self, path: Vec<u8>) -> Result<(Placement, Image<'static>), Problem> {
        self.calls.push(format!("map {}", path.escape_ascii()));
        match self.node(&path) {
            Some(Library(_, builder)) => Ok(builder.parts()),
            Some(Unmappable(problem)) => Err(problem.clone()),
            _ => unreachable!("only what was opened is mapped"),
        }
    }

    fn unmap(&mut self, start: Vaddr, span: u64, _: Image<'static>) {
        self.calls.push(format!("unmap {:#x} {span:#x}", start.0));
    }

    fn origin(&mut self, path: &[u8]) -> Vec<u8> {
        folio_link::object::directory_of(path).to_vec()
    }
}

/// A namespace with a program.
struct Process {
    objects: Objects<'static>,
    members: Vec<ObjectId>,
    search: Search<'static>,
    disk: Disk,
    executable: ObjectId,
    interpreter: Option<ObjectId>,
    /// Place and sentence of each error.
    errors: Vec<(usize, String)>,
}

impl Process {
    fn new(program: Builder, files: Vec<(&'static str, Node)>) -> Process {
        let mut objects = Objects::new();
        let executable = objects.insert(Builder { kind: Some(Kind::Executable), ..program }.object());
        let settings = Settings {
            ld_library_path: b"",
            inhibit_cache: false,
            inhibit_rpath: None,
            secure: false,
            program_owner: 0,
            system_directories: &[b"/lib"],
            lib: b"lib",
            platform: None,
            machine: &Hwcaps::NONE,
        };
        let owner = Owner { name: b"", origin: Some(b"/opt"), is_executable: true };
        Process {
            objects,
            members: vec![executable],
            search: Search::new(settings, &owner),
            disk: Disk { nodes: files.into_iter().collect(), calls: Vec::new() },
            executable,
            interpreter: None,
            errors: Vec::new(),
        }
    }

    fn loader(&mut self) -> Loader<'_, 'static, Disk, ()> {
        // An observer without a size has no place in memory that matters.
        let observe = Box::leak(Box::new(()));
        Loader {
            objects: &mut self.objects,
            members: &mut self.members,
            search: &mut self.search,
            source: &mut self.disk,
            observe,
            executable: self.executable,
            interpreter: self.interpreter,
            program: b"./program",
        }
    }

    /// Paths of everything that `roots` need.
    fn closure(&mut self, roots: &[ObjectId]) -> Vec<String> {
        let mut errors = Vec::new();
        let closure = self.loader().closure(roots, &mut |missing| {
            if !missing.is_optional {
                errors.push((missing.place, missing.error.to_string()));
            }
        });
        self.errors.extend(errors);
        closure.iter().map(|&id| self.path(id)).collect()
    }

    fn start(&mut self) -> Vec<String> {
        self.closure(&[self.executable])
    }

    fn open(&mut self, name: &str) -> Result<ObjectId, Error> {
        self.loader().load(name.as_bytes(), None, Reference::Opened)
    }

    fn path(&self, id: ObjectId) -> String {
        String::from_utf8(self.objects[id].path.clone()).unwrap()
    }
}

fn program(needed: &[&'static str]) -> Builder {
    Builder { needed: needed.to_vec(), ..executable(&[]) }
}

/// A library that needs others.
fn needs(inode: u64, needed: &[&'static str]) -> Node {
    Library(inode, Builder { needed: needed.to_vec(), ..shared_object("", &[]) })
}

#[test]
fn dependencies_are_met_breadth_first_and_once() {
    let files = vec![
        ("/lib/a", needs(1, &["c"])),
        ("/lib/b", needs(2, &["d", "c"])),
        ("/lib/c", needs(3, &["b", "a"])),
        ("/lib/d", needs(4, &["d"])),
    ];
    let mut process = Process::new(program(&["a", "b", "a"]), files);
    assert_eq!(process.start(), ["", "/lib/a", "/lib/b", "/lib/c", "/lib/d"]);
    assert_eq!(process.errors, []);
    let needed = |process: &Process, id: ObjectId| -> Vec<String> {
        process.objects[id].needed.iter().map(|&id| process.path(id)).collect()
    };
    assert_eq!(needed(&process, process.executable), ["/lib/a", "/lib/b"], "each direct dependency once");
    let b = process.members[2];
    assert_eq!(needed(&process, b), ["/lib/d", "/lib/c"]);
    assert_eq!(process.objects[b].loader, Some(process.executable));
    let maps = process.disk.calls.iter().filter(|call| call.starts_with("map")).count();
    assert_eq!(maps, 4);
    // A second walk loads nothing and gives the same.
    process.disk.calls.clear();
    assert_eq!(process.start(), ["", "/lib/a", "/lib/b", "/lib/c", "/lib/d"]);
    assert!(process.disk.calls.is_empty());
}

/// A library that is a filter of others.
fn filter(inode: u64, needed: &[&'static str], filters: &[&'static str], auxiliaries: &[&'static str]) -> Node {
    let (needed, filters, auxiliaries) = (needed.to_vec(), filters.to_vec(), auxiliaries.to_vec());
    Library(inode, Builder { needed, filters, auxiliaries, ..shared_object("", &[]) })
}

#[test]
fn filtees_stand_before_their_filters() {
    let files = vec![
        ("/lib/a", filter(1, &["n"], &["f"], &["x", "missing", "late"])),
        ("/lib/b", filter(2, &[], &["a", "b"], &[])),
        ("/lib/late", needs(3, &[])),
        ("/lib/f", needs(4, &["g"])),
        ("/lib/x", needs(5, &[])),
        ("/lib/n", needs(6, &[])),
        ("/lib/g", needs(7, &[])),
    ];
    let mut process = Process::new(program(&["a", "late", "b"]), files);
    let expected = ["", "/lib/x", "/lib/late", "/lib/f", "/lib/a", "/lib/b", "/lib/n", "/lib/g"];
    assert_eq!(process.start(), expected);
    assert_eq!(process.errors, [], "an auxiliary object may be missing");
    assert_eq!(process.start(), expected, "a second walk gives the same");
    let listed: Vec<String> = process.members.iter().map(|&id| process.path(id)).collect();
    assert_eq!(listed, expected);
    // Opened as a root, it stands behind them too.
    let a = process.open("a").unwrap();
    assert_eq!(process.closure(&[a]), ["/lib/x", "/lib/late", "/lib/f", "/lib/a", "/lib/n", "/lib/g"]);
}

#[test]
fn filters_of_each_other_come_to_an_end() {
    let files = vec![
        ("/lib/a", filter(1, &[], &["b"], &["missing"])),
        ("/lib/b", filter(2, &[], &["a", "missing"], &["b"])),
        ("/lib/c", filter(3, &["a"], &["c", "a", "b"], &[])),
    ];
    let mut process = Process::new(program(&["c", "b", "a"]), files);
    let mut found = process.start();
    found.sort();
    assert_eq!(found, ["", "/lib/a", "/lib/b", "/lib/c"]);
    assert_eq!(process.errors.len(), 1);
    assert!(process.errors[0].1.starts_with("missing: cannot open shared object file"), "{:?}", process.errors);
}

#[test]
fn roots_come_first_in_their_order() {
    let files = vec![("/lib/a", needs(1, &[])), ("/lib/p", needs(2, &["q"])), ("/lib/q", needs(3, &[]))];
    let mut process = Process::new(program(&["a"]), files);
    let preloaded = process.open("p").unwrap();
    assert_eq!(process.closure(&[process.executable, preloaded, preloaded]), ["", "/lib/p", "/lib/a", "/lib/q"]);
}

#[test]
fn soname_stands_for_its_object() {
    let a = Library(1, Builder { soname: Some("liba.so.1"), ..shared_object("", &[]) });
    let files =
        vec![("/lib/liba.so", a), ("/lib/liba.so.1", needs(2, &[])), ("/lib/b", needs(3, &["liba.so.1", "liba.so"]))];
    let mut process = Process::new(program(&["liba.so", "b"]), files);
    assert_eq!(process.start(), ["", "/lib/liba.so", "/lib/b"]);
    assert_eq!(process.disk.calls, ["open /lib/liba.so", "map /lib/liba.so", "open /lib/b", "map /lib/b"]);
}

#[test]
fn one_file_is_one_object_whatever_its_names() {
    let files = vec![("/lib/a", needs(7, &[])), ("/lib/link-to-a", needs(7, &[]))];
    let mut process = Process::new(program(&["a", "link-to-a", "/lib/link-to-a"]), files);
    assert_eq!(process.start(), ["", "/lib/a"]);
    let a = process.members[1];
    assert_eq!(process.objects[a].names, [b"a".as_slice(), b"link-to-a", b"/lib/link-to-a"]);
    // Each name is remembered: opening by it touches no file.
    process.disk.calls.clear();
    assert_eq!(process.open("link-to-a").unwrap(), a);
    assert_eq!(process.disk.calls.len(), 0);
}

#[test]
fn all_that_is_missing_is_told_with_who_needs_it() {
    let files = vec![
        ("/lib/a", needs(1, &["missing-1", "b", "missing-2"])),
        ("/lib/b", needs(2, &["missing-1"])),
        ("/lib/text", Refused(Problem::Header(HeaderError::NotElf))),
        ("/lib/small", OtherClass),
        ("/lib/broken", Unmappable(Problem::Placement(PlacementError::NoSegments))),
        ("/lib/pie", Library(5, Builder { flags_1: DF_1_PIE, ..shared_object("", &[]) })),
    ];
    let mut process = Process::new(program(&["text", "a", "small", "broken", "pie", "/x/missing-3"]), files);
    assert_eq!(process.start(), ["", "/lib/a", "/lib/b"]);
    let absent = "cannot open shared object file: No such file or directory";
    let sentences: Vec<&str> = process.errors.iter().map(|(_, sentence)| sentence.as_str()).collect();
    assert_eq!(
        sentences,
        [
            "/lib/text: invalid ELF header (required by ./program)",
            "small: wrong ELF class: ELFCLASS32 (required by ./program)",
            "broken: object file has no loadable segments (required by ./program)",
            "pie: cannot dynamically load position-independent executable (required by ./program)",
            &format!("/x/missing-3: {absent} (required by ./program)"),
            &format!("missing-1: {absent} (required by /lib/a)"),
            &format!("missing-2: {absent} (required by /lib/a)"),
            &format!("missing-1: {absent} (required by /lib/b)"),
        ]
    );
    // The place of each in the list, had it been there.
    assert_eq!(process.errors.iter().map(|(place, _)| *place).collect::<Vec<_>>(), [1, 2, 2, 2, 2, 2, 3, 3]);
    // What was mapped in vain is unmapped.
    let unmapped: Vec<_> = process.disk.calls.iter().filter(|call| call.starts_with("unmap")).collect();
    assert_eq!(unmapped.len(), 1);
    assert_eq!(process.members.len(), 3);
}

#[test]
fn rpath_is_inherited_and_runpath_is_not() {
    // The program's DT_RPATH serves what its libraries need; a library's serves those that it loads.
    let files = vec![
        ("/r/a", Library(1, Builder { needed: vec!["b"], rpath: Some("/s"), ..shared_object("", &[]) })),
        ("/s/b", needs(2, &["c", "d"])),
        ("/s/c", needs(3, &[])),
        ("/r/d", needs(4, &[])),
    ];
    let mut process = Process::new(Builder { rpath: Some("/r"), ..program(&["a"]) }, files);
    assert_eq!(process.start(), ["", "/r/a", "/s/b", "/s/c", "/r/d"]);
    assert_eq!(process.errors, []);

    let files = vec![("/r/a", needs(1, &["b"])), ("/r/b", needs(2, &[]))];
    let mut process = Process::new(Builder { runpath: Some("/r"), ..program(&["a"]) }, files);
    assert_eq!(process.start(), ["", "/r/a"]);
    assert!(process.errors[0].1.starts_with("b: cannot open"));

    // An object with a DT_RUNPATH of its own does not use the DT_RPATHs of others.
    let a = Library(1, Builder { needed: vec!["b"], runpath: Some("/s"), ..shared_object("", &[]) });
    let files = vec![("/r/a", a), ("/r/b", needs(2, &[]))];
    let mut process = Process::new(Builder { rpath: Some("/r"), ..program(&["a"]) }, files);
    assert_eq!(process.start(), ["", "/r/a"]);
}

#[test]
fn origin_is_the_directory_of_the_object() {
    let a = Library(1, Builder { needed: vec!["b"], runpath: Some("$ORIGIN/plugins"), ..shared_object("", &[]) });
    let files = vec![("/opt/a", a), ("/opt/plugins/b", needs(2, &[]))];
    let mut process = Process::new(program(&["/opt/a"]), files);
    assert_eq!(process.start(), ["", "/opt/a", "/opt/plugins/b"]);
}

#[test]
fn interpreter_is_itself_wherever_it_is_looked_for() {
    let ld = Builder { soname: Some("ld-linux-x86-64.so.2"), needed: vec![], ..shared_object("/lib64/ld", &[]) };
    let names = ["ld-linux-x86-64.so.2", "/elsewhere/ld-linux-x86-64.so.2"];
    let mut process = Process::new(program(&names), vec![]);
    let interpreter = process.objects.insert(Builder { kind: Some(Kind::Interpreter), ..ld }.object());
    process.interpreter = Some(interpreter);
    assert_eq!(process.start(), ["", "/lib64/ld"]);
    assert_eq!((process.errors.len(), process.disk.calls.len()), (0, 0));
    assert!(process.open("/elsewhere/ld-linux-x86-64.so.3").is_err());
}

#[test]
fn question_whether_a_file_is_loaded_loads_nothing() {
    let files = vec![("/lib/a", needs(1, &[])), ("/lib/b", needs(2, &[])), ("/lib/link-to-a", needs(1, &[]))];
    let mut process = Process::new(program(&["a"]), files);
    process.start();
    let a = process.members[1];
    assert_eq!(process.loader().loaded(b"a", None), Ok(Some(a)));
    assert_eq!(process.loader().loaded(b"link-to-a", None), Ok(Some(a)), "by its identity");
    assert_eq!(process.loader().loaded(b"b", None), Ok(None));
    let absent = Error::new(b"absent", Problem::Open(Errno::ENOENT));
    assert_eq!(process.loader().loaded(b"absent", None), Err(absent));
    assert_eq!(process.members.len(), 2);
}

#[test]
fn errors_of_opened_files_name_no_requester() {
    let mut process = Process::new(program(&[]), vec![("/lib/text", Refused(Problem::Header(HeaderError::NotElf)))]);
    assert_eq!(process.open("absent"), Err(Error::new(b"absent", Problem::Open(Errno::ENOENT))));
    assert_eq!(process.open("text").unwrap_err().to_string(), "/lib/text: invalid ELF header");
}
