//! What every reference of a start is bound to.

use std::os::unix::ffi::OsStrExt;

use folio_link::object::{Kind, ObjectId, Objects};
use folio_link::resolve::{Class, Definition, Reference, Scope, Uniques, Watch};
use folio_link::{Error, bind};

use super::Plan;

/// One reference and the definition that wins it.
#[derive(Clone, Debug)]
pub struct Binding {
    pub requester: ObjectId,
    pub name: Vec<u8>,
    pub version: Option<Vec<u8>>,
    pub class: Class,
    pub definition: Definition,
    /// The referring symbol is protected.
    pub protected: bool,
}

#[derive(Default)]
struct Bound(Vec<Binding>);

impl Watch for Bound {
    fn bound(&mut self, _: &Objects, requester: ObjectId, reference: &Reference, winner: &Definition, protected: bool) {
        self.0.push(Binding {
            requester,
            name: reference.name.to_vec(),
            version: reference.version.map(|version| version.name.to_vec()),
            class: reference.class,
            definition: *winner,
            protected,
        });
    }
}

/// Binds the references of all objects, in the order of relocation; the linker itself has none to bind.
pub fn bind(plan: &Plan, relocated: &[ObjectId]) -> (Vec<Binding>, Vec<Error>) {
    let objects = &plan.objects;
    let (mut bound, mut missing, mut uniques) = (Bound::default(), Vec::new(), Uniques::new());
    for &id in relocated.iter().filter(|&&id| objects[id].kind != Kind::Interpreter) {
        let program = plan.program.as_os_str().as_bytes();
        let mut report = |error| missing.push(error);
        let itself = Scope { objects: vec![id] };
        bind::check(objects, id, &plan.scopes(id, &itself), &mut uniques, true, program, &mut bound, &mut report);
    }
    (bound.0, missing)
}

impl Plan {
    /// Where the references of an object are looked up; `itself` is the scope of that object alone.
    pub fn scopes<'s>(&'s self, id: ObjectId, itself: &'s Scope) -> Vec<&'s Scope> {
        let own = self.objects[id].is_symbolic().then_some(itself);
        own.into_iter().chain([&self.scope]).collect()
    }
}
