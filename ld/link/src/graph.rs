//! The graph of a process: loading an object loads what it needs, breadth first, each file once.
//!
//! Rules of *glibc elf/dl-load.c, _dl_map_object* (which object a name means) and *elf/dl-deps.c, _dl_map_object_deps*
//! (in which order dependencies are met).

use alloc::boxed::Box;
use alloc::vec::Vec;

use folio_elf::dynamic::{DF_1_INITFIRST, DF_1_NODEFLIB, DF_1_PIE, Dependency};
use folio_elf::{HeaderError, Image, Vaddr};

use crate::errno::Errno;
use crate::error::{Error, Problem};
use crate::object::{Identity, Kind, Object, ObjectId, Objects};
use crate::order::Dependencies;
use crate::placement::{Placement, PlacementError};
use crate::search::{self, Files, Observe, Owner, PathList, Redirect, Reference, Requester, Search, SearchError};

/// What opens, identifies and maps files.
pub trait Source<'m>: Files<Error = Problem> {
    /// Which file it is.
    fn identity(&self, file: &Self::File) -> Identity;
    /// Maps the file's segments from the descriptor that it was opened with.
    fn map(&mut self, file: Self::File) -> Result<(Placement, Image<'m>), Problem>;
    /// Takes back what `map` did, for a file that is no library after all.
    fn unmap(&mut self, start: Vaddr, span: u64, image: Image<'m>);
    /// The directory that `$ORIGIN` means for an object at `path`: absolute (*glibc elf/dl-object.c, _dl_new_object*).
    fn origin(&mut self, path: &[u8]) -> Vec<u8>;
}

/// A dependency that cannot be loaded.
#[derive(Clone, Debug)]
pub struct Missing {
    /// Where in the list of what was loaded it would stand.
    pub place: usize,
    pub error: Error,
    /// It is an auxiliary object: who names it works without.
    pub is_optional: bool,
}

/// The loading of objects into one namespace.
pub struct Loader<'l, 'm, S, O> {
    pub objects: &'l mut Objects<'m>,
    /// The namespace's objects, in load order.
    pub members: &'l mut Vec<ObjectId>,
    pub search: &'l mut Search<'m>,
    pub source: &'l mut S,
    pub observe: &'l mut O,
    pub executable: ObjectId,
    /// The dynamic linker itself, or what stands for it in this namespace: a request for its file means the one that runs.
    pub interpreter: Option<ObjectId>,
    /// The executable's name in messages.
    pub program: &'l [u8],
}

impl<'m, S: Source<'m>, O: Observe> Loader<'_, 'm, S, O> {
    /// The object that `name` means to `requester`: one that is loaded, or a file that is found and mapped now.
    ///
    /// `None` as requester is the user, by LD_PRELOAD or dlopen of the main program.
    pub fn load(&mut self, name: &[u8], requester: Option<ObjectId>, reference: Reference) -> Result<ObjectId, Error> {
        if let Some(known) = self.known(name) {
            self.objects[known].add_name(name);
            // In a namespace where nobody has asked for the dynamic linker before.
            if Some(known) == self.interpreter && !self.members.contains(&known) {
                self.members.push(known);
                self.observe.added(self.objects, known);
            }
            return Ok(known);
        }
        let asked = name;
        let redirected = self.redirected(name, requester, reference)?;
        let name = redirected.as_deref().unwrap_or(name);
        let found = self.find(name, requester, reference).map_err(|error| describe(name, error))?;
        let identity = self.source.identity(&found.file);
        if let Some(known) = self.with_identity(identity) {
            self.objects[known].add_name(name);
            self.objects[known].add_name(asked);
            return Ok(known);
        }
        // What is wrong with a file's segments is said under the name that was asked for, as glibc says it.
        let mut object = self.map_library(found.file, &found.path).map_err(|problem| Error::new(name, problem))?;
        object.identity = Some(identity);
        object.loader = requester;
        object.origin = self.source.origin(&found.path);
        object.add_name(name);
        object.add_name(asked);
        self.observe.mapped(name, &object);
        let id = self.objects.insert(object);
        self.members.push(id);
        self.observe.added(self.objects, id);
        Ok(id)
    }

    /// Maps a file and makes it an object. The search is over by now, and its frames need not lie under these: threads may have
    /// small stacks.
    #[inline(never)]
    fn map_library(&mut self, file: S::File, path: &[u8]) -> Result<Box<Object<'m>>, Problem> {
        let (placement, image) = self.source.map(file)?;
        let (start, span) = (placement.start(), placement.span());
        let problem = match Object::decode(Kind::Library, path, placement, image) {
            Ok(object) if object.flags_1() & DF_1_PIE == 0 => return Ok(object),
            Ok(_) => Problem::PieNotLibrary,
            Err(problem) => problem,
        };
        self.source.unmap(start, span, image);
        Err(problem)
    }

    /// The loaded object that `name` means to `requester`; nothing is loaded (`RTLD_NOLOAD`).
    pub fn loaded(&mut self, name: &[u8], requester: Option<ObjectId>) -> Result<Option<ObjectId>, Error> {
        if let Some(known) = self.known(name) {
            return Ok(self.members.contains(&known).then_some(known));
        }
        let redirected = self.redirected(name, requester, Reference::Opened)?;
        let name = redirected.as_deref().unwrap_or(name);
        let found = self.find(name, requester, Reference::Opened).map_err(|error| describe(name, error))?;
        let identity = self.source.identity(&found.file);
        Ok(self.with_identity(identity))
    }

    /// The name to search for in the place of one that no object answers to, if an observer wants another.
    fn redirected(
        &mut self,
        name: &[u8],
        requester: Option<ObjectId>,
        reference: Reference,
    ) -> Result<Option<Vec<u8>>, Error> {
        match self.observe.wanted(self.objects, name, requester.unwrap_or(self.executable), reference) {
            Redirect::Keep => Ok(None),
            Redirect::To(elsewhere) => Ok(Some(elsewhere)),
            Redirect::Refuse => Err(Error::new(name, Problem::Open(Errno::ENOENT))),
        }
    }

    fn with_identity(&self, identity: Identity) -> Option<ObjectId> {
        self.members.iter().copied().find(|&member| self.objects[member].identity == Some(identity))
    }

    /// A member of the namespace that answers to `name`.
    pub fn known(&self, name: &[u8]) -> Option<ObjectId> {
        let by_name = |id: &ObjectId| self.objects[*id].answers_to(name);
        if let Some(id) = self.members.iter().copied().find(by_name) {
            return Some(id);
        }
        // Whatever the directory: there is one dynamic linker in a process.
        let interpreter = self.interpreter?;
        let file = name.rsplit(|&byte| byte == b'/').next()?;
        (self.objects[interpreter].soname() == Some(file)).then_some(interpreter)
    }

    fn find(
        &mut self,
        name: &[u8],
        requester: Option<ObjectId>,
        reference: Reference,
    ) -> Result<search::Found<S::File>, SearchError<Problem>> {
        let from = requester.unwrap_or(self.executable);
        self.decompose_paths(from);
        let objects = &*self.objects;
        let (mut rpaths, passed_executable) = rpaths(objects, from, self.executable);
        if !passed_executable {
            rpaths.extend(&objects[self.executable].rpath);
        }
        // An auditor may lie where the executable's own libraries do (glibc elf/dl-load.c, _dl_map_object).
        if reference == Reference::Audit {
            rpaths.extend(&objects[self.executable].runpath);
        }
        let requester = as_requester(&objects[from], &rpaths);
        self.search.find(self.source, self.observe, &requester, reference, name)
    }

    /// The directories that a search for `from` goes through, but for those that the cache names (dlinfo(3)).
    pub fn search_path(&mut self, from: ObjectId) -> Vec<Vec<u8>> {
        self.decompose_paths(from);
        let (mut rpaths, _) = rpaths(self.objects, from, self.executable);
        // As glibc has it: twice, if the executable is what had the object loaded.
        if from != self.executable {
            rpaths.extend(&self.objects[self.executable].rpath);
        }
        self.search.path(&as_requester(&self.objects[from], &rpaths))
    }

    /// Takes apart the search paths that a search for `from` may use.
    fn decompose_paths(&mut self, from: ObjectId) {
        let mut link = Some(from);
        let mut passed_executable = false;
        while let Some(id) = link {
            passed_executable |= id == self.executable;
            link = self.objects[id].loader;
            self.decompose_paths_of(id);
        }
        if !passed_executable {
            self.decompose_paths_of(self.executable);
        }
    }

    fn decompose_paths_of(&mut self, id: ObjectId) {
        let object = &self.objects[id];
        if object.rpath.is_some() || object.runpath.is_some() {
            return;
        }
        let Some(dynamic) = &object.dynamic else { return };
        let owner = owner(object);
        let rpath = dynamic.rpath.map(|list| self.search.decompose(list, &owner));
        let runpath = dynamic.runpath.map(|list| self.search.decompose(list, &owner));
        let object = &mut self.objects[id];
        object.rpath = rpath;
        object.runpath = runpath;
    }

    /// Loads everything that `roots` need. The result starts with `roots`, and what these are filters of, and lists each
    /// object once, breadth first; what cannot be loaded is reported, with its place in that list, and left out.
    pub fn closure(&mut self, roots: &[ObjectId], report: &mut impl FnMut(Missing)) -> Vec<ObjectId> {
        let mut closure: Vec<ObjectId> = Vec::with_capacity(roots.len() * 2);
        for &root in roots {
            if !closure.contains(&root) {
                closure.push(root);
            }
        }
        let mut next = 0;
        // Filters whose dependencies are in the list: they stand behind filtees that have not been looked at yet.
        let mut filters = Vec::new();
        while next < closure.len() {
            let id = closure[next];
            if filters.contains(&id) {
                next += 1;
                continue;
            }
            let is_graphed = core::mem::replace(&mut self.objects[id].is_graphed, true);
            let mut place = next;
            if is_graphed {
                let object = &self.objects[id];
                for &needed in &object.needed {
                    meet(&mut closure, &mut place, needed, object.filtees.contains(&needed));
                }
            } else {
                self.load_dependencies(id, &mut place, &mut closure, report);
            }
            if place == next {
                next += 1;
            } else {
                filters.push(id);
            }
        }
        closure
    }

    /// Loads the direct dependencies of one object, which is at `place` of `closure`, and puts them there.
    fn load_dependencies(
        &mut self,
        id: ObjectId,
        place: &mut usize,
        closure: &mut Vec<ObjectId>,
        report: &mut impl FnMut(Missing),
    ) {
        let Some(dynamic) = self.objects[id].dynamic else { return };
        for (kind, name) in dynamic.dependencies() {
            let Some(name) = name else {
                let problem = Problem::StringTable;
                let error = Error::new(self.objects[id].display_name(self.program), problem);
                report(Missing { place: closure.len(), error, is_optional: false });
                continue;
            };
            let is_filtee = kind != Dependency::Needed;
            match self.load(name, Some(id), Reference::Needed) {
                Ok(needed) => {
                    let object = &mut self.objects[id];
                    for list in
                        [Some(&mut object.needed), is_filtee.then_some(&mut object.filtees)].into_iter().flatten()
                    {
                        if !list.contains(&needed) {
                            list.push(needed);
                        }
                    }
                    if meet(closure, place, needed, is_filtee) && is_filtee {
                        self.list_before(needed, id);
                    }
                }
                // A filter does its own work where there is no auxiliary object; only a forbidden name is an error.
                Err(error) if kind == Dependency::Auxiliary && error.problem != Problem::TokenInSecureProgram => {
                    report(Missing { place: *place, error, is_optional: true });
                }
                Err(error) => {
                    let requester = self.objects[id].display_name(self.program);
                    report(Missing { place: closure.len(), error: error.required_by(requester), is_optional: false });
                }
            }
        }
    }

    /// Moves a filtee that was loaded after its filter before it in the namespace's list.
    fn list_before(&mut self, filtee: ObjectId, filter: ObjectId) {
        let place = |id| self.members.iter().position(|&member| member == id);
        if let (Some(from), Some(to)) = (place(filtee), place(filter))
            && to < from
        {
            self.members[to..=from].rotate_right(1);
        }
    }
}

/// Who directly needs whom, by the objects' numbers: what a start sorts its objects by.
#[derive(Debug)]
pub struct Needs(Vec<Vec<usize>>);

impl Needs {
    pub fn of(objects: &Objects, closure: &[ObjectId]) -> Needs {
        let last = closure.iter().map(|id| id.0 as usize).max();
        let mut needs = Needs(alloc::vec![Vec::new(); last.map_or(0, |last| last + 1)]);
        for &id in closure {
            needs.0[id.0 as usize] = objects[id].needed.iter().map(|needed| needed.0 as usize).collect();
        }
        needs
    }
}

impl Dependencies for Needs {
    fn needed(&self, object: usize) -> &[usize] {
        &self.0[object]
    }
}

/// Of the objects that were just loaded the one that is initialised first: the last one with `DF_1_INITFIRST`.
pub fn goes_first(objects: &Objects, loaded: &[ObjectId]) -> Option<ObjectId> {
    let is_first =
        |id: &&ObjectId| objects[**id].flags_1() & DF_1_INITFIRST != 0 && objects[**id].kind == Kind::Library;
    loaded.iter().rev().find(is_first).copied()
}

/// Puts a dependency of the object at `place` in the list, unless it is there: at the end, or, a filtee, before the object
/// (*glibc elf/dl-deps.c, _dl_map_object_deps*). Gives whether the list changed.
fn meet(closure: &mut Vec<ObjectId>, place: &mut usize, dependency: ObjectId, is_filtee: bool) -> bool {
    let known = closure.iter().position(|&met| met == dependency);
    match known {
        None if is_filtee => closure.insert(*place, dependency),
        None => {
            closure.push(dependency);
            return true;
        }
        Some(later) if is_filtee && later > *place => closure[*place..=later].rotate_right(1),
        Some(_) => return false,
    }
    *place += 1;
    true
}

/// `DT_RPATH` of an object, of the object that had it loaded, and so on, and whether the executable is one of those.
fn rpaths<'o>(objects: &'o Objects, from: ObjectId, executable: ObjectId) -> (Vec<&'o PathList>, bool) {
    let mut rpaths = Vec::new();
    let mut link = Some(from);
    let mut passed_executable = false;
    while let Some(id) = link {
        passed_executable |= id == executable;
        rpaths.extend(&objects[id].rpath);
        link = objects[id].loader;
    }
    (rpaths, passed_executable)
}

fn as_requester<'o>(object: &'o Object, rpaths: &'o [&'o PathList]) -> Requester<'o> {
    Requester {
        owner: owner(object),
        runpath: object.runpath.as_ref(),
        rpaths,
        no_default_libraries: object.flags_1() & DF_1_NODEFLIB != 0,
    }
}

/// An object as the owner of its path lists.
pub fn owner<'o>(object: &'o Object) -> Owner<'o> {
    Owner {
        name: &object.path,
        origin: (!object.origin.is_empty()).then_some(&object.origin),
        is_executable: object.kind == Kind::Executable,
    }
}

fn describe(name: &[u8], error: SearchError<Problem>) -> Error {
    match error {
        SearchError::NotFound { errno } => Error::new(name, Problem::Open(Errno(errno))),
        SearchError::OtherClass => Error::new(name, Problem::Header(HeaderError::OtherClass)),
        SearchError::TokenInSecureProgram => Error::new(name, Problem::TokenInSecureProgram),
        SearchError::EmptySubstitution => Error::new(name, Problem::EmptySubstitution),
        SearchError::Unusable { path, error } => Error::new(&path, error),
    }
}

/// An `ET_EXEC` cannot be a library: it would have to be at its own addresses.
pub fn require_library(placement: &Placement) -> Result<(), Problem> {
    if placement.position_independent { Ok(()) } else { Err(Problem::Placement(PlacementError::Executable)) }
}
