//! Loading auditors, before anything else is loaded (*glibc elf/rtld.c, load_audit_modules*).
//!
//! # Safety
//! Calls `la_version` of what was just opened, by the type that `<link.h>` declares.
#![allow(unsafe_code)]

use folio_elf::{Addr, Lossy};
use folio_link::bind;
use folio_link::error::{Error, Problem};
use folio_link::object::ObjectId;
use folio_link::resolve::{self, Class, Reference};

use crate::abi::link_map::LinkMap;
use crate::audit::{self, Auditor};
use crate::debug::{self, Categories};
use crate::dl::open::{self, Mode};
use crate::dl::unload;
use crate::image::binding;
use crate::namespace::{Audit, LM_ID_NEWLM};
use crate::process::{Process, function};
use crate::processor;
use crate::report;

/// `LAV_CURRENT`: the version of the interface.
const CURRENT: u32 = 2;

/// Loads the auditors of that name each, and tells them of what the kernel loaded. What cannot be used is named, and passed
/// over.
pub fn load<'n>(process: &Process, names: impl Iterator<Item = &'n [u8]>) {
    for name in names {
        match load_one(process, name) {
            Ok(Some(auditor)) => {
                // SAFETY: one thread, and no borrow of the list lives.
                let auditors = unsafe { process.auditors.get_mut() };
                if auditor.pltenter.is_some() || auditor.pltexit.is_some() {
                    processor::describe_vector_width();
                }
                auditors.list.push(auditor);
                process.ro.put(process.layout.global_ro.naudit, auditors.list.len() as u32);
            }
            Ok(None) => {}
            Err(error) => report::line(format_args!(
                "ERROR: ld.so: object '{}' cannot be loaded as audit interface: {}; ignored.",
                Lossy(name),
                error.problem,
            )),
        }
    }
    if audit::is_on(process) {
        audit::opened(process, &process.base, process.executable);
        audit::opened(process, &process.base, process.interpreter);
    }
}

/// Opens one auditor; `None` if it does not want to, or cannot, work with this loader.
fn load_one(process: &Process, name: &[u8]) -> Result<Option<Auditor>, Error> {
    let from = Some(process.interpreter);
    let map = open::open(process, name, Mode::LAZY | Mode::AUDIT, from, LM_ID_NEWLM, process.arguments)?;
    let map = map.expect("it is loaded");
    let id = map.object(process.layout);
    let Some(version) = find(process, id, b"la_version") else {
        let problem = Problem::UndefinedSymbol { name: b"la_version".to_vec(), version: None };
        unload(process, map);
        return Err(Error::new(name, problem));
    };
    // SAFETY: the auditor's function, of the type that its name stands for.
    let wanted = unsafe { function::<unsafe extern "C" fn(u32) -> u32>(version)(CURRENT) };
    if wanted == 0 {
        let (name, namespace) = (debug::name(process, id), debug::namespace(process, id));
        debug::say(
            Categories::FILES,
            format_args!("file={name} [{namespace}]; audit interface function la_version returned zero; ignored.\n"),
        );
        unload(process, map);
        return Ok(None);
    }
    if wanted > CURRENT {
        debug::speak(format_args!(
            "ERROR: audit interface '{}' requires version {wanted} (maximum supported version {CURRENT}); ignored.\n",
            Lossy(name),
        ));
        unload(process, map);
        return Ok(None);
    }
    // SAFETY: the auditor's functions, each of the type that its name stands for; one thread.
    unsafe {
        *process.namespace_of(id).auditing.get_mut() = Audit::Auditor;
        Ok(Some(Auditor {
            activity: find(process, id, b"la_activity").map(|at| function(at)),
            objsearch: find(process, id, b"la_objsearch").map(|at| function(at)),
            objopen: find(process, id, b"la_objopen").map(|at| function(at)),
            objclose: find(process, id, b"la_objclose").map(|at| function(at)),
            preinit: find(process, id, b"la_preinit").map(|at| function(at)),
            symbind: find(process, id, b"la_symbind64").map(|at| function(at)),
            pltenter: find(process, id, b"la_x86_64_gnu_pltenter").map(|at| function(at)),
            pltexit: find(process, id, b"la_x86_64_gnu_pltexit").map(|at| function(at)),
        }))
    }
}

fn unload(process: &Process, map: LinkMap) {
    // What was opened once can be closed once.
    let _ = unload::close(process, map.base());
}

/// The address of a function in an auditor, or in what it needs.
fn find(process: &Process, auditor: ObjectId, name: &[u8]) -> Option<Addr> {
    // SAFETY: the load lock is held, or there is one thread.
    let (objects, scope, uniques) = unsafe {
        (process.objects.get(), &process.state(auditor).closure, process.namespace_of(auditor).uniques.get_mut())
    };
    let mut reference = Reference::new(name, None, Class::Address);
    reference.newest = true;
    let definition = resolve::lookup(objects, [scope], &reference, None, uniques, None)?;
    Some(binding::settle(&definition.symbol, bind::address_of(objects, &definition)))
}
