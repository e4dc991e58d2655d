//! The account of a start: its spans as a tree, and sums over that by kind of work and by object.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use serde::Serialize;

use super::record::{Kind, LOOKUP, Phase, RESOLVER, Record, Sums};
use crate::draw::base_name;
use crate::object::Object;

/// Time that belongs together: all of one kind for one object in one place of the tree.
#[derive(Clone, Debug)]
pub struct Node {
    pub kind: Kind,
    pub object: Option<String>,
    /// It stands for its object as a whole, and is called like it.
    pub is_object: bool,
    pub time: f64,
    pub faults: [u64; 2],
    pub children: Vec<Node>,
}

impl Node {
    fn new(kind: Kind, object: Option<String>, is_object: bool) -> Self {
        Self { kind, object, is_object, time: 0.0, faults: [0; 2], children: Vec::new() }
    }

    pub fn name(&self) -> &str {
        match &self.object {
            Some(object) if self.is_object => base_name(object),
            _ => self.kind.label(),
        }
    }

    /// What none of its parts took.
    pub fn own_time(&self) -> f64 {
        (self.time - self.children.iter().map(|child| child.time).sum::<f64>()).max(0.0)
    }

    fn own_faults(&self) -> [u64; 2] {
        let below = |which: usize| self.children.iter().map(|child| child.faults[which]).sum::<u64>();
        [0, 1].map(|which| self.faults[which].saturating_sub(below(which)))
    }

    fn child(&mut self, kind: Kind, object: &Option<String>, is_object: bool) -> usize {
        let same = |node: &Node| node.kind == kind && node.object == *object && node.is_object == is_object;
        self.children.iter().position(same).unwrap_or_else(|| {
            self.children.push(Node::new(kind, object.clone(), is_object));
            self.children.len() - 1
        })
    }

    fn at(&mut self, path: &[usize]) -> &mut Node {
        path.iter().fold(self, |node, &place| &mut node.children[place])
    }

    fn visit<'n>(&'n self, see: &mut impl FnMut(&'n Node)) {
        see(self);
        self.children.iter().for_each(|child| child.visit(see));
    }

    /// Gives part of its own time to a child.
    fn part(&mut self, word: &str, time: f64) -> f64 {
        let (Some(kind), time) = (Kind::of(word), time.min(self.own_time())) else { return 0.0 };
        if time > 0.0 {
            let place = self.child(kind, &self.object.clone(), false);
            self.children[place].time += time;
        }
        time
    }

    /// Within the place of an object: its lookups and resolvers, which have no spans of their own.
    fn part_sums(&mut self, sums: &Sums) {
        let mut resolving = sums.resolver_time;
        for word in ["indirect", "symbolic"] {
            let found = self.children.iter_mut().find(|child| child.kind.word() == word);
            let Some(child) = found else { continue };
            if word == "symbolic" {
                child.part(LOOKUP, sums.lookup_time);
            }
            resolving -= child.part(RESOLVER, resolving);
        }
    }
}

/// A start as a tree: what was done, for which object, and what in it. A node's time is that of all spans that it stands for.
#[derive(Debug)]
pub struct Tree {
    pub root: Node,
}

impl Tree {
    pub fn grow(record: &Record) -> Tree {
        let mut root = Node::new(Kind::START, None, false);
        root.time = record.total();
        // Spans that have begun and not ended: their ends, and their places in the tree.
        let mut open: Vec<(f64, Vec<usize>)> = Vec::new();
        for span in record.spans.iter().skip(1) {
            while open.last().is_some_and(|(end, _)| *end <= span.begin) {
                open.pop();
            }
            let mut path = open.last().map(|(_, path)| path.clone()).unwrap_or_default();
            // A span of another thread may reach beyond the one that it begins in.
            let bound = open.last().map_or(record.total(), |(end, _)| *end);
            let (time, is_whole) =
                (span.end.min(bound) - span.begin, matches!(span.kind.word(), "object" | "initializers"));
            let parent = root.at(&path);
            if parent.object.is_none() && span.object.is_some() {
                let kind = if is_whole { span.kind } else { parent.kind };
                path.push(parent.child(kind, &span.object, true));
                if !is_whole {
                    let object = root.at(&path);
                    object.time += time;
                    object.faults = sum(object.faults, span.faults);
                    path.push(object.child(span.kind, &span.object, false));
                }
            } else {
                let object = span.object.clone().or(parent.object.clone());
                path.push(parent.child(span.kind, &object, false));
            }
            let node = root.at(&path);
            node.time += time;
            node.faults = sum(node.faults, span.faults);
            open.push((span.end.min(bound), path));
        }
        root.faults = root.children.iter().fold([0; 2], |all, child| sum(all, child.faults));
        for sums in &record.sums {
            for phase in &mut root.children {
                let is_its =
                    |node: &&mut Node| node.kind.word() == "object" && node.object.as_ref() == Some(&sums.object);
                if let Some(object) = phase.children.iter_mut().find(is_its) {
                    object.part_sums(sums);
                }
            }
        }
        Tree { root }
    }
}

fn sum(left: [u64; 2], right: [u64; 2]) -> [u64; 2] {
    [left[0] + right[0], left[1] + right[1]]
}

/// All of one kind of work.
#[derive(Clone, Debug, Serialize)]
pub struct Part {
    pub kind: &'static str,
    pub phase: Phase,
    pub label: &'static str,
    pub time: f64,
    pub share: f64,
    pub minor_faults: u64,
    pub major_faults: u64,
}

/// What was done, the longest first. Times add up to the linker's whole; page faults are those of another run.
pub fn parts(timed: &Tree, counted: &Tree) -> Vec<Part> {
    let mut parts: BTreeMap<&str, Part> = BTreeMap::new();
    let mut part = |node: &Node, add: &dyn Fn(&mut Part)| {
        let (kind, phase, label) = (node.kind.word(), node.kind.phase(), node.kind.rest());
        let new = Part { kind, phase, label, time: 0.0, share: 0.0, minor_faults: 0, major_faults: 0 };
        add(parts.entry(label).or_insert(new));
    };
    timed.root.visit(&mut |node| part(node, &|part| part.time += node.own_time()));
    counted.root.visit(&mut |node| {
        part(node, &|part| {
            let [minor, major] = node.own_faults();
            part.minor_faults += minor;
            part.major_faults += major;
        });
    });
    let mut parts: Vec<Part> = parts.into_values().collect();
    parts.iter_mut().for_each(|part| part.share = part.time / timed.root.time);
    parts.sort_by(|a, b| b.time.total_cmp(&a.time));
    parts
}

/// All that was done for one object.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Library {
    pub path: String,
    pub time: f64,
    pub share: f64,
    /// Search, open and check the file; map and protect it; relocate; look symbols up; call resolvers; call initializers.
    pub files: f64,
    pub map: f64,
    pub relocate: f64,
    pub lookup: f64,
    pub resolve: f64,
    pub initialise: f64,
    pub minor_faults: u64,
    pub major_faults: u64,
    pub lookups: u64,
    /// Relocations that took the answer of the lookup before.
    pub repeated: u64,
    /// Objects that its lookups asked, and of them those that the Bloom filter ruled out at once.
    pub asked: u64,
    pub filtered: u64,
    /// The lookup that asked the most objects.
    pub longest: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub longest_symbol: Option<String>,
    pub resolvers: u64,
}

/// Nothing takes less, in microseconds: the linker itself was just looked at.
const SHORTEST: f64 = 0.05;

/// For which objects something was done, the longest first.
pub fn libraries(timed: &Tree, counted: &Tree, times: &Record, counts: &Record) -> Vec<Library> {
    let mut libraries: BTreeMap<&str, Library> = BTreeMap::new();
    timed.root.visit(&mut |node| {
        let Some(object) = &node.object else { return };
        let library = libraries.entry(object).or_default();
        let time = node.own_time();
        library.time += time;
        match node.kind.phase() {
            Phase::Files => library.files += time,
            Phase::Map => library.map += time,
            Phase::Relocate => library.relocate += time,
            Phase::Lookup => library.lookup += time,
            Phase::Resolve => library.resolve += time,
            Phase::Initialise => library.initialise += time,
            Phase::Libc | Phase::Other => {}
        }
    });
    counted.root.visit(&mut |node| {
        if let Some(library) = node.object.as_deref().and_then(|object| libraries.get_mut(object)) {
            let [minor, major] = node.own_faults();
            library.minor_faults += minor;
            library.major_faults += major;
        }
    });
    for sums in &times.sums {
        let library = libraries.entry(&sums.object).or_default();
        (library.lookups, library.repeated, library.resolvers) = (sums.lookups, sums.repeated, sums.resolvers);
    }
    for sums in &counts.sums {
        if let Some(library) = libraries.get_mut(sums.object.as_str()) {
            (library.asked, library.filtered) = (sums.asked, sums.filtered);
            (library.longest, library.longest_symbol) = (sums.longest, sums.longest_symbol.clone());
        }
    }
    let named = |(path, spent): (&str, Library)| Library {
        path: path.to_owned(),
        share: spent.time / timed.root.time,
        ..spent
    };
    let mut libraries: Vec<Library> =
        libraries.into_iter().map(named).filter(|library| library.time >= SHORTEST || library.lookups > 0).collect();
    libraries.sort_by(|a, b| b.time.total_cmp(&a.time));
    libraries
}

/// How many relocations of one type there are, and who has the most.
#[derive(Clone, Debug, Serialize)]
pub struct Relocations {
    /// The psABI's name without `R_X86_64_`; `RELR`: packed relative ones.
    pub kind: &'static str,
    pub count: u64,
    pub most: String,
    pub of_most: u64,
}

/// The relocations of all these files that were relocated, by type; the most first.
pub fn relocations(libraries: &[Library]) -> Vec<Relocations> {
    let mut kinds: BTreeMap<&'static str, Relocations> = BTreeMap::new();
    let paths: BTreeSet<&str> =
        libraries.iter().filter(|library| library.relocate > 0.0).map(|library| library.path.as_str()).collect();
    for path in paths {
        let Some(object) = fs::read(path).ok().and_then(|bytes| Object::decode(&bytes)) else { continue };
        let mut own: BTreeMap<&'static str, u64> = BTreeMap::new();
        for (kind, count) in object.pages().flat_map(|page| object.relocations(page)) {
            *own.entry(kind).or_default() += count;
        }
        for (kind, count) in own {
            let new = Relocations { kind, count: 0, most: String::new(), of_most: 0 };
            let all = kinds.entry(kind).or_insert(new);
            all.count += count;
            if count > all.of_most {
                (all.most, all.of_most) = (path.to_owned(), count);
            }
        }
    }
    let mut kinds: Vec<Relocations> = kinds.into_values().collect();
    kinds.sort_by_key(|kind| std::cmp::Reverse(kind.count));
    kinds
}
