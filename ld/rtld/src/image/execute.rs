//! Execute: relocate, protect and give thread-local storage, as the plan says, for the objects of a start or an opening.
#![allow(unsafe_code)]

use alloc::vec::Vec;

use folio_elf::Lossy;
use folio_elf::dynamic::DF_TEXTREL;
use folio_link::Errno;
use folio_link::error::{Error, Problem};
use folio_link::index::ScopeIndex;
use folio_link::object::{Kind, Object, ObjectId};
use folio_link::placement::{LoadSegment, PF_R, PF_W};
use folio_link::relocate::{self as pass, Indirect};
use folio_link::resolve::Watch;

use crate::abi::publish;
use crate::audit::bindings;
use crate::audit::calls::{self, Interest};
use crate::debug;
use crate::dl::tls;
use crate::image::binding::{self, Binding};
use crate::image::execstack;
use crate::image::initialise;
use crate::image::map;
use crate::image::scope;
use crate::process::{Process, ScopeName};
use crate::profile::{Kind as Profiled, Span};
use crate::report;

/// The first object of a sorted list, dependencies first, that the processor is too old for (*glibc sysdeps/x86/dl-prop.h,
/// dl_isa_level_check*). What runs already is not asked again.
pub fn too_new_for_processor(process: &Process, sorted: &[usize]) -> Option<ObjectId> {
    let levels: u32 = process.ro.get(process.layout.global_ro.cpu_features + process.layout.cpu.isa_1);
    // SAFETY: the load lock is held, or there is one thread.
    let (objects, states) = unsafe { (process.objects.get(), process.states.get()) };
    let runs = |index: usize| states[index].as_ref().is_some_and(|state| state.initialised);
    let mut ids = sorted.iter().rev().filter(|&&index| !runs(index)).map(|&index| ObjectId(index as u32));
    ids.find(|&id| objects[id].kind != Kind::Interpreter && objects[id].properties.isa_needed & !levels != 0)
}

/// What an opening does when all its objects are relocated but for this: a debugger has been told of them by then, and can
/// stop in resolvers of IFUNCs, which may use whatever is new.
#[derive(Default)]
pub struct Later {
    /// In the order in which relocation came by.
    resolvers: Vec<Indirect>,
    /// The objects whose RELRO is still writable.
    writable: Vec<ObjectId>,
}

impl Later {
    /// Calls the resolvers, and protects each object's RELRO.
    pub fn finish(self, process: &Process) -> Result<(), Error> {
        // SAFETY: the load lock is held. Resolvers that run meanwhile may look symbols up, and change nothing.
        let objects = unsafe { process.objects.get() };
        for indirect in &self.resolvers {
            let chosen = binding::call_resolver(indirect.resolver);
            let place = || Error::new(objects[indirect.object].display_name(process.program), Problem::RelocationPlace);
            indirect.store(objects, chosen).ok_or_else(place)?;
        }
        self.writable.iter().try_for_each(|&id| protect_relro(process, &objects[id]))
    }
}

/// Relocates the objects of a sorted list that are not yet relocated, dependencies first, and protects each one's RELRO; in
/// a running program, leaves to `later` what can wait.
pub fn relocate(
    process: &Process,
    sorted: &[usize],
    now: bool,
    mut later: Option<&mut Later>,
    report: &mut impl FnMut(Error),
) {
    let span = Span::of(Profiled::Index);
    let index = index_for(process, sorted);
    drop(span);
    for &place in sorted.iter().rev() {
        let id = ObjectId(place as u32);
        // SAFETY: the load lock is held, or there is one thread.
        let state = unsafe { process.state_mut(id) };
        if core::mem::replace(&mut state.relocated, true) {
            continue;
        }
        if let Err(error) = relocate_one(process, id, index.as_ref(), now, later.as_deref_mut(), report) {
            report(error);
        }
        // SAFETY: as above.
        let map = unsafe { process.state(id) }.map;
        map.set_flag(process.layout, process.layout.link_map.bits.relocated, true);
    }
}

/// An index of the main search list, if the objects to relocate have many references to look up in it.
fn index_for<'p>(process: &'p Process, sorted: &[usize]) -> Option<ScopeIndex<'p>> {
    // SAFETY: the load lock is held, or there is one thread.
    let objects = unsafe { process.objects.get() };
    let &first = sorted.first()?;
    // SAFETY: as above; they are all of one namespace.
    let global = unsafe { process.namespace_of(ObjectId(first as u32)).global.get() };
    let references = sorted
        .iter()
        .map(|&place| ObjectId(place as u32))
        .filter(|&id| {
            // SAFETY: as above.
            let state = unsafe { process.state(id) };
            !state.relocated && state.scopes.contains(&ScopeName::Global)
        })
        .map(|id| pass::symbolic_count(&objects[id]))
        .sum();
    ScopeIndex::build_if_worthwhile(objects, global, references, map::populate_memory)
}

fn relocate_one(
    process: &Process,
    id: ObjectId,
    index: Option<&ScopeIndex>,
    now: bool,
    mut later: Option<&mut Later>,
    report: &mut impl FnMut(Error),
) -> Result<(), Error> {
    let running = later.is_some();
    // SAFETY: the load lock is held. Resolvers that run meanwhile may look symbols up, and change nothing.
    let objects = unsafe { process.objects.get() };
    let object = &objects[id];
    let Some(dynamic) = &object.dynamic else { return Ok(()) };
    let _span = Span::about(Profiled::Object, || object.display_name(process.program));
    execstack::provide(process, object, running)?;
    let fail = |errno| Error::new(object.display_name(process.program), Problem::Protect(errno));
    let text_relocations = dynamic.flags & DF_TEXTREL != 0;
    if text_relocations {
        report::line(format_args!(
            "{}: warning: {} has text relocations (DT_TEXTREL): its code is private to each process",
            Lossy(process.program),
            Lossy(object.display_name(process.program)),
        ));
        open_text(process, id, true).map_err(fail)?;
    }
    // SAFETY: the load lock is held, or there is one thread.
    let audited = calls::interest(process, unsafe { process.namespace_of(id) });
    // Text that is writable is not executable, and is not left so; and an auditor is shown what the slots hold.
    let resolvers = later.as_deref_mut().filter(|_| !text_relocations && audited.is_none());
    let mut binding = Binding {
        process,
        now: now || dynamic.binds_now(),
        running,
        lazily: false,
        later: resolvers.map(|later| &mut later.resolvers),
        open_text: text_relocations.then_some(id),
        text_failure: None,
    };
    if let Some(interest) = audited.filter(|&interest| !now && (interest == Interest::Calls || !binding.now)) {
        // SAFETY: as above.
        let state = unsafe { process.state_mut(id) };
        state.calls = calls::prepare(object, id, interest);
        binding.lazily = state.calls.is_some();
    }
    debug::relocating(object.display_name(process.program), !binding.now);
    // SAFETY: as above; only relocation looks at unique names now.
    let uniques = unsafe { process.namespace_of(id).uniques.get_mut() };
    // SAFETY: the load lock is held, and relocation changes no scope.
    unsafe {
        scope::with_scopes(process, id, |scopes| {
            let program = process.program;
            let mut watch = debug::Lookups::relocating(process, object.display_name(program));
            let watch = watch.as_mut().map(|watch| watch as &mut dyn Watch);
            pass::relocate_with(index, objects, id, scopes, uniques, &mut binding, program, watch, report);
        });
    }
    if audited.is_some() && !binding.lazily {
        let fail = |problem| Error::new(object.display_name(process.program), problem);
        bindings::show_slots(process, objects, id).map_err(fail)?;
    }
    publish::adjust_dynamic(object);
    if object.kind != Kind::Vdso && !initialise::are_code(objects, object) {
        report(Error::new(object.display_name(process.program), Problem::Initializer));
    }
    if let Some(errno) = binding.text_failure {
        return Err(fail(errno));
    }
    if text_relocations {
        open_text(process, id, false).map_err(fail)?;
    }
    match later {
        Some(later) => later.writable.push(id),
        None => protect_relro(process, object)?,
    }
    Ok(())
}

/// Makes what is written by relocation alone read-only (`PT_GNU_RELRO`).
fn protect_relro(process: &Process, object: &Object) -> Result<(), Error> {
    let Some((start, end)) = object.placement.relro_pages() else { return Ok(()) };
    let _span = Span::about(Profiled::Protect, || object.display_name(process.program));
    map::protect(object.image.bias(), start, end, PF_R)
        .map_err(|errno| Error::new(object.display_name(process.program), Problem::Protect(errno)))
}

/// Makes an object's text writable for its text relocations, or executable again.
fn open_text(process: &Process, id: ObjectId, open: bool) -> Result<(), Errno> {
    protect_text(process, id, open)?;
    // SAFETY: the load lock is held; the caller's borrow of the object is not used while its image changes.
    let object = unsafe { &mut process.objects.get_mut()[id] };
    let bias = object.image.bias();
    // SAFETY: the segments have just been given these permissions.
    object.image =
        unsafe { if open { map::writable_image(&object.image) } else { map::image_of(&object.placement, bias) } };
    Ok(())
}

/// Makes the pages of an object that are not writable so, or gives them their permissions back.
pub fn protect_text(process: &Process, id: ObjectId, open: bool) -> Result<(), Errno> {
    // SAFETY: the load lock is held, or there is one thread.
    let object = unsafe { &process.objects.get()[id] };
    let text = |segment: &&LoadSegment| segment.flags & PF_W == 0 && segment.flags != 0;
    for segment in object.placement.segments.iter().filter(text) {
        let flags = if open { PF_R | PF_W } else { segment.flags };
        map::protect(object.image.bias(), segment.start, folio_elf::Vaddr(segment.pages_end().0), flags)?;
    }
    Ok(())
}

/// Gives an object with TLS a module id.
pub fn add_tls_module(process: &Process, id: ObjectId) -> Result<(), Error> {
    // SAFETY: the load lock is held, or there is one thread.
    let (object, state) = unsafe { (&process.objects.get()[id], process.state(id)) };
    if object.placement.tls.is_some() && tls::add_module(process.layout, state.map).is_none() {
        return Err(Error::new(object.display_name(process.program), Problem::NoMemory));
    }
    Ok(())
}
