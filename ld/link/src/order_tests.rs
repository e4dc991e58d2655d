//! Compares the orders with those that glibc's loader gave for the same libraries (`order_facts.txt`, and
//! `order/original_facts.txt` for the other algorithm).

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

/// What a process of glibc remembers of its objects, as far as it bears on their order.
#[derive(Default)]
struct Process {
    /// DT_NEEDED, and the objects that references are bound to.
    needs: HashMap<usize, Vec<usize>>,
    references: HashMap<usize, Vec<usize>>,
    loaded: Vec<usize>,
    initialized: Vec<usize>,
    /// Direct dependencies, or for roots their sorted list.
    recorded: Vec<Vec<usize>>,
    roots: Vec<usize>,
    bound: Vec<Option<Vec<usize>>>,
    algorithm: Algorithm,
}

fn by<D: Dependencies>(algorithm: Algorithm, dependencies: D) -> Sort<D> {
    Sort { algorithm, main: Some(MAIN), dependencies }
}

impl Dependencies for &Process {
    fn needed(&self, object: usize) -> &[usize] {
        &self.recorded[object]
    }

    fn bound(&self, object: usize) -> &[usize] {
        self.bound[object].as_deref().unwrap_or(&[])
    }

    fn was_bound(&self, object: usize) -> bool {
        self.bound[object].is_some()
    }
}

const MAIN: usize = 0;
/// What is in every process, behind the libraries with letters: the places in the list count in the original algorithm.
const LIBC: usize = 20;
const LOADER: usize = 21;
const VDSO: usize = 22;

impl Process {
    /// Opens an object as the start does with the executable, and `dlopen` with a library.
    fn open(&mut self, root: usize) {
        if self.roots.contains(&root) {
            return;
        }
        self.roots.push(root);
        let mut list = vec![root];
        let mut at = 0;
        while at < list.len() {
            for &needed in &self.needs[&list[at]] {
                if !list.contains(&needed) {
                    list.push(needed);
                }
            }
            at += 1;
        }
        let new: Vec<_> = list.iter().copied().filter(|object| !self.loaded.contains(object)).collect();
        for &object in &new {
            self.loaded.push(object);
            self.loaded.extend((object == MAIN).then_some(VDSO));
            self.recorded[object] = self.needs[&object].clone();
        }
        if let Some(bound) = &mut self.bound[root] {
            bound.retain(|object| !list.contains(object));
        }
        let state = if new.contains(&root) { Root::New } else { Root::Known };
        let sorted = by(self.algorithm, &*self).opened(&list, state);
        self.recorded[root] = sorted.clone();
        for &object in &new {
            for target in self.references[&object].clone() {
                if !self.recorded[object].contains(&target) && !self.recorded[MAIN].contains(&target) {
                    self.bound[object].get_or_insert_default().push(target);
                }
            }
        }
        for object in initialization(&sorted, None) {
            if !self.initialized.contains(&object) {
                self.initialized.push(object);
            }
        }
    }
}

fn index(letter: u8) -> usize {
    usize::from(letter - b'a') + 1
}

fn letters(objects: &[usize]) -> String {
    objects
        .iter()
        .filter(|&&object| (MAIN + 1..LIBC).contains(&object))
        .map(|&object| char::from(b'a' - 1 + object as u8))
        .collect()
}

#[test]
fn orders_are_those_of_glibc() {
    check(Algorithm::DepthFirst, include_str!("order_facts.txt"));
}

#[test]
fn original_orders_are_those_of_glibc() {
    check(Algorithm::Original, include_str!("order/original_facts.txt"));
}

fn check(algorithm: Algorithm, facts: &str) {
    let mut checked = 0;
    for fact in facts.lines().filter(|line| !line.starts_with('#')) {
        let fields: Vec<&str> = fact.split('|').map(str::trim).collect();
        let [libraries, main, opened, initialized, finalized] = fields[..] else { panic!("{fact}") };
        let mut process = Process { algorithm, ..Process::default() };
        process.needs.insert(MAIN, main.bytes().map(index).chain([LIBC]).collect());
        process.needs.insert(LIBC, vec![LOADER]);
        process.needs.insert(LOADER, vec![]);
        for object in [MAIN, LIBC, LOADER] {
            process.references.insert(object, vec![]);
        }
        for library in libraries.split(' ') {
            let mut parts = library.split(':');
            let name = index(parts.next().unwrap().as_bytes()[0]);
            process.needs.insert(name, parts.next().unwrap_or("").bytes().map(index).collect());
            process.references.insert(name, parts.next().unwrap_or("").bytes().map(index).collect());
        }
        process.recorded = vec![vec![]; VDSO + 1];
        process.bound = vec![None; VDSO + 1];
        process.open(MAIN);
        for root in opened.bytes() {
            process.open(index(root));
        }
        let end = by(algorithm, &process).finalized(&process.loaded, true, |_| false);
        assert_eq!((letters(&process.initialized), letters(&end)), (initialized.into(), finalized.into()), "{fact}");
        checked += 1;
    }
    assert!(checked > 100);
}

/// Dependencies by index, as a plain graph.
struct Graph(Vec<Vec<usize>>, Vec<Vec<usize>>);

impl Dependencies for &Graph {
    fn needed(&self, object: usize) -> &[usize] {
        &self.0[object]
    }

    fn bound(&self, object: usize) -> &[usize] {
        &self.1[object]
    }
}

#[test]
fn init_first_goes_first() {
    // glibc: main needs a, b and c; b needs d; c has DF_1_INITFIRST.
    let graph = Graph(vec![vec![1, 2, 3], vec![], vec![4], vec![], vec![]], vec![vec![]; 5]);
    let sort = by(Algorithm::DepthFirst, &graph);
    let sorted = sort.opened(&[0, 1, 2, 3, 4], Root::New);
    assert_eq!(initialization(&sorted, Some(3)).collect::<Vec<_>>(), [3, 4, 2, 1, 0]);
    assert_eq!(sort.finalized(&[0, 1, 2, 3, 4], true, |_| false), [0, 1, 2, 3, 4]);
}

#[test]
fn long_chains_need_no_deep_stack() {
    let count = 200_000;
    let needed = (1..=count).map(|next| if next < count { vec![next] } else { vec![] }).collect();
    let graph = Graph(needed, vec![vec![]; count]);
    let mut list: Vec<usize> = (0..count).rev().collect();
    let sorted =
        Sort { algorithm: Algorithm::DepthFirst, main: None, dependencies: &graph }.opened(&list, Root::Sorted);
    list.reverse();
    assert_eq!(sorted, list);
}

proptest! {
    #[test]
    fn sorts_any_graph(
        edges in prop::collection::vec((0usize..12, 0usize..14, any::<bool>()), 0..60),
        list in prop::collection::vec(0usize..12, 0..16),
        root in prop::sample::select(vec![Root::New, Root::Known, Root::Sorted]),
        algorithm in prop::sample::select(vec![Algorithm::DepthFirst, Algorithm::Original]),
        leads: bool,
        used in 0usize..12,
    ) {
        let mut graph = Graph(vec![vec![]; 12], vec![vec![]; 12]);
        for (from, to, needed) in edges {
            if needed { graph.0[from].push(to) } else { graph.1[from].push(to) }
        }
        let mut expected = list.clone();
        expected.sort();
        expected.dedup();
        let list: Vec<usize> = list.iter().enumerate().filter(|(at, object)| !list[..*at].contains(object)).map(|(_, &object)| object).collect();
        let sort = by(algorithm, &graph);
        for mut sorted in [sort.opened(&list, root), sort.finalized(&list, leads, |object| object == used)] {
            sorted.sort();
            prop_assert_eq!(&sorted, &expected);
        }
    }

    /// Without cycles, every object stands before all that it needs.
    #[test]
    fn sorts_acyclic_graphs(
        edges in prop::collection::vec((0usize..12, 0usize..12), 0..60),
        algorithm in prop::sample::select(vec![Algorithm::DepthFirst, Algorithm::Original]),
    ) {
        let mut graph = Graph(vec![vec![]; 12], vec![vec![]; 12]);
        for (a, b) in edges {
            if a != b {
                graph.0[a.min(b)].push(a.max(b));
            }
        }
        let list: Vec<usize> = (0..12).collect();
        let sorted = by(algorithm, &graph).opened(&list, Root::Known);
        let place = |object: usize| sorted.iter().position(|&other| other == object).unwrap();
        for object in 0..12 {
            for &needed in &graph.0[object] {
                prop_assert!(place(object) < place(needed));
            }
        }
    }
}
