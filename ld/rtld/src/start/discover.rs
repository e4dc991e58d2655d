//! Discover: find, map and check every object that the program needs, or say all that is missing.
//!
//! # Safety
//! Reads the strings that the kernel put above the stack (getauxval(3)).
#![allow(unsafe_code)]

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::ffi::CStr;

use folio_elf::Lossy;
use folio_elf::version::Need;
use folio_glibc::layout::Version;
use folio_link::error::Error;
use folio_link::graph::{self, Loader, Missing};
use folio_link::object::{Kind, Object, ObjectId, Objects};
use folio_link::search::{self, Owner, PathList, Reference, Requester, Search, Settings, preload};
use folio_link::version;
use folio_runtime::stack::Stack;
use folio_runtime::syscall::exit_group;
use linux_raw_sys::auxvec::AT_PLATFORM;

use crate::abi::libc;
use crate::audit::Auditing;
use crate::debug::{self, Categories, Phase, REMARKS, Searches, version_wanted};
use crate::image::execstack;
use crate::image::files::{self, Disk};
use crate::image::map;
use crate::image::origin;
use crate::profile::{Kind as Profiled, Span};
use crate::report::{self, LOADING};
use crate::start::cast::Cast;
use crate::start::early_tunables;
use crate::start::environment::Environment;
use crate::start::machine::Machine;
use crate::start::options::Options;

/// What discovery found.
pub struct Discovery {
    pub search: Search<'static>,
    pub disk: Disk,
    pub machine: &'static Machine,
    /// The order of the list that programs see: the vDSO behind the executable, Folio where it is needed.
    pub members: Vec<ObjectId>,
    pub found: Found,
}

/// What was found, and what was not.
pub struct Found {
    /// Search order: the executable, what was preloaded, and what they need.
    pub closure: Vec<ObjectId>,
    /// What is missing, and where in the closure it would be.
    pub missing: Vec<Missing>,
    pub version_errors: Vec<Error>,
}

/// Finds, maps and checks every object that the program needs.
pub fn discover(
    stack: &Stack,
    environment: &Environment,
    secure: bool,
    objects: &mut Objects<'static>,
    cast: &Cast,
) -> Discovery {
    let mut discovery = begin(stack, environment, secure, objects, cast);
    let remarks = debug::is_on(Categories::LIBS)
        && release(stack, environment, secure, &objects[cast.executable], &cast.options) >= Some(REMARKS);
    let Discovery { search, disk, members, .. } = &mut discovery;
    discovery.found = load_all(Place { objects, members, search, disk, remarks }, environment, secure, cast, None);
    discovery
}

/// What there is before anything is searched for: the objects that the kernel mapped.
pub fn begin(
    stack: &Stack,
    environment: &Environment,
    secure: bool,
    objects: &Objects<'static>,
    cast: &Cast,
) -> Discovery {
    let options = &cast.options;
    let machine = Machine::new(environment, secure, options);
    let search = new_search(stack, environment, secure, &objects[cast.executable].origin, options, machine);
    let members = [Some(cast.executable), cast.vdso, Some(cast.interpreter)].into_iter().flatten().collect();
    let found = Found { closure: alloc::vec![cast.executable], missing: Vec::new(), version_errors: Vec::new() };
    let mut disk = Disk::new();
    let release = || release(stack, environment, secure, &objects[cast.executable], options);
    disk.refuses_executable_stacks = execstack::are_refused(early_tunables(environment, secure), release);
    Discovery { search, disk, machine, members, found }
}

/// Where the objects of a start are loaded.
pub struct Place<'l> {
    pub objects: &'l mut Objects<'static>,
    /// In load order, and at the end in the order of the list that programs see.
    pub members: &'l mut Vec<ObjectId>,
    pub search: &'l mut Search<'static>,
    pub disk: &'l mut Disk,
    /// `LD_DEBUG` says of each attempt what became of it.
    pub remarks: bool,
}

/// Loads what is to be preloaded, and all that the program needs; auditors may have a say in it.
pub fn load_all(
    place: Place,
    environment: &Environment,
    secure: bool,
    cast: &Cast,
    auditing: Option<Auditing>,
) -> Found {
    let _phase = Phase::loading();
    let Place { objects, members, search, disk, remarks } = place;
    let mut loader = Loader {
        objects,
        members,
        search,
        source: disk,
        observe: &mut Searches {
            program: cast.program,
            namespace: 0,
            from: None,
            by_option: cast.options.ld_library_path.is_some(),
            remarks,
            auditing,
            under_way: Span::NONE,
        },
        executable: cast.executable,
        interpreter: Some(cast.interpreter),
        program: cast.program,
    };
    let mut roots = alloc::vec![cast.executable];
    preload_all(&mut loader, environment, secure, cast, &mut roots);
    if let (Some(auditing), Some(vdso)) = (&loader.observe.auditing, cast.vdso) {
        auditing.known(vdso);
    }
    let mut missing = Vec::new();
    let closure = loader.closure(&roots, &mut |dependency| missing.push(dependency));
    missing.sort_by_key(|dependency| dependency.place);
    let mut version_errors = Vec::new();
    for &id in &closure {
        let _span = Span::about(Profiled::Versions, || objects[id].display_name(cast.program));
        let mut watch = |need: &Need, provider: &Object| version_wanted(need, provider, &objects[id], cast.program, 0);
        version::check_watched(objects, members, id, cast.program, &mut watch, &mut |error| {
            debug::failed("version lookup error", &error, environment.trace);
            version_errors.push(error);
        });
    }
    disk.forget_cache();
    *members = list_order(&closure, cast);
    Found { closure, missing, version_errors }
}

/// The libc that a search for the executable finds, mapped and on no list.
pub fn libc(
    search: &mut Search<'static>,
    disk: &mut Disk,
    executable: Option<&Object>,
) -> Option<Box<Object<'static>>> {
    let no_owner = Owner { name: b"", origin: None, is_executable: true };
    let owner = executable.map_or(no_owner, graph::owner);
    let dynamic = executable.and_then(|object| object.dynamic.as_ref());
    let runpath = dynamic.and_then(|dynamic| dynamic.runpath).map(|list| search.decompose(list, &owner));
    let rpath = dynamic.and_then(|dynamic| dynamic.rpath).map(|list| search.decompose(list, &owner));
    let rpaths: Vec<&PathList> = rpath.iter().collect();
    let requester = Requester { owner, runpath: runpath.as_ref(), rpaths: &rpaths, no_default_libraries: false };
    let found = search.find(disk, &mut (), &requester, Reference::Needed, b"libc.so.6").ok()?;
    let (placement, image) = found.file.map().ok()?;
    Object::decode(Kind::Library, &found.path, placement, image).ok()
}

/// The release of the libc that a search for the executable finds, where something depends on it before the search.
pub fn release(
    stack: &Stack,
    environment: &Environment,
    secure: bool,
    executable: &Object,
    options: &Options,
) -> Option<Version> {
    let machine = Machine::new(environment, secure, options);
    let mut search = new_search(stack, environment, secure, &executable.origin, options, machine);
    let found = libc(&mut search, &mut Disk::new(), Some(executable))?;
    let layout = libc::layout(&found).ok();
    // SAFETY: it is on no list, and nothing was bound to it.
    unsafe { map::discard(found) };
    layout.map(|layout| layout.version)
}

/// Makes the searches of a process whose program has this `$ORIGIN`.
pub fn new_search(
    stack: &Stack,
    environment: &Environment,
    secure: bool,
    origin: &[u8],
    options: &Options,
    machine: &'static Machine,
) -> Search<'static> {
    let settings = Settings {
        ld_library_path: options.ld_library_path.unwrap_or(environment.ld_library_path),
        inhibit_cache: options.inhibit_cache,
        inhibit_rpath: options.inhibit_rpath,
        secure,
        program_owner: if secure { files::program_owner() } else { 0 },
        system_directories: search::DEBIAN_AMD64,
        lib: search::DEBIAN_AMD64_LIB,
        platform: stack.auxiliary_string(AT_PLATFORM).map(CStr::to_bytes),
        machine,
    };
    let owner = Owner { name: b"", origin: Some(origin), is_executable: true };
    Search::new(settings, &owner)
}

/// Loads what `LD_PRELOAD`, `--preload` and `/etc/ld.so.preload` name; what cannot be loaded is named and passed over.
fn preload_all(
    loader: &mut Loader<'_, 'static, Disk, Searches<'_>>,
    environment: &Environment,
    secure: bool,
    cast: &Cast,
    roots: &mut Vec<ObjectId>,
) {
    const FILE: &CStr = c"/etc/ld.so.preload";
    let mut add = |name: &[u8], from: &CStr| {
        let executable = loader.executable;
        if from == FILE {
            origin::ask(&mut loader.objects[executable], name, cast.program_file);
        }
        match loader.load(name, Some(executable), Reference::Preloaded) {
            Ok(id) => roots.push(id),
            Err(error) => report::line(format_args!(
                "ERROR: ld.so: object '{}' from {} cannot be preloaded ({}): ignored.",
                Lossy(name),
                Lossy(from.to_bytes()),
                error.problem,
            )),
        }
    };
    for name in preload::split_list(environment.preload, secure) {
        add(name, c"LD_PRELOAD");
    }
    for name in preload::split_list(cast.options.preload.unwrap_or_default(), secure) {
        add(name, c"--preload");
    }
    // Few systems have this file, and to ask whether it is there takes half as long as to fail to open it.
    if let Some(text) = files::exists(FILE).then(|| files::contents(FILE)).flatten() {
        for name in preload::split_file(&text) {
            add(name, FILE);
        }
    }
}

/// The order of the list of link maps.
fn list_order(closure: &[ObjectId], cast: &Cast) -> Vec<ObjectId> {
    let mut members = alloc::vec![cast.executable];
    members.extend(cast.vdso);
    if !closure.contains(&cast.interpreter) {
        members.push(cast.interpreter);
    }
    members.extend(closure.iter().filter(|&&id| id != cast.executable));
    members
}

impl Found {
    /// Ends the process, after naming them, if objects are missing.
    pub fn require_objects(&self, cast: &Cast) {
        let mut needed = self.missing.iter().filter(|missing| !missing.is_optional).peekable();
        if needed.peek().is_some() {
            needed.for_each(|missing| report::error(cast.program, LOADING, &missing.error));
            exit_group(report::FAILURE);
        }
    }

    /// Ends the process, after naming them, if versions are missing.
    pub fn require_versions(&self, cast: &Cast) {
        for error in &self.version_errors {
            report::line(format_args!("{}: {error}", Lossy(cast.program)));
        }
        if !self.version_errors.iter().all(|error| error.problem.is_warning()) {
            exit_group(report::VERSION_FAILURE);
        }
    }
}
