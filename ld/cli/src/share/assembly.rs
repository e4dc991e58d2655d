//! From address spaces to objects: which file, and which page of it, lies where in which process.
//!
//! A page is known by its link-time address, which is the same in every process that loads the object. A library's bss has
//! no file behind it: it is recognised because it lies where the object's program headers put it.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io::Read;
use std::ops::Range;
use std::os::unix::fs::MetadataExt;
use std::rc::Rc;

use super::snapshot::Snapshot;
use crate::object::Object;
use crate::process::{FileId, Mapping, PAGE};

/// Larger files are not read for names and relocations.
const LARGEST_FILE: u64 = 2 << 30;

/// What tells one object from another: files by identity, the same file loaded twice by which load it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Identity {
    /// Memory without a file comes last.
    pub anonymous: bool,
    pub path: String,
    pub file: Option<FileId>,
    pub load: usize,
}

/// Pages of an object that lie in one mapping of one process.
#[derive(Clone, Debug)]
pub struct Run {
    pub process: usize,
    /// Index into the process's mappings.
    pub mapping: usize,
    /// Index into the mapping's pages.
    pub first: u64,
    pub count: u64,
    /// The page of the object that the first of them is.
    pub page: u64,
}

/// An object with the places where processes have it.
pub struct Assembled {
    pub object: Option<Rc<Object>>,
    pub runs: Vec<Run>,
}

/// A file loaded as an object in one process.
struct Loaded {
    identity: Identity,
    object: Rc<Object>,
    bias: u64,
    addresses: Range<u64>,
}

/// All objects of all processes.
pub fn assemble(snapshots: &[Snapshot]) -> BTreeMap<Identity, Assembled> {
    let mut files = Files::default();
    let mut assembled: BTreeMap<Identity, Assembled> = BTreeMap::new();
    for (process, snapshot) in snapshots.iter().enumerate() {
        let loaded = loaded(snapshot, &mut files);
        let mut taken: BTreeMap<Identity, Vec<Range<u64>>> = BTreeMap::new();
        for (index, mapping) in snapshot.mappings.iter().enumerate() {
            // Pages of unread mappings are nobody's, but a mapping of a file counts with its untouched pages.
            if mapping.bare_frames || (mapping.file.is_none() && snapshot.pages[index].is_empty()) {
                continue;
            }
            for (first, count, owner) in pieces(mapping, &loaded) {
                let address = mapping.range.start + first * PAGE;
                let (identity, object, page) = match owner {
                    Some(owner) => {
                        let page = address.wrapping_sub(owner.bias) / PAGE;
                        (owner.identity.clone(), Some(Rc::clone(&owner.object)), page)
                    }
                    None if mapping.file.is_some() => {
                        let page = mapping.offset / PAGE + first;
                        let mut identity = Identity::of_file(mapping, 0);
                        // A file that is mapped twice at one place is two objects.
                        while let Some(taken) = taken.get(&identity)
                            && taken.iter().any(|other| other.start < page + count && page < other.end)
                        {
                            identity.load += 1;
                        }
                        taken.entry(identity.clone()).or_default().push(page..page + count);
                        (identity, None, page)
                    }
                    None => (Identity::of_memory(&mapping.path), None, 0),
                };
                let assembled = assembled.entry(identity).or_insert_with(|| Assembled { object, runs: Vec::new() });
                assembled.runs.push(Run { process, mapping: index, first, count, page });
            }
        }
    }
    assembled
}

impl Identity {
    fn of_file(mapping: &Mapping, load: usize) -> Self {
        Self { anonymous: false, path: mapping.path.clone(), file: mapping.file.clone(), load }
    }

    fn of_memory(path: &str) -> Self {
        // Stacks and arenas of threads have no name; `[anon:name]` was given by the program (prctl(2), PR_SET_VMA).
        let path = if path.is_empty() { "[anonymous]" } else { path };
        Self { anonymous: true, path: path.to_owned(), file: None, load: 0 }
    }
}

/// The objects that a process has loaded, in the order of their addresses.
fn loaded(snapshot: &Snapshot, files: &mut Files) -> Vec<Loaded> {
    let mut loaded: Vec<Loaded> = Vec::new();
    for mapping in snapshot.mappings.iter().filter(|mapping| mapping.file.is_some()) {
        let Some(object) = files.object(snapshot.pid, mapping) else { continue };
        let same = |other: &Loaded, bias| other.identity.file == mapping.file && other.bias == bias;
        let biases = object.biases(mapping.range.start, mapping.offset, mapping.writable(), mapping.executable());
        if biases.is_empty() || biases.iter().any(|bias| loaded.iter().any(|other| same(other, *bias))) {
            continue;
        }
        // The first mapping of an object holds its first segment; one that begins with another was mapped to be read.
        let pages = object.pages();
        let Some(bias) = biases
            .into_iter()
            .find(|bias| bias.is_multiple_of(PAGE) && bias.wrapping_add(pages.start * PAGE) == mapping.range.start)
        else {
            continue;
        };
        let addresses = mapping.range.start..bias.wrapping_add(pages.end.wrapping_mul(PAGE));
        if addresses.is_empty() || !is_loaded(snapshot, mapping, &object, bias) {
            continue;
        }
        let load = loaded.iter().filter(|other| other.identity.file == mapping.file).count();
        loaded.push(Loaded { identity: Identity::of_file(mapping, load), object, bias, addresses });
    }
    loaded
}

/// Whether the object's text is mapped executable where this bias puts it: a file that is only read has one mapping, which
/// is not.
fn is_loaded(snapshot: &Snapshot, first: &Mapping, object: &Object, bias: u64) -> bool {
    let text = object.segments.iter().find(|segment| segment.kind == crate::object::Kind::Text);
    text.is_none_or(|text| {
        let address = bias.wrapping_add(text.pages.start * PAGE);
        let at = snapshot.mappings.iter().find(|mapping| mapping.range.contains(&address));
        at.is_some_and(|mapping| mapping.file == first.file && mapping.executable())
    })
}

/// A mapping divided at the borders of objects: first page, number of pages, whose they are.
fn pieces<'l>(mapping: &Mapping, loaded: &'l [Loaded]) -> Vec<(u64, u64, Option<&'l Loaded>)> {
    let (start, end) = (mapping.range.start, mapping.range.end);
    let mut pieces = Vec::new();
    let mut at = start;
    let mine = |object: &&Loaded| mapping.file.is_none() || mapping.file == object.identity.file;
    for object in loaded.iter().filter(mine) {
        let (from, to) = (object.addresses.start.max(at), object.addresses.end.min(end));
        if from >= to {
            continue;
        }
        if from > at {
            pieces.push(((at - start) / PAGE, (from - at) / PAGE, None));
        }
        pieces.push(((from - start) / PAGE, (to - from) / PAGE, Some(object)));
        at = to;
    }
    if at < end {
        pieces.push(((at - start) / PAGE, (end - at) / PAGE, None));
    }
    pieces
}

/// Objects by the files that they were decoded from.
#[derive(Default)]
struct Files(HashMap<FileId, Option<Rc<Object>>>);

impl Files {
    fn object(&mut self, pid: u32, mapping: &Mapping) -> Option<Rc<Object>> {
        let file = mapping.file.clone()?;
        let inode = file.inode;
        self.0
            .entry(file)
            .or_insert_with(|| {
                // The path as the process sees it, and the mapping itself where the path leads elsewhere by now.
                let paths = [
                    format!("/proc/{pid}/root{}", mapping.path),
                    format!("/proc/{pid}/map_files/{:x}-{:x}", mapping.range.start, mapping.range.end),
                ];
                let bytes = paths.iter().find_map(|path| read(path, inode))?;
                Object::decode(&bytes).map(Rc::new)
            })
            .clone()
    }
}

/// The bytes of an ELF file, if the path still leads to it.
fn read(path: &str, inode: u64) -> Option<Vec<u8>> {
    let meta = fs::metadata(path).ok()?;
    if !meta.is_file() || meta.ino() != inode || meta.len() > LARGEST_FILE {
        return None;
    }
    let mut file = File::open(path).ok()?;
    let mut bytes = vec![0; 4];
    file.read_exact(&mut bytes).ok()?;
    if bytes != *b"\x7fELF" {
        return None;
    }
    file.read_to_end(&mut bytes).ok()?;
    Some(bytes)
}
