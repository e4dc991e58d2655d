//! Compares the orders with those that glibc's loader gave for the same libraries (`order_facts.txt`).

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
}

impl Dependencies for Process {
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
            self.recorded[object] = self.needs[&object].clone();
        }
        if let Some(bound) = &mut self.bound[root] {
            bound.retain(|object| !list.contains(object));
        }
        let state = if new.contains(&root) { Root::New } else { Root::Known };
        let sorted = sort(&list, state, Some(MAIN), self);
        self.recorded[root] = sorted.clone();
        for &object in &new {
            for target in self.references[&object].clone() {
                if !self.recorded[object].contains(&target) {
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
    objects.iter().filter(|&&object| object != MAIN).map(|&object| char::from(b'a' - 1 + object as u8)).collect()
}

#[test]
fn orders_are_those_of_glibc() {
    let facts = include_str!("order_facts.txt");
    let mut checked = 0;
    for fact in facts.lines().filter(|line| !line.starts_with('#')) {
        let fields: Vec<&str> = fact.split('|').map(str::trim).collect();
        let [libraries, main, opened, initialized, finalized] = fields[..] else { panic!("{fact}") };
        let mut process = Process::default();
        process.needs.insert(MAIN, main.bytes().map(index).collect());
        process.references.insert(MAIN, vec![]);
        for library in libraries.split(' ') {
            let mut parts = library.split(':');
            let name = index(parts.next().unwrap().as_bytes()[0]);
            process.needs.insert(name, parts.next().unwrap_or("").bytes().map(index).collect());
            process.references.insert(name, parts.next().unwrap_or("").bytes().map(index).collect());
        }
        process.recorded = vec![vec![]; process.needs.len()];
        process.bound = vec![None; process.needs.len()];
        process.open(MAIN);
        for root in opened.bytes() {
            process.open(index(root));
        }
        let end = sort_for_finalization(&process.loaded, Some(MAIN), &process);
        assert_eq!((letters(&process.initialized), letters(&end)), (initialized.into(), finalized.into()), "{fact}");
        checked += 1;
    }
    assert!(checked > 100);
}

/// Dependencies by index, as a plain graph.
struct Graph(Vec<Vec<usize>>, Vec<Vec<usize>>);

impl Dependencies for Graph {
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
    let sorted = sort(&[0, 1, 2, 3, 4], Root::New, Some(0), &graph);
    assert_eq!(initialization(&sorted, Some(3)).collect::<Vec<_>>(), [3, 4, 2, 1, 0]);
    assert_eq!(sort_for_finalization(&[0, 1, 2, 3, 4], Some(0), &graph), [0, 1, 2, 3, 4]);
}

#[test]
fn long_chains_need_no_deep_stack() {
    let count = 200_000;
    let needed = (1..=count).map(|next| if next < count { vec![next] } else { vec![] }).collect();
    let graph = Graph(needed, vec![vec![]; count]);
    let mut list: Vec<usize> = (0..count).rev().collect();
    let sorted = sort(&list, Root::Sorted, None, &graph);
    list.reverse();
    assert_eq!(sorted, list);
}

proptest! {
    #[test]
    fn sorts_any_graph(
        edges in prop::collection::vec((0usize..12, 0usize..14, any::<bool>()), 0..60),
        list in prop::collection::vec(0usize..12, 0..16),
        root in prop::sample::select(vec![Root::New, Root::Known, Root::Sorted]),
    ) {
        let mut graph = Graph(vec![vec![]; 12], vec![vec![]; 12]);
        for (from, to, needed) in edges {
            if needed { graph.0[from].push(to) } else { graph.1[from].push(to) }
        }
        let mut expected = list.clone();
        expected.sort();
        expected.dedup();
        for mut sorted in [sort(&list, root, Some(0), &graph), sort_for_finalization(&list, Some(0), &graph)] {
            sorted.sort();
            prop_assert_eq!(&sorted, &expected);
        }
    }

    /// Without cycles, every object stands before all that it needs.
    #[test]
    fn sorts_acyclic_graphs(edges in prop::collection::vec((0usize..12, 0usize..12), 0..60)) {
        let mut graph = Graph(vec![vec![]; 12], vec![vec![]; 12]);
        for (a, b) in edges {
            if a != b {
                graph.0[a.min(b)].push(a.max(b));
            }
        }
        let list: Vec<usize> = (0..12).collect();
        let sorted = sort(&list, Root::Known, Some(0), &graph);
        let place = |object: usize| sorted.iter().position(|&other| other == object).unwrap();
        for object in 0..12 {
            for &needed in &graph.0[object] {
                prop_assert!(place(object) < place(needed));
            }
        }
    }
}
