//! The modules of thread-local storage and the generation of their list, which every thread reads without a lock.
//!
//! Whoever adds and removes modules writes down the generation after the current one, and then makes that the current one.
//! A thread whose dtv has seen an older one learns from the modules' generations which of its blocks are out of date
//! (*glibc elf/dl-tls.c, _dl_update_slotinfo*). What is of a generation that is not current yet does not concern it.

use crate::sync::{AtomicUsize, Ordering};

/// `l_tls_offset`: undecided, and decided against static TLS.
pub const UNDECIDED: usize = 0;
pub const DYNAMIC: usize = usize::MAX;

/// `struct dtv_slotinfo`: a module's link map, or 0, and the generation in which it came or went.
#[repr(C)]
#[derive(Debug)]
pub struct Slot {
    generation: AtomicUsize,
    map: AtomicUsize,
}

impl Slot {
    pub const fn new() -> Slot {
        Slot { generation: AtomicUsize::new(0), map: AtomicUsize::new(0) }
    }
}

/// The list, and what is known of it as a whole. Module ids begin at 1: slot 0 is unused.
#[derive(Clone, Copy, Debug)]
pub struct Modules<'m> {
    pub slots: &'m [Slot],
    pub generation: &'m AtomicUsize,
    /// No module has had a higher id.
    pub highest: &'m AtomicUsize,
}

impl<'m> Modules<'m> {
    /// Gives a link map an id of the generation after this one. One thread at a time changes the list.
    pub fn add(self, map: usize) -> Option<usize> {
        let free = (1..self.slots.len()).find(|&module| self.slots[module].map.load(Ordering::Relaxed) == 0)?;
        self.put(free, map);
        self.highest.fetch_max(free, Ordering::Relaxed);
        Some(free)
    }

    /// Takes a module's id away, in the generation after this one.
    pub fn remove(self, module: usize) {
        self.put(module, 0);
    }

    fn put(self, module: usize, map: usize) {
        let slot = &self.slots[module];
        slot.generation.store(self.generation.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        slot.map.store(map, Ordering::Release);
    }

    /// Makes the modules added and removed since the last generation known; gives the generation.
    pub fn publish(self) -> usize {
        self.generation.fetch_add(1, Ordering::Release) + 1
    }

    /// The highest id that a module has had.
    pub fn highest(self) -> usize {
        self.highest.load(Ordering::Relaxed)
    }

    /// The link map of a module that the caller uses, or of any while the list cannot change.
    pub fn map(self, module: usize) -> usize {
        self.slots.get(module).map_or(0, |slot| slot.map.load(Ordering::Acquire))
    }

    /// Whether a module, added or removed, is of a generation later than this one.
    pub fn is_later(self, module: usize, generation: usize) -> bool {
        self.slots[module].generation.load(Ordering::Relaxed) > generation
    }

    /// The current generation and the ids and link maps of what is in it, up to an id, while the list cannot change.
    pub fn current(self, last: usize) -> (usize, impl Iterator<Item = (usize, usize)>) {
        let generation = self.generation.load(Ordering::Relaxed);
        // The link map first: whoever sees a new one sees the generation that goes with it, which may be to come.
        let present = move |module| {
            let map = self.map(module);
            (map != 0 && !self.is_later(module, generation)).then_some((module, map))
        };
        (generation, (1..=last.min(self.highest())).filter_map(present))
    }

    /// What is new to a thread that has seen the generation `seen`, if it is not the current one.
    pub fn since(self, seen: usize) -> Option<News<'m>> {
        let generation = self.generation.load(Ordering::Acquire);
        (seen != generation).then(|| News { modules: self, seen, generation, highest: self.highest() })
    }
}

/// What a thread has to learn.
pub struct News<'m> {
    modules: Modules<'m>,
    seen: usize,
    /// The generation that it knows then.
    pub generation: usize,
    pub highest: usize,
}

impl News<'_> {
    /// Whether a block of this module is out of date.
    pub fn concern(&self, module: usize) -> bool {
        self.modules.is_later(module, self.seen) && !self.modules.is_later(module, self.generation)
    }
}

/// Decides where a module's blocks are, unless that is decided; gives what holds from now on.
pub fn decide(offset: &AtomicUsize, wanted: usize) -> usize {
    match offset.compare_exchange(UNDECIDED, wanted, Ordering::Release, Ordering::Acquire) {
        Ok(_) => wanted,
        Err(decided) => decided,
    }
}

/// Decides for a place in static TLS, which `fill` gives its contents in every thread. That comes first: threads that know the
/// module already use their block as soon as it is decided. Gives whether it was decided so.
pub fn decide_for_static(offset: &AtomicUsize, place: usize, fill: impl FnOnce()) -> bool {
    fill();
    decide(offset, place) == place
}
