//! The start of a program under the eyes of auditors (rtld-audit(7)).
//!
//! Auditors see everything come but what the kernel mapped, so they are there first: the process is made of that alone, with
//! a main thread, each auditor is opened into a namespace of its own, and then the program's libraries are loaded. All is
//! bound as in any other start; but thread-local storage of the libraries takes its place as in dlopen(3) (*glibc elf/rtld.c,
//! dl_main*).
//!
//! The loader's structures have to fit the program's libc from the beginning: it is found and looked at in advance, and
//! found again when its turn comes.
#![allow(unsafe_code)]

use alloc::vec::Vec;

use folio_elf::dynamic::{DT_AUDIT, DT_DEPAUDIT};
use folio_glibc::layout::Layout;
use folio_link::error::{Error, Problem};
use folio_link::object::Objects;
use folio_runtime::stack::Stack;

use crate::abi::debugger::{self, Event};
use crate::abi::libc;
use crate::abi::publish::{self, Place};
use crate::audit::{self, Activity, Auditing};
use crate::debug::REMARKS;
use crate::dl::{find_object, tls};
use crate::image::{execute, map};
use crate::process::Process;
use crate::report::{self, LOADING};
use crate::start::cast::Cast;
use crate::start::discover;
use crate::start::environment::Environment;
use crate::start::{bind, choose_layout, make_main_thread, publish_process, publish_scopes, show_what_is_asked_for};

/// The auditors that are asked for: by `LD_AUDIT`, by `--audit`, and by the program itself. A set-user-ID program takes no
/// paths.
pub fn names(environment: &Environment, cast: &Cast, objects: &Objects<'static>, secure: bool) -> Vec<&'static [u8]> {
    /// `NAME_MAX`.
    const LONGEST: usize = 255;
    let dynamic = objects[cast.executable].dynamic.as_ref();
    let own = dynamic.map_or([None; 2], |dynamic| dynamic.strings_of([DT_AUDIT, DT_DEPAUDIT]));
    let option = cast.options.audit.unwrap_or_default();
    let lists = [environment.audit, option, own[0].unwrap_or_default(), own[1].unwrap_or_default()];
    let names = lists.into_iter().flat_map(|list| list.split(|&byte| byte == b':'));
    let is_safe = |name: &&[u8]| !secure || (!name.contains(&b'/') && name.len() < LONGEST);
    names.filter(|name| !name.is_empty()).filter(is_safe).collect()
}

/// Makes the process, with its auditors, and links all that the program needs.
pub fn prepare(
    stack: &Stack,
    environment: &Environment,
    secure: bool,
    objects: Objects<'static>,
    cast: &mut Cast,
    auxiliary: &[(usize, usize)],
) -> &'static Process {
    let mut discovery = discover::begin(stack, environment, secure, &objects, cast);
    let executable = &objects[cast.executable];
    let libc = discover::libc(&mut discovery.search, &mut discovery.disk, Some(executable));
    let known = || libc.as_ref().map(|libc| libc::layout(libc).ok());
    show_what_is_asked_for(known, environment, false, auxiliary);
    let layout: &'static Layout = choose_layout(libc.as_deref(), stack, cast);
    if let Some(libc) = libc {
        // SAFETY: it is on no list, and nothing was bound to it.
        unsafe { map::discard(libc) };
    }
    let process = publish_process(stack, environment, secure, objects, discovery, cast, layout);
    find_object::publish(process);
    make_main_thread(process, stack, cast);
    publish::functions(process);
    // SAFETY: one thread.
    let objects = unsafe { process.objects.get() };
    // A debugger sees the auditors come, beside a list without libraries.
    debugger::prepare(process, objects);
    debugger::show_list(process);
    audit::load::load(process, cast.auditors.iter().copied());
    debugger::announce(process, &process.base, Event::InitStart);
    audit::activity(process, &process.base, Activity::Add);
    load(process, environment, secure, cast);
    let sorted = publish_scopes(process, cast);
    for &index in &sorted {
        let id = folio_link::object::ObjectId(index as u32);
        if id != process.executable
            && let Err(error) = execute::add_tls_module(process, id)
        {
            report::fatal(cast.program, LOADING, &error);
        }
    }
    bind(process, cast, &sorted, || initialise_tls(process));
    audit::activity(process, &process.base, Activity::Consistent);
    process
}

/// Loads what the program needs, with what auditors make of it.
fn load(process: &'static Process, environment: &Environment, secure: bool, cast: &Cast) {
    let base = &process.base;
    // SAFETY: one thread. Auditors that are asked meanwhile may look up, and change nothing.
    let place = unsafe {
        discover::Place {
            objects: process.objects.get_mut(),
            members: base.members.get_mut(),
            search: process.search.get_mut(),
            disk: process.disk.get_mut(),
            remarks: process.layout.version >= REMARKS,
        }
    };
    let found = discover::load_all(place, environment, secure, cast, Some(Auditing::of_start(process)));
    found.require_objects(cast);
    found.require_versions(cast);
    // SAFETY: one thread.
    let (objects, states, members) = unsafe { (process.objects.get(), process.states.get_mut(), base.members.get()) };
    if let Some(libc) = libc::find(objects, members)
        && !libc::layout(&objects[libc]).is_ok_and(|layout| core::ptr::eq(layout, process.layout))
    {
        report::fatal(cast.program, LOADING, &Error::new(&objects[libc].path, Problem::OtherLibc));
    }
    // SAFETY: one thread.
    unsafe { base.global.get_mut() }.objects = found.closure;
    let place = Place::START;
    publish::add_objects(process.layout, process.global_record, objects, states, place, members, audit::asked(process));
    // SAFETY: one thread; all members have link maps.
    unsafe { publish::reorder(process, base) };
}

/// Gives the libraries' static thread-local storage its first contents.
fn initialise_tls(process: &Process) {
    // SAFETY: one thread.
    for &id in unsafe { process.base.members.get() } {
        // SAFETY: as above.
        tls::initialise_in_all(process.layout, unsafe { process.state(id) }.map);
    }
    tls::publish_generation(process);
}
