//! The arena under one thread, under many, and under signals.

use super::*;
use std::collections::HashSet;
use std::sync::atomic::AtomicBool;
use std::thread;

fn arena() -> &'static Arena {
    let arena = Box::leak(Box::new(Arena::new()));
    arena.begin(Box::leak(Box::new(FirstRegion::new())));
    arena
}

fn layout(size: usize, align: usize) -> Layout {
    Layout::from_size_align(size, align).unwrap()
}

/// xorshift, Marsaglia 2003.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) as usize % limit
    }
}

#[test]
fn classes_cover_their_sizes_without_gaps() {
    let mut seen = HashSet::new();
    let (mut last_index, mut last_size) = (0, 0);
    for size in 0..=LARGEST_CHUNK {
        let Some(Class::Chunk { index, size: chunk, align: GRAIN }) = Class::of(layout(size, 8)) else {
            panic!("no class for {size}")
        };
        assert!(chunk >= size && chunk % GRAIN == 0 && index < CLASSES, "{size} in {chunk}");
        assert!(size <= 128 || (chunk - size) * 8 < size, "{size} in {chunk} wastes an eighth");
        assert!(index == last_index && (chunk == last_size || size == 0) || index == last_index + 1, "{size}");
        (last_index, last_size) = (index, chunk);
        seen.insert(index);
    }
    assert_eq!((seen.len(), last_size), (CLASSES, LARGEST_CHUNK));
    for align in (5..=12).map(|power| 1 << power) {
        for size in [0, 1, 31, 32, 33, 4096, 4097, LARGEST_CHUNK] {
            let Some(Class::Chunk { index, size: chunk, align: given }) = Class::of(layout(size, align)) else {
                panic!("no class for {size} at {align}")
            };
            assert!((CLASSES..CLASSES + ALIGNED_CLASSES).contains(&index));
            assert!(chunk >= size && given >= align && chunk % given == 0);
        }
    }
    assert_eq!(Class::of(layout(LARGEST_CHUNK + 1, 8)), Some(Class::Mapping { size: LARGEST_CHUNK + PAGE }));
    assert_eq!(Class::of(layout(1, 8192)), Some(Class::Mapping { size: PAGE }));
}

#[test]
fn a_small_start_maps_nothing_and_reuses_what_was_freed() {
    let arena = arena();
    let first = arena.region(ptr::null_mut()).1 as usize;
    for size in [1, 16, 100, 5000] {
        // SAFETY: allocated and freed with one layout, not used after.
        unsafe {
            let one = arena.alloc(layout(size, 8));
            assert!((first..first + FIRST_REGION).contains(&(one as usize)));
            arena.dealloc(one, layout(size, 8));
            assert_eq!(arena.alloc(layout(size, 8)), one);
        }
    }
    assert!(arena.current.load(Ordering::Relaxed).is_null());
}

#[test]
fn zeroed_memory_is_zero_when_reused() {
    let arena = arena();
    for size in [24, 1000, 40_000, 100_000] {
        let layout = layout(size, 16);
        // SAFETY: each piece is used within its layout until it is freed.
        unsafe {
            let one = arena.alloc_zeroed(layout);
            assert!((0..size).all(|place| *one.add(place) == 0));
            one.write_bytes(0xff, size);
            arena.dealloc(one, layout);
            let two = arena.alloc_zeroed(layout);
            assert!((0..size).all(|place| *two.add(place) == 0));
            arena.dealloc(two, layout);
        }
    }
}

#[test]
fn large_alignments_are_honoured() {
    let arena = arena();
    for align in (0..=21).map(|power| 1 << power) {
        for size in [1, 40, 5000, 70_000] {
            // SAFETY: used within its layout until it is freed.
            unsafe {
                let memory = arena.alloc(layout(size, align));
                assert_eq!(memory as usize % align, 0, "{size} at {align}");
                memory.write_bytes(1, size);
                arena.dealloc(memory, layout(size, align));
            }
        }
    }
}

#[test]
fn growing_and_shrinking_keeps_the_bytes() {
    let arena = arena();
    for align in [1, 64, 8192] {
        let (mut size, mut memory) = (0, ptr::null_mut::<u8>());
        for new in [10, 16, 17, 300, 65_000, 66_000, 500_000, 3_000_000, 70_000, 65_536, 20, 1] {
            // SAFETY: `memory` always has the layout of `size` and `align`.
            unsafe {
                memory = match size {
                    0 => arena.alloc(layout(new, align)),
                    _ => arena.realloc(memory, layout(size, align), new),
                };
                assert_eq!(memory as usize % align, 0);
                let kept = size.min(new);
                assert!((0..kept).all(|place| *memory.add(place) == place as u8), "{size} to {new}");
                (0..new).for_each(|place| *memory.add(place) = place as u8);
            }
            size = new;
        }
    }
}

#[test]
fn an_impossible_request_is_refused() {
    // SAFETY: nothing is allocated.
    assert!(unsafe { arena().alloc(layout(isize::MAX as usize - PAGE, 1)) }.is_null());
}

/// Threads allocate, check that nobody else wrote into their memory, and free; half of the frees are of memory that
/// another thread allocated.
#[test]
fn threads_never_share_a_chunk() {
    const THREADS: usize = 8;
    const SLOTS: usize = 64;
    const ROUNDS: usize = 200_000;
    let arena = arena();
    let exchange: &[AtomicUsize] = Box::leak((0..SLOTS).map(|_| AtomicUsize::new(0)).collect());

    /// A piece of memory begins with its size; every further byte is `tag`.
    ///
    /// # Safety
    /// `memory` has `size` bytes, at least 16, that are the caller's.
    unsafe fn fill(memory: *mut usize, size: usize, tag: u8) {
        // SAFETY: the callers own `size` bytes, at least 16.
        unsafe {
            *memory = size << 8 | usize::from(tag);
            memory.add(1).cast::<u8>().write_bytes(tag, size - 8);
        }
    }

    /// # Safety
    /// `memory` was filled by `fill`.
    unsafe fn check(memory: *mut usize) -> usize {
        // SAFETY: as above.
        unsafe {
            let (size, tag) = (*memory >> 8, *memory as u8);
            let bytes = std::slice::from_raw_parts(memory.add(1).cast::<u8>(), size - 8);
            assert!(bytes.iter().all(|&byte| byte == tag));
            size
        }
    }

    thread::scope(|scope| {
        for thread in 0..THREADS {
            scope.spawn(move || {
                let mut random = Random(0x1234_5678_9abc_def1 * (thread as u64 + 1));
                for round in 0..ROUNDS {
                    let limit = [64, 64, 256, 2000][random.below(4)];
                    let size = if round % 5000 == 0 { 80_000 } else { 16 + random.below(limit) };
                    // SAFETY: a piece belongs to the thread that took it from the exchange or allocated it.
                    unsafe {
                        let memory = arena.alloc(layout(size, 16)).cast::<usize>();
                        assert!(!memory.is_null());
                        fill(memory, size, (thread * 31 + round) as u8);
                        let slot = &exchange[random.below(SLOTS)];
                        let other = slot.swap(memory as usize, Ordering::AcqRel) as *mut usize;
                        if !other.is_null() {
                            let size = check(other);
                            arena.dealloc(other.cast(), layout(size, 16));
                        }
                    }
                }
            });
        }
    });
    for slot in exchange {
        let memory = slot.load(Ordering::Acquire) as *mut usize;
        // SAFETY: the threads have ended.
        unsafe { arena.dealloc(memory.cast(), layout(check(memory), 16)) };
    }
}

/// All take fresh memory at once; sorted by address, no piece reaches into the next.
#[test]
fn threads_take_disjoint_pieces_of_a_region() {
    let arena = arena();
    let mut pieces: Vec<(usize, usize)> = thread::scope(|scope| {
        let take = |thread: u64| {
            let mut random = Random(thread + 1);
            let piece = |_| {
                let size = 1 + random.below(200);
                // SAFETY: never freed.
                (unsafe { arena.alloc(layout(size, 1)) } as usize, size)
            };
            (0..50_000).map(piece).collect::<Vec<_>>()
        };
        let threads: Vec<_> = (0..8).map(|thread| scope.spawn(move || take(thread))).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    pieces.sort_unstable();
    assert!(pieces.windows(2).all(|pair| pair[0].0 + pair[0].1 <= pair[1].0));
}

#[test]
fn an_arena_that_has_not_begun_maps_what_it_gives_out() {
    let arena = Arena::new();
    let layout = layout(100, 8);
    // SAFETY: the layout is not empty, and the memory is given back to where it came from.
    unsafe {
        let memory = arena.alloc(layout);
        memory.write_bytes(1, 100);
        assert!(!arena.current.load(Ordering::Relaxed).is_null());
        arena.dealloc(memory, layout);
    }
}

/// A signal handler interrupts the same thread's calls anywhere. It takes the two first chunks and gives the first one
/// back: the list's head looks as before, but what follows it has changed.
#[test]
fn a_handler_may_allocate_in_the_middle_of_a_call() {
    static FIRST: FirstRegion = FirstRegion::new();
    static ARENA: Arena = Arena::new();
    static HANDLED: AtomicUsize = AtomicUsize::new(0);
    static SPOILED: AtomicUsize = AtomicUsize::new(0);
    static HELD: AtomicPtr<u8> = AtomicPtr::new(ptr::null_mut());
    const SIZE: usize = 16;
    const LAYOUT: Layout = Layout::new::<[u128; 1]>();
    const OURS: u8 = 0xaa;
    extern "C" fn handler(_: i32) {
        // SAFETY: allocated here, freed here or by the next call.
        unsafe {
            let (first, second) = (ARENA.alloc(LAYOUT), ARENA.alloc(LAYOUT));
            second.write_bytes(OURS, SIZE);
            let held = HELD.swap(second, Ordering::Relaxed);
            if !held.is_null() {
                let whole = (0..SIZE).all(|place| *held.add(place) == OURS);
                SPOILED.fetch_add(usize::from(!whole), Ordering::Relaxed);
                ARENA.dealloc(held, LAYOUT);
            }
            ARENA.dealloc(first, LAYOUT);
        }
        HANDLED.fetch_add(1, Ordering::Relaxed);
    }
    ARENA.begin(&FIRST);
    // SAFETY: libc declares them so (signal(2), pthread_self(3), pthread_kill(3)).
    unsafe extern "C" {
        fn signal(number: i32, handler: extern "C" fn(i32)) -> usize;
        fn pthread_self() -> usize;
        fn pthread_kill(thread: usize, number: i32) -> i32;
    }
    const SIGUSR1: i32 = 10;
    let done = &AtomicBool::new(false);
    // SAFETY: the handler calls nothing but the arena and atomics; the thread lives until the scope ends.
    thread::scope(|scope| unsafe {
        signal(SIGUSR1, handler);
        let target = pthread_self();
        scope.spawn(move || {
            while !done.load(Ordering::Relaxed) {
                pthread_kill(target, SIGUSR1);
            }
        });
        while HANDLED.load(Ordering::Relaxed) < 30_000 && SPOILED.load(Ordering::Relaxed) == 0 {
            let pieces = [ARENA.alloc(LAYOUT), ARENA.alloc(LAYOUT), ARENA.alloc(LAYOUT)];
            for piece in pieces {
                piece.write_bytes(1, SIZE);
            }
            for piece in pieces {
                ARENA.dealloc(piece, LAYOUT);
            }
        }
        done.store(true, Ordering::Relaxed);
    });
    assert_eq!(SPOILED.load(Ordering::Relaxed), 0);
}

/// What grows where it is, and is freed, is there for the next one that grows: no round takes new memory.
#[test]
fn growing_again_and_again_takes_no_new_memory() {
    let arena = arena();
    let grow = || {
        let (small, large) = (layout(64, 8), layout(1024, 8));
        // SAFETY: allocated, grown and freed here, with the layouts that it has at the time.
        unsafe {
            let first = arena.alloc(small);
            let grown = arena.realloc(first, small, large.size());
            assert!(!grown.is_null());
            arena.dealloc(grown, large);
        }
    };
    (0..3).for_each(|_| grow());
    let used = arena.first_used.load(Ordering::Relaxed);
    (0..100).for_each(|_| grow());
    assert_eq!(arena.first_used.load(Ordering::Relaxed), used);
}
