//! Thread-local storage at run time: modules, dtvs, and the blocks of threads.
//!
//! libc, libthread_db and debuggers read the dtv and the list of modules, so both have glibc's shape (*glibc
//! sysdeps/generic/dl-dtv.h, elf/dl-tls.c*). What only Folio reads, the list of dynamic blocks of a dtv, lies in front of
//! it: libc frees `to_free` of cached threads itself, so that stays null (*glibc nptl/nptl-stack.c*).
//!
//! # Safety
//! Blocks and dtvs belong to one thread each; the module list is shared and made of atomic words. Entries of a generation
//! that has not been published are not looked at.
#![allow(unsafe_code)]

mod modules;

use alloc::alloc::{Layout as Memory, alloc_zeroed, dealloc};
use core::arch::asm;
use core::ptr::{null_mut, with_exposed_provenance_mut};
use core::sync::atomic::{AtomicUsize, Ordering};

use folio_glibc::layout::Layout;
use folio_link::tls::{Demand, Module as Sizes};
use folio_runtime::syscall::exit_group;
use folio_runtime::tls::TlsIndex;

use crate::abi::link_map::LinkMap;
use crate::debug::{self, Categories};
use crate::dl::program_memory;
use crate::dl::{fork, threads};
use crate::image::own;
use crate::process::Process;
use crate::report;

pub use modules::{DYNAMIC, UNDECIDED};
use modules::{Modules, Slot};

/// Most modules that can be loaded at a time; untouched entries cost no memory.
pub const MODULES: usize = 4096;

/// `dtv[m].val` of a module whose block this thread has not used.
const UNALLOCATED: usize = usize::MAX;

/// Slots of a dtv beyond the modules that there are (glibc `DTV_SURPLUS`).
const SURPLUS: usize = 14;

/// The generation of the module list; a dtv that has seen it knows all modules.
#[unsafe(no_mangle)]
pub static FOLIO_TLS_GENERATION: AtomicUsize = AtomicUsize::new(0);

/// `struct dtv_slotinfo_list`, one that never has to grow.
#[repr(C)]
pub struct Slots {
    length: AtomicUsize,
    next: AtomicUsize,
    slots: [Slot; MODULES],
}

/// Modules by id; slot 0 is unused.
#[unsafe(link_section = ".bss.large.slots")]
pub static SLOTS: Slots =
    Slots { length: AtomicUsize::new(0), next: AtomicUsize::new(0), slots: [const { Slot::new() }; MODULES] };

/// Highest module id that was in use.
static HIGHEST: AtomicUsize = AtomicUsize::new(0);

fn modules() -> Modules<'static> {
    Modules { slots: &SLOTS.slots, generation: &FOLIO_TLS_GENERATION, highest: &HIGHEST }
}

/// Bytes of static TLS of the main thread, and of blocks that are not part of a stack: no thread will have more.
static LARGEST_BLOCK: AtomicUsize = AtomicUsize::new(0);

/// The control block of the main thread.
static MAIN_THREAD: AtomicUsize = AtomicUsize::new(0);

pub fn set_largest_block(size: usize) {
    LARGEST_BLOCK.store(size, Ordering::Relaxed);
}

pub fn largest_block() -> usize {
    LARGEST_BLOCK.load(Ordering::Relaxed)
}

impl Slots {
    /// Says how long the list is, and where. (All zero in the file, it takes no room there.)
    pub fn introduce(&self) -> usize {
        self.length.store(MODULES, Ordering::Relaxed);
        (&raw const *self).expose_provenance()
    }
}

/// The link map at an address from the list of modules.
fn link_map(layout: &Layout, address: usize) -> Option<LinkMap> {
    // SAFETY: slots hold null or link maps that Folio made.
    unsafe { LinkMap::from_base(layout, with_exposed_provenance_mut(address)) }
}

/// Gives a module an id of the generation after this one; [`publish_generation`] makes it known.
pub fn add_module(layout: &Layout, map: LinkMap) -> Option<usize> {
    let module = modules().add(map.address())?;
    map.record().put(layout.link_map.tls_modid, module);
    Some(module)
}

/// Takes a module's id away, in the generation after this one.
pub fn remove_module(module: usize) {
    modules().remove(module);
}

/// Makes the modules added and removed since the last generation known. The load lock is held.
pub fn publish_generation(process: &Process) {
    let generation = modules().publish();
    let g = &process.layout.global;
    process.global_record.put(g.tls_generation, generation);
    process.global_record.put(g.tls_max_dtv_idx, modules().highest());
    program_memory::find(process);
}

/// The thread pointer, the address of the thread control block.
pub fn thread_pointer() -> usize {
    let pointer;
    // SAFETY: once a thread runs, the first word of its control block is the block's own address (psABI).
    unsafe { asm!("mov {}, fs:0", out(reg) pointer, options(nostack, preserves_flags, readonly)) };
    pointer
}

/// One entry of a dtv; the first two, -1 and 0, hold a number in place of a pointer.
#[repr(C)]
struct Entry {
    value: usize,
    to_free: usize,
}

/// What lies in front of `dtv[-1]`.
#[repr(C)]
struct Header {
    /// Blocks of dynamic TLS of this thread.
    blocks: *mut Block,
    /// The thread's place on the list of those with static TLS; null for a dtv that is not installed yet.
    place: *mut threads::Block,
}

/// A block of dynamic TLS, in front of its variables.
#[repr(C)]
struct Block {
    next: *mut Block,
    module: usize,
    /// The allocation that holds it: the program's if `own` is none.
    memory: *mut u8,
    own: Option<Memory>,
}

/// A thread's dtv.
#[derive(Clone, Copy)]
struct Dtv(*mut Entry);

impl Dtv {
    fn memory(capacity: usize) -> Memory {
        Memory::from_size_align(size_of::<Header>() + (capacity + 2) * size_of::<Entry>(), 16)
            .expect("no more than some thousand modules")
    }

    /// A dtv for `capacity` modules, none of which is allocated.
    fn create(capacity: usize) -> Option<Dtv> {
        // SAFETY: the size is not zero.
        let base = unsafe { alloc_zeroed(Dtv::memory(capacity)) };
        if base.is_null() {
            return None;
        }
        let entries: *mut Entry = base.wrapping_add(size_of::<Header>()).cast();
        let dtv = Dtv(entries.wrapping_add(1));
        dtv.entry_before().value = capacity;
        for module in 1..=capacity {
            dtv.entry(module).value = UNALLOCATED;
        }
        Some(dtv)
    }

    /// The dtv of the thread control block at `thread`.
    fn of_thread(layout: &Layout, thread: usize) -> Dtv {
        let field: *const usize = with_exposed_provenance_mut(thread + usize::from(layout.pthread.dtv));
        // SAFETY: `thread` is a control block whose dtv was set by `install`.
        Dtv(with_exposed_provenance_mut(unsafe { field.read() }))
    }

    fn install(self, layout: &Layout, thread: usize) {
        let field: *mut usize = with_exposed_provenance_mut(thread + usize::from(layout.pthread.dtv));
        // SAFETY: `thread` is a control block of the current thread or of one that does not run yet.
        unsafe { field.write(self.0.expose_provenance()) };
    }

    fn entry_before(self) -> &'static mut Entry {
        // SAFETY: the allocation has an entry -1; a dtv is used by one thread at a time.
        unsafe { &mut *self.0.wrapping_sub(1) }
    }

    fn capacity(self) -> usize {
        self.entry_before().value
    }

    fn entry(self, module: usize) -> &'static mut Entry {
        assert!(module <= self.capacity());
        // SAFETY: the allocation has entries up to its capacity; a dtv is used by one thread at a time.
        unsafe { &mut *self.0.wrapping_add(module) }
    }

    fn header(self) -> &'static mut Header {
        let header: *mut Header = self.0.wrapping_sub(1).cast::<Header>().wrapping_sub(1);
        // SAFETY: `create` put it there; a dtv is used by one thread at a time.
        unsafe { &mut *header }
    }

    fn release(self) {
        let memory = Dtv::memory(self.capacity());
        let base: *mut Header = self.header();
        // SAFETY: the allocation of `create`, with the same size.
        unsafe { dealloc(base.cast(), memory) };
    }

    /// Frees the dynamic blocks for which `unwanted` says so.
    fn free_blocks(self, mut unwanted: impl FnMut(usize) -> bool) {
        let mut link: *mut *mut Block = &mut self.header().blocks;
        loop {
            // SAFETY: `link` points to the list's head or into a block of the list.
            let block = unsafe { *link };
            if block.is_null() {
                return;
            }
            // SAFETY: blocks of the list are allocated.
            let Block { next, module, memory, own } = unsafe { block.read() };
            if unwanted(module) {
                // SAFETY: as above; then the block's allocation, given back to where it came from.
                unsafe {
                    *link = next;
                    match own {
                        Some(own) => dealloc(memory, own),
                        None => program_memory::release(memory),
                    }
                }
            } else {
                // SAFETY: a block that stays in the list.
                link = unsafe { &raw mut (*block).next };
            }
        }
    }

    /// The same dtv with room for more modules.
    fn grown(self, capacity: usize) -> Option<Dtv> {
        let larger = Dtv::create(capacity)?;
        for module in 0..=self.capacity() {
            larger.entry(module).value = self.entry(module).value;
            larger.entry(module).to_free = self.entry(module).to_free;
        }
        larger.header().blocks = self.header().blocks;
        larger.header().place = self.header().place;
        self.release();
        Some(larger)
    }
}

/// What of a module a thread needs to know.
struct Module {
    image: *const u8,
    image_size: usize,
    size: usize,
    align: usize,
    first_byte: usize,
}

impl Module {
    fn of(layout: &Layout, map: LinkMap) -> Module {
        let l = &layout.link_map;
        let record = map.record();
        Module {
            image: with_exposed_provenance_mut(record.get(l.tls_initimage)),
            image_size: record.get(l.tls_initimage_size),
            size: record.get(l.tls_blocksize),
            align: record.get::<usize>(l.tls_align).max(1),
            first_byte: record.get(l.tls_firstbyte_offset),
        }
    }

    /// Copies the initialisation image to `block`; what follows it is zero or set to zero.
    fn initialise(&self, block: *mut u8) {
        // SAFETY: the block has the module's size, the image lies in the object's mapping (checked when it was loaded).
        unsafe {
            core::ptr::copy_nonoverlapping(self.image, block, self.image_size);
            block.wrapping_add(self.image_size).write_bytes(0, self.size - self.image_size);
        }
    }
}

/// How far below the thread pointer a module's block is, undecided or dynamic: `l_tls_offset`.
pub fn offset_of(layout: &Layout, map: LinkMap) -> &'static AtomicUsize {
    let field: *mut usize = with_exposed_provenance_mut(map.record().address(layout.link_map.tls_offset));
    // SAFETY: a word of a link map, which is never freed while its object may be in use, accessed atomically.
    unsafe { AtomicUsize::from_ptr(field) }
}

/// Fills in the static blocks and the dtv of the thread whose control block is at `thread`.
fn initialise_thread(layout: &Layout, thread: usize, dtv: Dtv) {
    // No module may go while its image is copied.
    let _lock = Process::get().lock_tls();
    for module in 1..=dtv.capacity() {
        let entry = dtv.entry(module);
        entry.value = UNALLOCATED;
        entry.to_free = 0;
    }
    let (generation, present) = modules().current(dtv.capacity());
    for (module, map) in present {
        let map = link_map(layout, map).expect("a module has a link map");
        let offset = offset_of(layout, map).load(Ordering::Relaxed);
        if offset != UNDECIDED && offset != DYNAMIC {
            let block = with_exposed_provenance_mut::<u8>(thread - offset);
            Module::of(layout, map).initialise(block);
            dtv.entry(module).value = block.expose_provenance();
        }
    }
    dtv.entry(0).value = generation;
}

/// Takes a place in static TLS for a module that was loaded after the start; if it was known before this opening, every
/// thread gets its image now. `None` if there is no room, or if a thread has a dynamic block of it already.
pub fn take_static(process: &Process, map: LinkMap, module: &Sizes) -> Option<u64> {
    let layout = process.layout;
    // SAFETY: the load lock is held, and nobody else borrows the block.
    let block = unsafe { process.tls.get_mut() };
    let taken = block.take(module, Demand::Required).or_else(|| {
        if !threads::is_alone(process, MAIN_THREAD.load(Ordering::Relaxed)) {
            return None;
        }
        let taken = block.take_within(largest_block() as u64, module, Demand::Required)?;
        let size = block.size() + u64::from(layout.pthread.size);
        if own::change(process, || process.ro.put(layout.global_ro.tls_static_size, size)).is_err() {
            block.give_back(taken);
            return None;
        }
        Some(taken)
    })?;
    let _lock = process.lock_tls();
    let id: usize = map.record().get(layout.link_map.tls_modid);
    let is_known = !modules().is_later(id, FOLIO_TLS_GENERATION.load(Ordering::Relaxed));
    let fill = || {
        if is_known {
            fill_all(layout, map, taken as usize);
        }
    };
    if !modules::decide_for_static(offset_of(layout, map), taken as usize, fill) {
        block.give_back(taken);
        return None;
    }
    Some(taken)
}

/// Gives the thread at `thread` a dtv; its static blocks are filled in by [`initialise_main_thread`].
pub fn create_main_dtv(layout: &Layout, thread: usize) -> Option<usize> {
    let dtv = Dtv::create(modules().highest() + SURPLUS)?;
    MAIN_THREAD.store(thread, Ordering::Relaxed);
    dtv.install(layout, thread);
    dtv.header().place = threads::add(thread);
    Some(dtv.0.expose_provenance())
}

/// Copies the initialisation images, which are relocated now, into the main thread's static blocks.
pub fn initialise_main_thread(layout: &Layout, thread: usize) {
    initialise_thread(layout, thread, Dtv::of_thread(layout, thread));
}

/// Copies the image of a module that was just given a static offset into every block. The lock of modules is held until the
/// module is known, so that a thread that is being made gets the image either here or of itself.
pub fn initialise_in_all(layout: &Layout, map: LinkMap) {
    let module: usize = map.record().get(layout.link_map.tls_modid);
    let offset = offset_of(layout, map).load(Ordering::Relaxed);
    if module != 0 && offset != UNDECIDED && offset != DYNAMIC {
        fill_all(layout, map, offset);
    }
}

/// Copies a module's image to that offset in every block. The lock of modules is held.
fn fill_all(layout: &Layout, map: LinkMap, offset: usize) {
    let of = Module::of(layout, map);
    threads::for_each_block(|thread, _| of.initialise(with_exposed_provenance_mut(thread - offset)));
}

/// `_dl_allocate_tls`: makes a dtv for the control block at `thread`, or for a new block of static TLS if that is null, and
/// initialises all static TLS. Null if there is no memory; libc expects its `errno` to say so.
// SAFETY: libc's pthread_create passes the control block of a thread that does not run yet, above room for its static TLS;
// others pass null.
#[unsafe(no_mangle)]
unsafe extern "C" fn _dl_allocate_tls(thread: *mut u8) -> *mut u8 {
    let process = Process::get();
    let layout = process.layout;
    fork::prepare_for(process);
    let is_new = thread.is_null();
    let thread = if is_new { allocate_static_block(process) } else { thread };
    let dtv = Dtv::create(modules().highest() + SURPLUS);
    let (false, Some(dtv)) = (thread.is_null(), dtv) else {
        set_errno_no_memory(process);
        return null_mut();
    };
    let address = thread.expose_provenance();
    dtv.install(layout, address);
    {
        let _lock = process.lock_tls();
        initialise_thread(layout, address, dtv);
        dtv.header().place = threads::add(address);
    }
    if is_new {
        debug::say(Categories::TLS, format_args!("TCB allocated: {address:#x}\n"));
    }
    thread
}

/// Memory for the static TLS and control block of a thread; the result is where the control block begins.
fn allocate_static_block(process: &Process) -> *mut u8 {
    let (top, memory) = static_block_memory(process);
    // SAFETY: the size is not zero.
    let base = unsafe { alloc_zeroed(memory) };
    if base.is_null() { base } else { base.wrapping_add(top) }
}

fn static_block_memory(process: &Process) -> (usize, Memory) {
    let align: usize = process.ro.get(process.layout.global_ro.tls_static_align);
    let (top, thread) = (largest_block(), usize::from(process.layout.pthread.size));
    (top, Memory::from_size_align(top + thread, align).expect("the static TLS size was checked at start"))
}

fn set_errno_no_memory(process: &Process) {
    // SAFETY: written once at start.
    let Some(location) = (unsafe { process.libc.get() }).errno_location else { return };
    // SAFETY: libc's __errno_location, which gives the calling thread's errno.
    unsafe { *crate::process::function::<unsafe extern "C" fn() -> *mut i32>(location)() = 12 };
}

/// `_dl_allocate_tls_init`: makes the dtv and static TLS of a reused stack new. The second argument has had two opposite
/// meanings; it is always right to initialise.
// SAFETY: libc's pthread_create passes null, or the control block of a thread that has ended, with the dtv that it had.
#[unsafe(no_mangle)]
unsafe extern "C" fn _dl_allocate_tls_init(thread: *mut u8, _: bool) -> *mut u8 {
    if thread.is_null() {
        return null_mut();
    }
    let layout = Process::get().layout;
    let address = thread.expose_provenance();
    let mut dtv = Dtv::of_thread(layout, address);
    dtv.free_blocks(|_| true);
    let highest = modules().highest();
    if dtv.capacity() < highest {
        let Some(larger) = dtv.grown(highest + SURPLUS) else { return null_mut() };
        dtv = larger;
        dtv.install(layout, address);
    }
    initialise_thread(layout, address, dtv);
    thread
}

/// `_dl_deallocate_tls`: frees the dynamic blocks and the dtv of a thread, and its static block if it has one of its own.
// SAFETY: libc passes the control block of a thread that has ended or never ran: nothing of its TLS is used any more.
#[unsafe(no_mangle)]
unsafe extern "C" fn _dl_deallocate_tls(thread: *mut u8, free_block: bool) {
    let process = Process::get();
    let address = thread.expose_provenance();
    let frees = i32::from(free_block);
    debug::say(Categories::TLS, format_args!("TCB deallocating: {address:#x} (dealloc_tcb={frees})\n"));
    let dtv = Dtv::of_thread(process.layout, address);
    {
        let _lock = process.lock_tls();
        threads::remove(dtv.header().place);
    }
    dtv.free_blocks(|_| true);
    dtv.release();
    if free_block {
        let (top, memory) = static_block_memory(process);
        // SAFETY: made by `allocate_static_block`, with the same size.
        unsafe { dealloc(thread.wrapping_sub(top), memory) };
    }
}

/// Brings this thread's dtv up to the current generation.
fn update(layout: &Layout, thread: usize) -> Dtv {
    let mut dtv = Dtv::of_thread(layout, thread);
    let Some(news) = modules().since(dtv.entry(0).value) else { return dtv };
    if news.highest > dtv.capacity() {
        dtv = dtv.grown(news.highest + SURPLUS).unwrap_or_else(|| no_memory());
        dtv.install(layout, thread);
    }
    dtv.free_blocks(|module| news.concern(module));
    for module in 1..=news.highest {
        if news.concern(module) {
            dtv.entry(module).value = UNALLOCATED;
        }
    }
    dtv.entry(0).value = news.generation;
    dtv
}

/// What `__tls_get_addr` and dynamic TLS descriptors call when the dtv has no answer. Cannot fail but for want of memory.
// SAFETY: `__tls_get_addr` passes what compiled code gave it, a pair of words of its object's GOT, which names that object's
// or another loaded module; `tlsdesc_dynamic` passes the pair of a descriptor that Folio made.
#[unsafe(no_mangle)]
unsafe extern "C" fn folio_tls_get_addr_slow(index: *mut TlsIndex) -> *mut u8 {
    // SAFETY: the callers' pair of words.
    let TlsIndex { module, offset } = unsafe { index.read() };
    let layout = Process::get().layout;
    let thread = thread_pointer();
    let dtv = update(layout, thread);
    let mut block = dtv.entry(module).value;
    if block == UNALLOCATED {
        block = allocate_block(layout, thread, dtv, module);
    }
    with_exposed_provenance_mut(block.wrapping_add(offset))
}

fn allocate_block(layout: &Layout, thread: usize, dtv: Dtv, module: usize) -> usize {
    let map = link_map(layout, modules().map(module)).expect("a module that is referred to is loaded");
    let decided = modules::decide(offset_of(layout, map), DYNAMIC);
    let block = if decided == DYNAMIC {
        create_block(dtv, module, &Module::of(layout, map)).unwrap_or_else(|| no_memory())
    } else {
        thread - decided
    };
    dtv.entry(module).value = block;
    block
}

/// Ends the process: whoever reads a variable cannot be told that there is none (*glibc elf/dl-tls.c, oom*).
fn no_memory() -> ! {
    report::line(format_args!("cannot allocate memory for thread-local data: ABORT"));
    exit_group(report::FAILURE)
}

/// A new, initialised block; its address is congruent to the module's `p_vaddr` modulo its alignment.
fn create_block(dtv: Dtv, module: usize, of: &Module) -> Option<usize> {
    let align = of.align.max(16);
    let lead = size_of::<Block>().next_multiple_of(align) + of.first_byte;
    let size = lead.checked_add(of.size)?;
    // The alignment of a program's malloc is not relied on.
    let mut memory = program_memory::allocate(size.checked_add(align)?);
    let mut own = None;
    if memory.is_null() {
        let layout = Memory::from_size_align(size, align).ok()?;
        own = Some(layout);
        // SAFETY: the size is not zero.
        memory = unsafe { alloc_zeroed(layout) };
    }
    if memory.is_null() {
        return None;
    }
    let base = memory.map_addr(|address| address.next_multiple_of(align));
    let variables = base.wrapping_add(lead);
    let block: *mut Block = base.cast();
    let head = &mut dtv.header().blocks;
    // SAFETY: the allocation begins with room for the header, and is aligned for it.
    unsafe { block.write(Block { next: *head, module, memory, own }) };
    *head = block;
    of.initialise(variables);
    Some(variables.expose_provenance())
}

/// `_dl_tls_get_addr_soft`: this thread's block of an object, or null if it has none yet.
// SAFETY: libc alone calls, with null or a link map.
pub unsafe extern "C" fn tls_get_addr_soft(map: *mut u8) -> *mut u8 {
    let layout = Process::get().layout;
    // SAFETY: the caller's promise.
    let Some(map) = (unsafe { LinkMap::from_base(layout, map) }) else { return null_mut() };
    let module: usize = map.record().get(layout.link_map.tls_modid);
    let thread = thread_pointer();
    let dtv = Dtv::of_thread(layout, thread);
    if module == 0 || module >= MODULES {
        return null_mut();
    }
    let offset = offset_of(layout, map).load(Ordering::Acquire);
    if offset != UNDECIDED && offset != DYNAMIC {
        return with_exposed_provenance_mut(thread - offset);
    }
    let is_outdated = modules().is_later(module, dtv.entry(0).value);
    if is_outdated || module > dtv.capacity() || dtv.entry(module).value == UNALLOCATED {
        return null_mut();
    }
    with_exposed_provenance_mut(dtv.entry(module).value)
}

/// `_dl_get_tls_static_info`: what sanitizers of older GCC ask.
// SAFETY: sanitizers alone call, with two variables of their own.
#[unsafe(no_mangle)]
unsafe extern "C" fn _dl_get_tls_static_info(size: *mut usize, align: *mut usize) {
    let process = Process::get();
    let ro = &process.layout.global_ro;
    // SAFETY: the caller's variables.
    unsafe {
        size.write(process.ro.get(ro.tls_static_size));
        align.write(process.ro.get(ro.tls_static_align));
    }
}
