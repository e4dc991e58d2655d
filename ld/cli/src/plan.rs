//! The plan of a program, made without starting it: the files, their order, and what every reference is bound to.
//!
//! Every decision is made by `folio-link`, the code that the interpreter runs; this module brings the files and the
//! environment, in the order in which a start goes through them, and keeps what the passes say of their reasons.

mod bindings;
mod disk;
mod searches;

use std::borrow::Cow;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use folio_elf::dynamic::DF_1_PIE;
use folio_elf::{Lossy, version::Need};
use folio_link::graph::{self, Loader, Needs, Source};
use folio_link::object::{Kind, Object, ObjectId, Objects};
use folio_link::order::{self, Algorithm, Root, Sort};
use folio_link::resolve::Scope;
use folio_link::search::cache::{Cache, Hwcaps};
use folio_link::search::{self, Files, OpenError, Owner, Reference, Search, Settings, preload};
use folio_link::{Error, Problem, version};

pub use self::bindings::Binding;
pub use self::disk::{CACHE, Disk};
use self::searches::Searches;
pub use self::searches::{Attempt, Request};
use crate::{loader, processor};

/// What of the environment has a say in a start.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    pub ld_library_path: Vec<u8>,
    pub preload: Vec<u8>,
}

impl Environment {
    /// That of this process.
    pub fn current() -> Environment {
        let variable = |name| std::env::var_os(name).map(|value| value.as_bytes().to_vec()).unwrap_or_default();
        Environment { ld_library_path: variable("LD_LIBRARY_PATH"), preload: variable("LD_PRELOAD") }
    }

    /// This environment with `VARIABLE=VALUE` set.
    pub fn with(&self, setting: &OsStr) -> Result<Environment> {
        let mut changed = self.clone();
        let bytes = setting.as_bytes();
        if let Some(value) = bytes.strip_prefix(b"LD_LIBRARY_PATH=") {
            changed.ld_library_path = value.to_vec();
        } else if let Some(value) = bytes.strip_prefix(b"LD_PRELOAD=") {
            changed.preload = value.to_vec();
        } else {
            bail!("{}: neither LD_LIBRARY_PATH=... nor LD_PRELOAD=...", setting.display());
        }
        Ok(changed)
    }
}

/// A version that was looked for.
#[derive(Clone, Debug)]
pub struct VersionNeed {
    pub version: Vec<u8>,
    pub provider: ObjectId,
    pub requester: ObjectId,
}

/// Everything that a start would decide.
pub struct Plan {
    /// The program as it was named, and as the kernel would find it.
    pub program: PathBuf,
    pub objects: Objects<'static>,
    pub executable: ObjectId,
    pub interpreter: ObjectId,
    /// Search order: the executable, what is preloaded, and what they need.
    pub scope: Scope,
    /// The order of initializers.
    pub initialization: Vec<ObjectId>,
    pub requests: Vec<Request>,
    pub versions: Vec<VersionNeed>,
    /// Every reference that was bound, in the order of relocation.
    pub bindings: Vec<Binding>,
    pub missing_objects: Vec<Error>,
    pub missing_versions: Vec<Error>,
    pub missing_symbols: Vec<Error>,
    /// Libraries that were to be preloaded and cannot be.
    pub ignored: Vec<Error>,
    /// Questions for directories, beside the files that were tried.
    pub directories_asked: usize,
    /// The program runs with more rights than its user: no environment variable has a say.
    pub secure: bool,
    pub disk: Disk,
}

impl Plan {
    /// Plans the start of `program` in this environment.
    pub fn make(program: &Path, environment: &Environment, disk: Disk) -> Result<Plan> {
        let mut disk = disk;
        disk.directories_asked = 0;
        let shown = program.display();
        let path = program.as_os_str().as_bytes();
        let mut objects = Objects::new();
        let executable = adopt_program(&mut disk, path).with_context(|| format!("{shown}"))?;
        // A static PIE relocates itself, and names nobody to do it (ld(1), -static-pie).
        let is_static_pie = executable.flags_1() & DF_1_PIE != 0 && executable.placement.interpreter.is_none();
        let is_static = executable.dynamic.is_none() || is_static_pie;
        ensure!(!is_static, "{shown}: statically linked, so there is nothing to plan");
        let interpreter = adopt_interpreter(&mut disk, &executable)?;
        let secure = gains_rights(program)?;
        let owner = fs::metadata(program)?.uid();
        let mut search = new_search(environment, secure.then_some(owner), &executable.origin);
        let executable = objects.insert(executable);
        let interpreter = objects.insert(interpreter);
        let mut members = vec![executable, interpreter];
        let mut searches = Searches::new(path);
        let mut loader = Loader {
            objects: &mut objects,
            members: &mut members,
            search: &mut search,
            source: &mut disk,
            observe: &mut searches,
            executable,
            interpreter: Some(interpreter),
            program: path,
        };
        let mut roots = vec![executable];
        let mut ignored = Vec::new();
        let preload_file = fs::read("/etc/ld.so.preload").unwrap_or_default();
        let listed = preload::split_list(&environment.preload, secure).chain(preload::split_file(&preload_file));
        for name in listed {
            match loader.load(name, Some(executable), Reference::Preloaded) {
                Ok(id) => roots.push(id),
                Err(error) => ignored.push(error),
            }
        }
        let mut missing_objects = Vec::new();
        let closure = loader.closure(&roots, &mut |missing| {
            missing_objects.extend((!missing.is_optional).then_some(missing.error));
        });
        let mut plan = Plan {
            program: program.to_owned(),
            executable,
            interpreter,
            initialization: Vec::new(),
            requests: searches.requests,
            versions: Vec::new(),
            bindings: Vec::new(),
            missing_objects,
            missing_versions: Vec::new(),
            missing_symbols: Vec::new(),
            ignored,
            directories_asked: disk.directories_asked,
            secure,
            scope: Scope { objects: closure },
            objects,
            disk,
        };
        plan.check_versions(&members);
        plan.sort(&members);
        Ok(plan)
    }

    /// Whether each version that is needed is there.
    fn check_versions(&mut self, members: &[ObjectId]) {
        let program = self.program.as_os_str().as_bytes();
        for &requester in &self.scope.objects {
            let mut watch = |need: &Need, provider: &Object| {
                let provider = members.iter().copied().find(|&id| std::ptr::eq(&self.objects[id], provider));
                let Some(provider) = provider else { return };
                self.versions.push(VersionNeed { version: need.name.to_vec(), provider, requester });
            };
            version::check_watched(&self.objects, members, requester, program, &mut watch, &mut |error| {
                self.missing_versions.push(error);
            });
        }
    }

    /// Sorts the objects by their dependencies, and binds them in that order.
    fn sort(&mut self, members: &[ObjectId]) {
        let closure = &self.scope.objects;
        let mut list: Vec<usize> = closure.iter().map(|id| id.0 as usize).collect();
        let main = self.executable.0 as usize;
        order::lead(&mut list, main);
        let dependencies = Needs::of(&self.objects, closure);
        let sort = Sort { algorithm: Algorithm::default(), main: Some(main), dependencies };
        let sorted = sort.opened(&list, Root::New);
        let first = graph::goes_first(&self.objects, members).map(|id| id.0 as usize);
        self.initialization = order::initialization(&sorted, first).map(|index| ObjectId(index as u32)).collect();
        let relocated: Vec<ObjectId> = sorted.iter().rev().map(|&index| ObjectId(index as u32)).collect();
        (self.bindings, self.missing_symbols) = bindings::bind(self, &relocated);
    }

    /// The path of an object; the program's is the one it was named by.
    pub fn path(&self, id: ObjectId) -> &[u8] {
        self.objects[id].display_name(self.program.as_os_str().as_bytes())
    }

    pub fn path_text(&self, id: ObjectId) -> Cow<'_, str> {
        String::from_utf8_lossy(self.path(id))
    }

    /// The name that the first to ask for an object used.
    pub fn name(&self, id: ObjectId) -> String {
        let object = &self.objects[id];
        let path = self.path(id);
        let name = object.names.first().map_or(path, Vec::as_slice);
        let file = name.rsplit(|&byte| byte == b'/').next().unwrap_or(name);
        String::from_utf8_lossy(file).into_owned()
    }

    /// The objects that need `id` directly, in search order.
    pub fn users(&self, id: ObjectId) -> Vec<ObjectId> {
        let needs = |user: &ObjectId| self.objects[*user].needed.contains(&id);
        self.scope.objects.iter().copied().filter(needs).collect()
    }

    /// The search that brought an object in; none for the program, its interpreter, and what they stand for.
    pub fn request_of(&self, id: ObjectId) -> Option<&Request> {
        let path = &self.objects[id].path;
        self.requests.iter().find(|request| request.path.as_ref() == Some(path) && !path.is_empty())
    }

    /// Names of libraries that `ldconfig` found.
    pub fn cached_names(&mut self) -> Vec<(Vec<u8>, Vec<u8>)> {
        let cache = self.disk.cache().and_then(Cache::parse);
        cache.iter().flat_map(Cache::entries).map(|entry| (entry.name.to_vec(), entry.path.to_vec())).collect()
    }
}

/// Opens the program itself: unlike a library it may be at fixed addresses.
fn adopt_program(disk: &mut Disk, path: &[u8]) -> Result<Box<Object<'static>>> {
    let file = match disk.open(path) {
        Ok(file) => file,
        Err(OpenError::Absent(errno)) => bail!(std::io::Error::from_raw_os_error(errno)),
        Err(OpenError::OtherClass) => bail!("a 32-bit program, which another linker starts"),
        Err(OpenError::OtherMachine) => bail!("a program for another machine"),
        Err(OpenError::Failed(problem)) => match script_interpreter(path) {
            Some(starter) => bail!("a script, which {starter} starts"),
            None => bail!("{}", Sentence(&problem)),
        },
    };
    let identity = disk.identity(&file);
    let (placement, image) = disk.place(file).map_err(|problem| anyhow::anyhow!("{problem}"))?;
    let mut object = Object::decode(Kind::Executable, b"", placement, image)
        .map_err(|problem| anyhow::anyhow!("{}", Sentence(&problem)))?;
    object.identity = Some(identity);
    // $ORIGIN is where the kernel says that the file is: links are followed.
    let canonical = fs::canonicalize(OsStr::from_bytes(path))?;
    object.origin = search::dst::origin_of(canonical.as_os_str().as_bytes()).to_vec();
    Ok(object)
}

/// The program that starts a script (execve(2), *Interpreter scripts*).
fn script_interpreter(path: &[u8]) -> Option<String> {
    let text = fs::read(OsStr::from_bytes(path)).ok()?;
    let line = text.strip_prefix(b"#!")?.split(|&byte| byte == b'\n').next()?;
    Some(String::from_utf8_lossy(line).trim().to_owned())
}

/// A problem with what `errno` adds to it.
struct Sentence<'p>(&'p Problem);

impl std::fmt::Display for Sentence<'_> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(out)?;
        match self.0.errno() {
            errno if errno.0 != 0 => write!(out, ": {errno}"),
            _ => Ok(()),
        }
    }
}

/// The dynamic linker that the program names; of a library, which names none, glibc's.
fn adopt_interpreter(disk: &mut Disk, executable: &Object<'static>) -> Result<Box<Object<'static>>> {
    let path = executable.named_interpreter().unwrap_or(loader::GLIBC.as_bytes());
    let explain = || format!("its interpreter {}", Lossy(path));
    let file = match disk.open(path) {
        Ok(file) => file,
        Err(OpenError::Absent(errno)) => return Err(std::io::Error::from_raw_os_error(errno)).with_context(explain),
        Err(_) => bail!("{} is no dynamic linker of this machine", explain()),
    };
    let identity = disk.identity(&file);
    let decoded =
        disk.place(file).and_then(|(placement, image)| Object::decode(Kind::Interpreter, path, placement, image));
    let mut object = decoded.map_err(|problem| anyhow::anyhow!("{problem}")).with_context(explain)?;
    object.identity = Some(identity);
    object.names = object.soname().map(<[u8]>::to_vec).into_iter().collect();
    object.is_graphed = true;
    Ok(object)
}

/// `gainer` is the owner of a program that gains rights when it starts.
fn new_search(environment: &Environment, gainer: Option<u32>, origin: &[u8]) -> Search<'static> {
    let levels = processor::levels();
    let subdirectories: Vec<&'static [u8]> = levels.directories().iter().map(|name| name.as_bytes()).collect();
    let hwcaps = Hwcaps { subdirectories: subdirectories.leak(), isa_level: (1 << levels.highest()) - 1 };
    let settings = Settings {
        // As long as the command: a search borrows its settings.
        ld_library_path: environment.ld_library_path.clone().leak(),
        inhibit_cache: false,
        inhibit_rpath: None,
        secure: gainer.is_some(),
        program_owner: gainer.unwrap_or_default(),
        system_directories: search::DEBIAN_AMD64,
        lib: search::DEBIAN_AMD64_LIB,
        platform: Some(b"x86_64"),
        machine: Box::leak(Box::new(hwcaps)),
    };
    Search::new(settings, &Owner { name: b"", origin: Some(origin), is_executable: true })
}

/// Whether the kernel would set AT_SECURE for this user (execve(2), capabilities(7)).
fn gains_rights(program: &Path) -> Result<bool> {
    const S_ISUID: u32 = 0o4000;
    const S_ISGID: u32 = 0o2000;
    const S_IXGRP: u32 = 0o10;
    let status = fs::metadata(program)?;
    let (user, group) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    let other_user = status.mode() & S_ISUID != 0 && status.uid() != user;
    let other_group = status.mode() & (S_ISGID | S_IXGRP) == S_ISGID | S_IXGRP && status.gid() != group;
    // For root, capabilities of a file are nothing new.
    Ok(other_user || other_group || (has_capabilities(program) && user != 0))
}

/// Whether the file itself carries capabilities.
pub fn has_capabilities(program: &Path) -> bool {
    let mut value = [0u8; 64];
    rustix::fs::getxattr(program.as_os_str().as_bytes(), "security.capability", &mut value).is_ok()
}
