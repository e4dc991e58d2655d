//! Thread-local storage: a thread uses its variables, or is being made, while another opens and closes modules.

use std::rc::Rc;

use loom::cell::UnsafeCell;
use loom::sync::Mutex;

use crate::dl::modules::{DYNAMIC, Modules, Slot, UNDECIDED, decide, decide_for_static};
use crate::sync::{AtomicBool, AtomicUsize, Ordering, spawn};

/// The statics of `ld/rtld/src/dl/tls.rs`.
#[derive(Debug)]
struct Statics {
    slots: [Slot; 4],
    generation: AtomicUsize,
    highest: AtomicUsize,
}

impl Statics {
    fn new() -> Rc<Statics> {
        let new = Statics {
            slots: [const { Slot::new() }; 4],
            generation: AtomicUsize::new(0),
            highest: AtomicUsize::new(0),
        };
        let _ = format!("{new:?}");
        Rc::new(new)
    }

    fn modules(&self) -> Modules<'_> {
        Modules { slots: &self.slots, generation: &self.generation, highest: &self.highest }
    }
}

/// A dtv: the generation that its thread has seen, and for each module whose block it is.
struct Dtv {
    seen: usize,
    blocks: Vec<Option<usize>>,
}

impl Dtv {
    /// `__tls_get_addr`: what the assembly of `runtime/src/tls.rs` does, then the slow way.
    fn get(&mut self, modules: Modules<'_>, module: usize) -> usize {
        if modules.generation.load(Ordering::Relaxed) == self.seen
            && let Some(block) = self.blocks[module]
        {
            return block;
        }
        if let Some(news) = modules.since(self.seen) {
            if news.highest >= self.blocks.len() {
                self.blocks.resize(news.highest + 1, None);
            }
            for module in 1..=news.highest {
                if news.concern(module) {
                    self.blocks[module] = None;
                }
            }
            self.seen = news.generation;
        }
        *self.blocks[module].get_or_insert_with(|| modules.map(module))
    }
}

const FIRST: usize = 11;
const STAYS: usize = 12;
const SECOND: usize = 13;
const THIRD: usize = 14;

/// A module goes, another gets its id, and a third one a new id; a thread that has used the first, and uses one that stays
/// meanwhile, finds all of them as soon as it hears of them.
pub fn use_ids_again() {
    use_while(|modules, between| {
        modules.remove(1);
        between();
        modules.publish();
        assert_eq!((modules.add(SECOND), modules.add(THIRD)), (Some(1), Some(3)));
        between();
        modules.publish();
    });
}

/// As [`use_ids_again`], but a generation is there before what is of it.
pub fn publish_too_early() {
    use_while(|modules, between| {
        between();
        modules.publish();
        modules.remove(1);
        assert_eq!((modules.add(SECOND), modules.add(THIRD)), (Some(1), Some(3)));
    });
}

fn use_while(change: fn(Modules<'_>, &dyn Fn())) {
    let statics = Statics::new();
    let modules = statics.modules();
    assert_eq!((modules.add(FIRST), modules.add(STAYS)), (Some(1), Some(2)));
    modules.publish();
    let mut dtv = Dtv { seen: 0, blocks: vec![None] };
    assert_eq!((dtv.get(modules, 1), dtv.get(modules, 2)), (FIRST, STAYS));
    let opened = Rc::new(AtomicBool::new(false));
    // The checker looks for other orders of two operations on a word only if they follow upon each other there, and the opener
    // reads the generation itself, before it publishes one. This word has it try a reading in between.
    let between = Rc::new(AtomicBool::new(false));
    let _ = format!("{opened:?} {between:?}");
    let opener = {
        let (statics, opened, between) = (statics.clone(), opened.clone(), between.clone());
        spawn(2, move || {
            change(statics.modules(), &|| between.store(true, Ordering::Relaxed));
            opened.store(true, Ordering::Release);
        })
    };
    between.load(Ordering::Relaxed);
    assert_eq!(dtv.get(modules, 2), STAYS);
    if opened.load(Ordering::Acquire) {
        assert_eq!(dtv.get(modules, 1), SECOND);
    }
    opener.join().expect("opening ends");
    assert_eq!((dtv.get(modules, 1), dtv.get(modules, 2), dtv.get(modules, 3)), (SECOND, STAYS, THIRD));
}

const PLACE: usize = 64;
const IMAGE: u32 = 42;

/// A module that threads know is given a place in static TLS in the moment in which one of them uses it first.
pub fn place_in_use() {
    use_while_placed(|offset, fill| {
        decide_for_static(offset, PLACE, fill);
    });
}

/// As [`place_in_use`], but what is decided is not so yet.
pub fn fill_too_late() {
    use_while_placed(|offset, fill| {
        if decide(offset, PLACE) == PLACE {
            fill();
        }
    });
}

fn use_while_placed(place: fn(&AtomicUsize, &dyn Fn())) {
    let offset = Rc::new(AtomicUsize::new(UNDECIDED));
    let _ = format!("{offset:?}");
    let block = Rc::new(UnsafeCell::new(0));
    let opener = {
        let (offset, block) = (offset.clone(), block.clone());
        spawn(2, move || {
            // SAFETY: the checker sees to it that nobody else uses the block meanwhile.
            place(&offset, &|| block.with_mut(|block| unsafe { *block = IMAGE }));
        })
    };
    let decided = decide(&offset, DYNAMIC);
    if decided == PLACE {
        // SAFETY: as above.
        assert_eq!(block.with(|block| unsafe { *block }), IMAGE);
        // SAFETY: as above.
        block.with_mut(|block| unsafe { *block = 5 });
    }
    opener.join().expect("opening ends");
    assert_eq!(offset.load(Ordering::Relaxed), decided);
    // SAFETY: there is one thread.
    assert!(decided == DYNAMIC || block.with(|block| unsafe { *block }) == 5);
}

/// The image of a module, by its link map; written while it is relocated, and again when it is unmapped.
type Images = [UnsafeCell<u32>; 2];

/// A thread is made while a module in static TLS is opened and another one is closed: it has the image of the one, and has
/// not looked at the other, or not too late.
pub fn make_thread() {
    const CLOSED: usize = 1;
    const OPENED: usize = 2;
    const UNMAPPED: u32 = 0;
    let statics = Statics::new();
    let images: Rc<Images> = Rc::new([UnsafeCell::new(IMAGE), UnsafeCell::new(0)]);
    // The lock of modules, and the list of blocks that it guards: here, whether the new thread's is on it.
    let lock = Rc::new(Mutex::new(false));
    // The new thread's block for the module that is opened.
    let block = Rc::new(UnsafeCell::new(0));
    // SAFETY: the checker sees to it that nobody writes meanwhile.
    let read = |images: &Images, map: usize| images[map - 1].with(|image| unsafe { *image });
    // SAFETY: as above, or reads.
    let write = |images: &Images, map: usize, value| images[map - 1].with_mut(|image| unsafe { *image = value });

    assert_eq!(statics.modules().add(CLOSED), Some(1));
    statics.modules().publish();
    let opener = {
        let (statics, images, lock, block) = (statics.clone(), images.clone(), lock.clone(), block.clone());
        spawn(2, move || {
            let modules = statics.modules();
            assert_eq!(modules.add(OPENED), Some(2));
            write(&images, OPENED, IMAGE);
            {
                let is_listed = lock.lock().expect("nobody panics");
                if *is_listed {
                    // SAFETY: as above.
                    block.with_mut(|block| unsafe { *block = read(&images, OPENED) });
                }
                modules.publish();
            }
            let _list = lock.lock().expect("nobody panics");
            modules.remove(1);
            write(&images, CLOSED, UNMAPPED);
            modules.publish();
        })
    };
    {
        let mut is_listed = lock.lock().expect("nobody panics");
        let (generation, present) = statics.modules().current(3);
        for (module, map) in present {
            let image = read(&images, map);
            assert_eq!((image, module), (IMAGE, map));
            if map == OPENED {
                // SAFETY: as above.
                block.with_mut(|block| unsafe { *block = image });
            }
        }
        assert!((1..=3).contains(&generation));
        *is_listed = true;
    }
    opener.join().expect("opening ends");
    // SAFETY: there is one thread.
    assert_eq!(block.with(|block| unsafe { *block }), IMAGE);
}
