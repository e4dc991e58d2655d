//! The order in which objects are initialised and finalised.
//!
//! An object comes before its dependencies in the sorted list: finalisers run over it from the front, initialisers from the
//! end. Where dependencies form a cycle no order is right (gABI chapter 5, "Initialization and Termination Functions"), but
//! programs have come to rely on the one that glibc gives; hence the same sort here, down to how ties and cycles come out:
//! depth first, over the list from its end. Source: glibc elf/dl-sort-maps.c, `_dl_sort_maps_dfs` (`rtld.dynamic_sort=2`);
//! elf/dl-init.c, `_dl_init`; elf/dl-fini.c, `_dl_fini`. [`original`] is the one that users may ask for in its place.
//!
//! Objects are plain indices of the caller's. Dependencies that are not in the list to be sorted are passed over, so no input
//! can make these functions fail. The stack is on the heap, and no longer than the list.

mod original;

use alloc::vec;
use alloc::vec::Vec;

/// The tunable `glibc.rtld.dynamic_sort`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Algorithm {
    /// That of glibc before 2.35.
    Original,
    #[default]
    DepthFirst,
}

impl Algorithm {
    /// The algorithm that a value of the tunable stands for.
    pub fn of_tunable(value: Option<u64>) -> Algorithm {
        if value == Some(1) { Algorithm::Original } else { Algorithm::DepthFirst }
    }
}

/// Who depends on whom.
pub trait Dependencies {
    /// The objects that DT_NEEDED names, in its order.
    ///
    /// Of an object that was itself the root of an earlier start or `dlopen`, glibc knows only the sorted list of that time,
    /// and follows that instead; of a root that is being opened for the first time it knows nothing yet, which [`sort`] sees to.
    fn needed(&self, object: usize) -> &[usize];

    /// The objects that references of this one were bound to and that [`needed`](Self::needed) does not list, in the order of
    /// the bindings: what keeps a library that was opened with RTLD_GLOBAL alive as long as its users. Objects that can
    /// never be unloaded are not recorded, those of the start above all (glibc elf/dl-lookup.c, `add_dependency`).
    fn bound(&self, _object: usize) -> &[usize] {
        &[]
    }

    /// Whether [`bound`](Self::bound) ever listed anything. Opening an object as a root takes those away that its scope now
    /// holds (glibc elf/dl-deps.c); the emptied list is still a reason to sort twice.
    fn was_bound(&self, object: usize) -> bool {
        !self.bound(object).is_empty()
    }
}

/// How the first object of a list is treated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Root {
    /// It is opened for the first time: its dependencies have no say yet, and it stays in front.
    New,
    /// It was loaded before, as a dependency of another: it stays in front.
    Known,
    /// Nothing is special about it: the C library itself was opened.
    Sorted,
}

/// What every sort of a process goes by.
pub struct Sort<D> {
    pub algorithm: Algorithm,
    /// The executable, which no dependency of another moves.
    pub main: Option<usize>,
    pub dependencies: D,
}

impl<D: Dependencies> Sort<D> {
    /// Sorts the objects of a start or a `dlopen`, which are given breadth first from the root on, after preloaded ones.
    pub fn opened(&self, list: &[usize], root: Root) -> Vec<usize> {
        if self.algorithm == Algorithm::Original {
            let mut sorted = list.to_vec();
            // A root that stays in front is not looked at, so it matters not whether its dependencies are known.
            let others = usize::from(root != Root::Sorted).min(sorted.len());
            original::sort(&mut sorted[others..], |dependent, object| self.needs(dependent, object));
            return sorted;
        }
        let first = list.first().copied();
        let unknown = first.filter(|_| root == Root::New);
        let mut sorted = self.traverse(list, |object, dependency| {
            if unknown == Some(object) { None } else { self.dependencies.needed(object).get(dependency).copied() }
        });
        if root != Root::Sorted {
            bring_to_front(&mut sorted, first);
        }
        sorted
    }

    /// Sorts all objects of a namespace for their finalisers, or those that a `dlclose` may unload.
    ///
    /// The list is in the order in which the objects were loaded; where the first one `leads`, it stays in front. Those that
    /// are `used` are not going to be finalised. What references were bound to counts as a dependency too, but where that
    /// contradicts DT_NEEDED, DT_NEEDED prevails.
    pub fn finalized(&self, list: &[usize], leads: bool, used: impl Fn(usize) -> bool) -> Vec<usize> {
        if self.algorithm == Algorithm::Original {
            let mut sorted = list.to_vec();
            let others = usize::from(leads).min(sorted.len());
            original::sort(&mut sorted[others..], |dependent, object| {
                let binds = || self.dependencies.bound(dependent).contains(&object) && !self.needs(object, dependent);
                !used(object) && (self.needs(dependent, object) || binds())
            });
            return sorted;
        }
        let mut sorted = self.traverse(list, |object, dependency| {
            let needed = self.dependencies.needed(object);
            let bound = || self.dependencies.bound(object).iter().rev().nth(dependency - needed.len());
            needed.get(dependency).or_else(bound).copied()
        });
        if list.iter().any(|&object| self.dependencies.was_bound(object)) {
            sorted =
                self.traverse(&sorted, |object, dependency| self.dependencies.needed(object).get(dependency).copied());
        }
        if leads {
            bring_to_front(&mut sorted, list.first().copied());
        }
        sorted
    }

    fn needs(&self, dependent: usize, object: usize) -> bool {
        self.dependencies.needed(dependent).contains(&object)
    }

    /// Depth-first traversal from each object of the list, the last one first; the result is the reverse of the postorder.
    fn traverse(&self, list: &[usize], dependency: impl Fn(usize, usize) -> Option<usize>) -> Vec<usize> {
        let mut waiting = vec![false; list.iter().max().map_or(0, |&last| last + 1)];
        for &object in list {
            waiting[object] = true;
        }
        let mut postorder = Vec::with_capacity(list.len());
        let mut stack: Vec<(usize, usize)> = Vec::new();
        for &start in list.iter().rev() {
            if !core::mem::take(&mut waiting[start]) {
                continue;
            }
            stack.push((start, 0));
            while let Some((object, next)) = stack.last_mut() {
                let Some(dependency) = dependency(*object, *next) else {
                    postorder.push(*object);
                    stack.pop();
                    continue;
                };
                *next += 1;
                let enter = Some(dependency) != self.main && waiting.get_mut(dependency).is_some_and(core::mem::take);
                if enter {
                    stack.push((dependency, 0));
                }
            }
        }
        postorder.reverse();
        postorder
    }
}

/// The order of the initialisers of a sorted list.
///
/// An object with DF_1_INITFIRST (the one loaded last, if there are several) goes before all others, and before the
/// executable's DT_PREINIT_ARRAY, without its dependencies. An object is initialised once only, so the caller passes over
/// those that were.
pub fn initialization(sorted: &[usize], init_first: Option<usize>) -> impl Iterator<Item = usize> + '_ {
    let others = sorted.iter().rev().copied().filter(move |&object| Some(object) != init_first);
    init_first.into_iter().chain(others)
}

/// Puts `root` in front of a search list, where filtees may stand before it.
pub fn lead(list: &mut [usize], root: usize) {
    bring_to_front(list, Some(root));
}

fn bring_to_front(sorted: &mut [usize], first: Option<usize>) {
    if let Some(at) = sorted.iter().position(|&object| Some(object) == first) {
        sorted[..=at].rotate_right(1);
    }
}

#[cfg(test)]
#[path = "order_tests.rs"]
mod tests;
