//! `LD_DEBUG=symbols` and `bindings`, the count of `statistics`, `LD_DYNAMIC_WEAK`, and the profile: what each lookup does.

use core::sync::atomic::{AtomicBool, Ordering};

use folio_elf::Lossy;
use folio_link::object::{ObjectId, Objects};
use folio_link::resolve::{Definition, Reference, Scope, Uniques, Watch, Work, is_searched, lookup_watched};

use super::statistics::{LOOKUPS, REPEATED};
use super::{Categories as C, is_on, namespace, say};
use crate::process::Process;
use crate::profile::Meter;

/// `LD_DYNAMIC_WEAK` is set.
static WEAK_YIELDS: AtomicBool = AtomicBool::new(false);

/// Lets weak definitions yield to global ones that are found later.
pub fn let_weak_yield() {
    WEAK_YIELDS.store(true, Ordering::Relaxed);
}

fn wants_all() -> bool {
    is_on(C::SYMBOLS | C::BINDINGS | C::STATISTICS) || WEAK_YIELDS.load(Ordering::Relaxed)
}

/// The eyes on the lookups of this process.
pub struct Lookups<'p> {
    process: &'p Process,
    meter: Option<Meter>,
}

impl Lookups<'_> {
    /// Eyes, if anything wants them.
    pub fn watching(process: &Process) -> Option<Lookups<'_>> {
        wants_all().then_some(Lookups { process, meter: None })
    }

    /// Eyes on the relocation of the object of this name, if anything wants them.
    pub fn relocating<'p>(process: &'p Process, name: &[u8]) -> Option<Lookups<'p>> {
        let meter = Meter::of(name);
        (meter.is_some() || wants_all()).then_some(Lookups { process, meter })
    }

    /// Looks a name up for `requester`, at run time.
    pub fn look_up(
        &mut self,
        objects: &Objects,
        scopes: &[Scope],
        reference: &Reference,
        skip: Option<ObjectId>,
        uniques: &mut Uniques,
        requester: Option<ObjectId>,
    ) -> Option<Definition> {
        let found = lookup_watched(objects, scopes, reference, skip, uniques, None, self)?;
        if let Some(requester) = requester {
            self.bound(objects, requester, reference, &found, false);
        }
        Some(found)
    }
}

impl Watch for Lookups<'_> {
    fn wants_all(&self) -> bool {
        wants_all()
    }

    fn weak_yields(&self) -> bool {
        WEAK_YIELDS.load(Ordering::Relaxed)
    }

    fn tried(&mut self, objects: &Objects, id: ObjectId, reference: &Reference) {
        if let Some(meter) = &mut self.meter {
            meter.tried(objects, id, reference);
        }
        if is_on(C::SYMBOLS) && is_searched(&objects[id], reference) {
            let file = Lossy(objects[id].display_name(self.process.program));
            let namespace = namespace(self.process, id);
            let symbol = Lossy(reference.name);
            say(C::SYMBOLS, format_args!("symbol={symbol};  lookup in file={file} [{namespace}]\n"));
        }
    }

    fn bound(
        &mut self,
        objects: &Objects,
        requester: ObjectId,
        reference: &Reference,
        definition: &Definition,
        protected: bool,
    ) {
        LOOKUPS.fetch_add(1, Ordering::Relaxed);
        if !is_on(C::BINDINGS) {
            return;
        }
        let (process, program) = (self.process, self.process.program);
        let from = Lossy(objects[requester].display_name(program));
        let to = Lossy(objects[definition.object].display_name(program));
        let (from_namespace, to_namespace) = (namespace(process, requester), namespace(process, definition.object));
        let how = if protected { "protected" } else { "normal" };
        let symbol = Lossy(reference.name);
        let binding =
            format_args!("binding file {from} [{from_namespace}] to {to} [{to_namespace}]: {how} symbol `{symbol}'");
        match reference.version {
            Some(version) => say(C::BINDINGS, format_args!("{binding} [{}]\n", Lossy(version.name))),
            None => say(C::BINDINGS, format_args!("{binding}\n")),
        }
    }

    fn begins(&mut self, work: Work) {
        if let Some(meter) = &mut self.meter {
            meter.begins(work);
        }
    }

    fn ends(&mut self, work: Work) {
        if let Some(meter) = &mut self.meter {
            meter.ends(work);
        }
    }

    fn repeated(&mut self) {
        if let Some(meter) = &mut self.meter {
            meter.repeated();
        }
        REPEATED.fetch_add(1, Ordering::Relaxed);
    }
}
