//! Fork: a thread forks while another opens a library, whose constructors are foreign code.

use std::cell::Cell;
use std::rc::Rc;

use loom::cell::UnsafeCell;
use loom::thread::JoinHandle;

use crate::dl::changes::Changes;
use crate::dl::lock_word;
use crate::sync::{self, AtomicU32, AtomicUsize, Ordering, futex_wait, futex_wake, spawn, thread_pointer};

/// What the loader knows: odd while it is half changed.
struct Known(UnsafeCell<u32>);

impl Known {
    fn change(&self) {
        for _ in 0..2 {
            // SAFETY: the checker sees to it that nobody else looks meanwhile.
            self.0.with_mut(|known| unsafe { *known += 1 });
        }
    }

    fn is_whole(&self) -> bool {
        // SAFETY: the checker sees to it that nobody writes meanwhile.
        self.0.with(|known| unsafe { *known }).is_multiple_of(2)
    }
}

/// Something that happens once, and that threads wait for.
#[derive(Debug)]
struct Signal(AtomicU32);

impl Signal {
    fn new() -> Signal {
        Signal(AtomicU32::new(0))
    }

    fn give(&self) {
        self.0.store(1, Ordering::Release);
        let _ = futex_wake(&self.0, u32::MAX >> 1);
    }

    fn wait(&self) {
        while self.0.load(Ordering::Acquire) == 0 {
            let _ = futex_wait(&self.0, 0);
        }
    }
}

/// The loader: its recursive lock, which is libc's, and what it guards.
struct Loader {
    lock: AtomicU32,
    owner: AtomicUsize,
    depth: Cell<u32>,
    changes: Changes,
    known: Known,
    /// A thread has forked.
    forked: Signal,
}

// SAFETY: `depth` is the lock's owner's alone.
unsafe impl Sync for Loader {}

impl Loader {
    fn new() -> Rc<Loader> {
        let new = Loader {
            lock: AtomicU32::new(0),
            owner: AtomicUsize::new(0),
            depth: Cell::new(0),
            changes: Changes::new(),
            known: Known(UnsafeCell::new(0)),
            forked: Signal::new(),
        };
        let _ = format!("{:?} {:?} {:?} {:?}", new.lock, new.owner, new.changes, new.forked);
        Rc::new(new)
    }

    /// An entry from outside: what `Process::lock` and the end of its guard do.
    fn locked<R>(&self, call: impl FnOnce() -> R) -> R {
        if self.owner.load(Ordering::Relaxed) != thread_pointer() {
            lock_word::take(&self.lock);
            self.owner.store(thread_pointer(), Ordering::Relaxed);
        }
        self.depth.set(self.depth.get() + 1);
        self.changes.enter();
        let result = call();
        self.changes.leave();
        self.depth.set(self.depth.get() - 1);
        if self.depth.get() == 0 {
            self.owner.store(0, Ordering::Relaxed);
            lock_word::release(&self.lock);
        }
        result
    }

    /// dlopen(3) of a library with a constructor.
    fn open(&self, constructor: impl FnOnce()) {
        self.locked(|| {
            self.known.change();
            self.changes.outside(constructor);
            self.known.change();
        });
    }

    /// fork(2), in the parent.
    fn fork(&self) {
        let waits = self.changes.wait_to_fork();
        assert_eq!(waits, self.changes.has_waited());
        assert!(self.known.is_whole() == waits, "a child finds what is half changed");
        if waits {
            self.changes.go_on();
        }
        self.forked.give();
    }
}

fn in_thread(loader: &Rc<Loader>, name: usize, body: impl FnOnce(&Loader) + 'static) -> JoinHandle<()> {
    let loader = loader.clone();
    spawn(name, move || body(&loader))
}

fn join<const N: usize>(threads: [JoinHandle<()>; N]) {
    for thread in threads {
        thread.join().expect("a thread ends");
    }
}

/// Three threads take a lock word.
pub fn exclude_each_other() {
    let loader = Loader::new();
    let change = |loader: &Loader| {
        lock_word::take(&loader.lock);
        loader.known.change();
        lock_word::release(&loader.lock);
    };
    let others = [2, 3].map(|name| in_thread(&loader, name, change));
    change(&loader);
    join(others);
    lock_word::take(&loader.lock);
    // SAFETY: there is one thread.
    assert_eq!(loader.known.0.with(|known| unsafe { *known }), 6);
}

/// Two threads open; a third forks.
pub fn fork_waits() {
    let loader = Loader::new();
    let others = [2, 3].map(|name| in_thread(&loader, name, |loader| loader.locked(|| loader.known.change())));
    loader.fork();
    join(others);
    loader.locked(|| loader.known.change());
}

/// A constructor: odd while it is under way.
struct Constructor(UnsafeCell<u32>);

impl Constructor {
    fn step(&self) {
        // SAFETY: the checker sees to it that nobody else looks meanwhile.
        self.0.with_mut(|steps| unsafe { *steps += 1 });
    }

    fn is_under_way(&self) -> bool {
        // SAFETY: as above.
        self.0.with(|steps| unsafe { *steps }) % 2 == 1
    }
}

/// A constructor opens a library, and takes no longer than a fork waits. It is not its thread's first.
pub fn fork_waits_for_foreign() {
    let loader = Loader::new();
    let constructor = Rc::new(Constructor(UnsafeCell::new(0)));
    let opener = {
        let constructor = constructor.clone();
        in_thread(&loader, 2, move |loader| {
            loader.changes.enter();
            loader.changes.outside(|| {});
            loader.changes.outside(|| {
                constructor.step();
                loader.open(|| {});
                constructor.step();
            });
            loader.changes.leave();
        })
    };
    assert!(loader.changes.wait_to_fork() && loader.known.is_whole());
    assert!(!constructor.is_under_way(), "a child finds what a constructor has half changed");
    loader.changes.go_on();
    join([opener]);
}

/// A constructor waits for the very thread that forks: nobody waits for good.
pub fn foreign_waits_for_fork() {
    let loader = Loader::new();
    sync::set_patient(false);
    let opener = in_thread(&loader, 2, |loader| loader.open(|| loader.forked.wait()));
    loader.fork();
    join([opener]);
}

/// An IFUNC resolver forks, and looks up a symbol, in the middle of its thread's change; another thread forks too.
pub fn fork_in_change() {
    let loader = Loader::new();
    let opener = in_thread(&loader, 2, |loader| {
        loader.locked(|| {
            // SAFETY: the checker sees to it that nobody else looks meanwhile.
            loader.known.0.with_mut(|known| unsafe { *known += 1 });
            loader.fork();
            loader.locked(|| {});
            // SAFETY: as above.
            loader.known.0.with_mut(|known| unsafe { *known += 1 });
        });
    });
    loader.fork();
    join([opener]);
}

/// A child begins while another thread of its parent's runs foreign code. Then a thread that it starts opens, and it forks.
pub fn begin_child() {
    let loader = Loader::new();
    sync::set_patient(false);
    // In the child that thread is no more: it has no say until the child has done all it does.
    let in_foreign = Rc::new(Signal::new());
    let _ = format!("{in_foreign:?}");
    let gone = {
        let in_foreign = in_foreign.clone();
        in_thread(&loader, 2, move |loader| {
            loader.open(|| {
                in_foreign.give();
                loader.forked.wait();
            });
        })
    };
    in_foreign.wait();
    assert!(loader.changes.wait_to_fork() && loader.known.is_whole());
    loader.changes.forget_others();
    loader.changes.begin_child();
    sync::set_patient(true);
    let constructor = Rc::new(Constructor(UnsafeCell::new(0)));
    // A new thread may get the memory of one that is no more, and so its thread pointer.
    let opener = {
        let constructor = constructor.clone();
        in_thread(&loader, 2, move |loader| {
            // libc's fork has made the load lock new: it is not what is taken here.
            loader.changes.enter();
            loader.changes.outside(|| {
                constructor.step();
                constructor.step();
            });
            loader.changes.leave();
        })
    };
    assert!(loader.changes.wait_to_fork());
    assert!(!constructor.is_under_way(), "a child's child finds what a constructor has half changed");
    loader.changes.go_on();
    join([opener]);
    loader.fork();
    join([gone]);
}
