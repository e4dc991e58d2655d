//! Finds the file of a library: every rule of ld.so(8), in order.
//!
//! A name with a slash is a path. Any other name is looked for in the DT_RPATHs (unless the requester has a DT_RUNPATH), in
//! LD_LIBRARY_PATH, in the requester's DT_RUNPATH, in `/etc/ld.so.cache`, and in the system's directories.
//! Source: ld.so(8); glibc elf/dl-load.c, `_dl_map_object`.
//!
//! Nothing here opens a file: the caller passes [`Files`], the seam to the system, and [`Observe`], the seam to whoever wants
//! to know why. Names that are loaded already (by soname, or by device and inode) are the caller's to recognise.

pub mod cache;
pub mod dst;
mod path;
pub mod preload;

#[cfg(test)]
mod tests;

use alloc::vec::Vec;

use self::cache::{Cache, Machine};
use self::dst::{Tokens, Trust};
use self::path::Directories;
pub use self::path::{Listing, PathList};
use crate::object::{Object, ObjectId, Objects};

/// The system's directories of Debian and its kin on amd64.
pub const DEBIAN_AMD64: &[&[u8]] = &[b"/lib/x86_64-linux-gnu", b"/usr/lib/x86_64-linux-gnu", b"/lib", b"/usr/lib"];

/// What `$LIB` stands for there.
pub const DEBIAN_AMD64_LIB: &[u8] = b"lib/x86_64-linux-gnu";

/// The user who owns the system.
const ROOT: u32 = 0;

const ENOENT: i32 = 2;
const EACCES: i32 = 13;
const ENOTDIR: i32 = 20;

/// The seam to the file system.
pub trait Files {
    /// An object that was opened and whose ELF header fits this machine.
    type File;
    type Error;

    /// Opens a candidate and looks at its header.
    fn open(&mut self, path: &[u8]) -> Result<Self::File, OpenError<Self::Error>>;

    /// Whether a directory exists.
    fn is_directory(&mut self, path: &[u8]) -> bool;

    /// The bytes of `/etc/ld.so.cache`; asked for when a rule needs them.
    fn cache(&mut self) -> Option<&[u8]>;

    /// Whether a file has the set-user-ID bit; asked for when a set-user-ID program preloads a library.
    fn is_set_user_id(&mut self, file: &Self::File) -> bool;

    /// The user whose file it is; asked for when a set-user-ID program loads a library.
    fn owner(&mut self, file: &Self::File) -> u32;
}

/// Why a candidate is not the library.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenError<E> {
    /// `open(2)` failed with this errno.
    Absent(i32),
    /// An ELF file of another class: passed over.
    OtherClass,
    /// An ELF file of another machine: passed over.
    OtherMachine,
    /// Not a usable file: the search ends with this error.
    Failed(E),
}

/// Which rule led to a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// The name has a slash.
    Direct,
    Rpath,
    LibraryPath,
    Runpath,
    Cache,
    Default,
}

/// What an observer makes of a name (`la_objsearch` of rtld-audit(7)).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Redirect {
    /// It is searched for, or opened, as it is.
    #[default]
    Keep,
    /// This one in its place.
    To(Vec<u8>),
    /// It counts as missing.
    Refuse,
}

/// Watches a search; each method's default does nothing and costs nothing.
pub trait Observe {
    /// A name is asked for that no loaded object answers to.
    fn wanted(&mut self, _objects: &Objects, _name: &[u8], _requester: ObjectId, _reference: Reference) -> Redirect {
        Redirect::Keep
    }
    /// The file that was found for a name is in memory.
    fn mapped(&mut self, _name: &[u8], _object: &Object) {}
    /// An object has joined the namespace.
    fn added(&mut self, _objects: &Objects, _id: ObjectId) {}
    /// A library without a slash in its name is searched for.
    fn find(&mut self, _name: &[u8]) {}
    /// A path list is searched; `owner` is the object whose DT_RPATH or DT_RUNPATH it is, empty for the executable.
    fn list(&mut self, _rule: Rule, _owner: &[u8], _directories: &Listing<'_>) {}
    /// The cache is asked.
    fn cache(&mut self) {}
    /// A file is about to be opened.
    fn trying(&mut self, _path: &[u8], _rule: Rule) -> Redirect {
        Redirect::Keep
    }
    /// A file was not the library.
    fn refused(&mut self, _path: &[u8], _rule: Rule, _reason: Refusal) {}
    /// The search that `find` announced is over.
    fn done(&mut self, _rule: Option<Rule>) {}
}

impl Observe for () {}

/// Why a file was refused, as [`Observe`] learns it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    Absent(i32),
    OtherClass,
    OtherMachine,
    Failed,
    /// A set-user-ID program preloads nothing that is not set-user-ID itself.
    NotSetUserId,
    /// A set-user-ID program was led to a file that is neither root's nor of the program's own owner.
    ForeignOwner,
    /// The requester has DF_1_NODEFLIB, and the cache points into a default directory.
    NoDefaultLibraries,
}

/// What holds for every search in a process.
#[derive(Clone, Copy, Debug)]
pub struct Settings<'a> {
    /// LD_LIBRARY_PATH or `--library-path`; empty when not set.
    pub ld_library_path: &'a [u8],
    /// `--inhibit-cache`.
    pub inhibit_cache: bool,
    /// `--inhibit-rpath`: names of objects, separated by colons, whose DT_RPATH and DT_RUNPATH are ignored.
    pub inhibit_rpath: Option<&'a [u8]>,
    /// AT_SECURE.
    pub secure: bool,
    /// The user whose file the program is; counts when `secure`.
    pub program_owner: u32,
    /// Absolute, in the order of the search: [`DEBIAN_AMD64`].
    pub system_directories: &'a [&'a [u8]],
    /// `$LIB`.
    pub lib: &'a [u8],
    /// `$PLATFORM`.
    pub platform: Option<&'a [u8]>,
    pub machine: &'a dyn Machine,
}

/// The object in whose name a string is expanded.
#[derive(Clone, Copy, Debug)]
pub struct Owner<'a> {
    /// Its `l_name`: empty for the executable that the kernel loaded.
    pub name: &'a [u8],
    /// Its directory, see [`dst::origin_of`]; needed only where [`dst::contains_token`].
    pub origin: Option<&'a [u8]>,
    pub is_executable: bool,
}

/// The object that asks for a library.
#[derive(Clone, Copy, Debug)]
pub struct Requester<'a> {
    pub owner: Owner<'a>,
    /// Its DT_RUNPATH, also when that is empty or inhibited.
    pub runpath: Option<&'a PathList>,
    /// DT_RPATH of itself, of the object that had it loaded, and so on, then of the executable. Objects that have a
    /// DT_RUNPATH have no DT_RPATH. Ignored when `runpath` is given.
    pub rpaths: &'a [&'a PathList],
    /// DF_1_NODEFLIB.
    pub no_default_libraries: bool,
}

/// In which way a library is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reference {
    /// DT_NEEDED.
    Needed,
    /// `dlopen`.
    Opened,
    /// LD_PRELOAD, `--preload` or `/etc/ld.so.preload`.
    Preloaded,
    /// LD_AUDIT, `--audit`, DT_AUDIT or DT_DEPAUDIT.
    Audit,
}

/// A library that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found<F> {
    pub file: F,
    /// As it was opened, byte for byte: the `l_name`.
    pub path: Vec<u8>,
    pub rule: Rule,
}

/// Why no library was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SearchError<E> {
    /// No rule led to a file that can be opened; the errno of the last attempt.
    NotFound { errno: i32 },
    /// No rule led to a file of this machine's class, but one led to a file of the other.
    OtherClass,
    /// A DT_NEEDED of a set-user-ID program has a dynamic string token.
    TokenInSecureProgram,
    /// A DT_NEEDED has a dynamic string token without a value.
    EmptySubstitution,
    /// A file that should be the library cannot be used.
    Unusable { path: Vec<u8>, error: E },
}

/// The searches of one process: the settings, and what earlier searches learnt of the directories.
#[derive(Clone, Debug)]
pub struct Search<'a> {
    settings: Settings<'a>,
    directories: Directories<'a>,
    ld_library_path: PathList,
    /// The system's directories, from the first search on that comes by them: most libraries are in the cache.
    system: Option<PathList>,
}

impl<'a> Search<'a> {
    /// `executable` is the program: the tokens in LD_LIBRARY_PATH are its own.
    pub fn new(settings: Settings<'a>, executable: &Owner<'_>) -> Self {
        let mut directories = Directories::new(settings.machine);
        let ld_library_path = if settings.secure || settings.ld_library_path.is_empty() {
            PathList::default()
        } else {
            directories.decompose(settings.ld_library_path, b":;", &settings.tokens(executable), b"")
        };
        Self { settings, directories, ld_library_path, system: None }
    }

    /// Splits the value of an object's DT_RPATH or DT_RUNPATH.
    pub fn decompose(&mut self, list: &[u8], owner: &Owner<'_>) -> PathList {
        if list.is_empty() || self.settings.inhibits_rpath(owner.name) {
            return PathList::default();
        }
        self.directories.decompose(list, b":", &self.settings.tokens(owner), owner.name)
    }

    /// The directories in which a library is looked for that `requester` names without a slash, in order, each with the
    /// slash at its end; the cache has no say in it (*glibc elf/dl-load.c, _dl_rtld_di_serinfo*).
    pub fn path(&mut self, requester: &Requester<'_>) -> Vec<Vec<u8>> {
        let system = self.system.get_or_insert_with(|| self.settings.system_list(&mut self.directories));
        let rpaths = if requester.runpath.is_some() { &[] } else { requester.rpaths };
        let of_objects = |list: &&PathList| !self.directories.are_all_missing(list);
        let rpaths = rpaths.iter().copied().filter(of_objects);
        let runpath = requester.runpath.filter(of_objects);
        let system = (!requester.no_default_libraries).then_some(&*system);
        let lists = rpaths.chain([&self.ld_library_path]).chain(runpath).chain(system);
        lists.flat_map(|list| self.directories.prefixes(list)).map(<[u8]>::to_vec).collect()
    }

    /// Finds and opens the file of a library.
    pub fn find<F: Files, O: Observe>(
        &mut self,
        files: &mut F,
        observe: &mut O,
        requester: &Requester<'_>,
        reference: Reference,
        name: &[u8],
    ) -> Result<Found<F::File>, SearchError<F::Error>> {
        let is_preloaded = matches!(reference, Reference::Preloaded | Reference::Audit);
        let needs_set_user_id = is_preloaded && self.settings.secure;
        // What the program itself opens by a path is its own decision.
        let is_programs_choice = reference == Reference::Opened && name.contains(&b'/');
        let mut probe = Probe {
            files,
            observe,
            needs_set_user_id: false,
            trusted_owner: (self.settings.secure && !is_programs_choice).then_some(self.settings.program_owner),
            refusal: Refusal::Absent(ENOENT),
            other_class: false,
        };
        let expanded;
        let mut name = name;
        if (reference == Reference::Needed || name.contains(&b'/')) && dst::contains_token(name) {
            if reference == Reference::Needed && self.settings.secure {
                return Err(SearchError::TokenInSecureProgram);
            }
            match self.settings.tokens(&requester.owner).expand(name) {
                Some(path) => expanded = path,
                None if reference == Reference::Needed => return Err(SearchError::EmptySubstitution),
                // As an attempt to open the empty path ends.
                None => return Err(SearchError::NotFound { errno: ENOENT }),
            }
            name = &expanded;
        }
        if name.contains(&b'/') {
            let file = probe.open(name, Rule::Direct)?;
            return file
                .map(|file| Found { file, path: name.to_vec(), rule: Rule::Direct })
                .ok_or_else(|| probe.failure());
        }
        probe.needs_set_user_id = needs_set_user_id;
        probe.observe.find(name);
        let found = self.by_rules(requester, name, &mut probe);
        probe.observe.done(found.as_ref().ok().and_then(|found| found.as_ref().map(|found| found.rule)));
        found?.ok_or_else(|| probe.failure())
    }

    /// The rules for names without a slash, in order.
    fn by_rules<F: Files, O: Observe>(
        &mut self,
        requester: &Requester<'_>,
        name: &[u8],
        probe: &mut Probe<'_, F, O>,
    ) -> Result<Option<Found<F::File>>, SearchError<F::Error>> {
        if requester.runpath.is_none() {
            for rpath in requester.rpaths {
                if let Some(found) = self.directories.search(rpath, Rule::Rpath, name, probe)? {
                    return Ok(Some(found));
                }
            }
        }
        if let Some(found) = self.directories.search(&self.ld_library_path, Rule::LibraryPath, name, probe)? {
            return Ok(Some(found));
        }
        if let Some(runpath) = requester.runpath
            && let Some(found) = self.directories.search(runpath, Rule::Runpath, name, probe)?
        {
            return Ok(Some(found));
        }
        // The cache may name libraries outside the system's directories, which a set-user-ID program must not preload.
        if !self.settings.inhibit_cache
            && !probe.needs_set_user_id
            && let Some(found) = self.in_cache(requester, name, probe)?
        {
            return Ok(Some(found));
        }
        if requester.no_default_libraries {
            return Ok(None);
        }
        let system = self.system.get_or_insert_with(|| self.settings.system_list(&mut self.directories));
        self.directories.search(system, Rule::Default, name, probe)
    }

    fn in_cache<F: Files, O: Observe>(
        &mut self,
        requester: &Requester<'_>,
        name: &[u8],
        probe: &mut Probe<'_, F, O>,
    ) -> Result<Option<Found<F::File>>, SearchError<F::Error>> {
        probe.observe.cache();
        let cache = probe.files.cache().and_then(Cache::parse);
        let Some(path) = cache.and_then(|cache| cache.find(name, self.settings.machine)) else {
            return Ok(None);
        };
        // Opening may replace the cache, so its bytes are not kept.
        let path = path.to_vec();
        if requester.no_default_libraries && self.settings.is_in_system_directory(&path) {
            probe.observe.refused(&path, Rule::Cache, Refusal::NoDefaultLibraries);
            return Ok(None);
        }
        let file = probe.open(&path, Rule::Cache)?;
        Ok(file.map(|file| Found { file, path, rule: Rule::Cache }))
    }
}

impl<'a> Settings<'a> {
    fn tokens<'t>(&self, owner: &Owner<'t>) -> Tokens<'t>
    where
        'a: 't,
    {
        let trust = if owner.is_executable { Trust::Within(self.system_directories) } else { Trust::Library };
        Tokens { origin: owner.origin, lib: self.lib, platform: self.platform, secure: self.secure.then_some(trust) }
    }

    fn system_list(&self, directories: &mut Directories<'a>) -> PathList {
        let no_tokens = Tokens { origin: None, lib: b"", platform: None, secure: None };
        let mut list = PathList::default();
        for directory in self.system_directories {
            list.append(directories.decompose(directory, b"", &no_tokens, b""));
        }
        list
    }

    /// Whether `--inhibit-rpath` names an object; a colon at the end of its list separates nothing.
    fn inhibits_rpath(&self, object: &[u8]) -> bool {
        !self.secure
            && self.inhibit_rpath.is_some_and(|list| {
                let list = list.strip_suffix(b":").unwrap_or(list);
                list.split(|&byte| byte == b':').any(|name| name == object)
            })
    }

    fn is_in_system_directory(&self, path: &[u8]) -> bool {
        self.system_directories
            .iter()
            .any(|directory| path.strip_prefix(*directory).is_some_and(|rest| rest.starts_with(b"/")))
    }
}

/// One search under way.
struct Probe<'p, F: Files, O: Observe> {
    files: &'p mut F,
    observe: &'p mut O,
    needs_set_user_id: bool,
    /// The one user besides root whose files are loaded; `None`: anybody's. Who owns the program decides anyway what it
    /// does; a directory that others may write to must not give them a say. Nothing of the sort is in glibc, which trusts
    /// the directories.
    trusted_owner: Option<u32>,
    /// Why the last attempt failed.
    refusal: Refusal,
    other_class: bool,
}

impl<F: Files, O: Observe> Probe<'_, F, O> {
    fn open(&mut self, path: &[u8], rule: Rule) -> Result<Option<F::File>, SearchError<F::Error>> {
        let elsewhere = match self.observe.trying(path, rule) {
            Redirect::Keep => None,
            Redirect::To(elsewhere) => Some(elsewhere),
            Redirect::Refuse => return Ok(None),
        };
        let refusal = match self.files.open(elsewhere.as_deref().unwrap_or(path)) {
            Ok(file) if self.needs_set_user_id && !self.files.is_set_user_id(&file) => Refusal::NotSetUserId,
            Ok(file) if !self.trusts_owner(&file) => Refusal::ForeignOwner,
            Ok(file) => return Ok(Some(file)),
            Err(OpenError::Absent(errno)) => Refusal::Absent(errno),
            Err(OpenError::OtherClass) => Refusal::OtherClass,
            Err(OpenError::OtherMachine) => Refusal::OtherMachine,
            Err(OpenError::Failed(error)) => {
                self.observe.refused(path, rule, Refusal::Failed);
                return Err(SearchError::Unusable { path: path.to_vec(), error });
            }
        };
        self.observe.refused(path, rule, refusal);
        self.refusal = refusal;
        self.other_class |= refusal == Refusal::OtherClass;
        Ok(None)
    }

    fn trusts_owner(&mut self, file: &F::File) -> bool {
        self.trusted_owner.is_none_or(|trusted| [ROOT, trusted].contains(&self.files.owner(file)))
    }

    /// Whether the last attempt failed because the file is not there, in a sense that lets the search of a list go on.
    fn is_absent(&self) -> bool {
        matches!(self.errno(), ENOENT | EACCES | ENOTDIR)
    }

    /// The errno of the last attempt; a file that was passed over counts as absent, or as forbidden for its owner.
    fn errno(&self) -> i32 {
        match self.refusal {
            Refusal::Absent(errno) => errno,
            Refusal::ForeignOwner => EACCES,
            _ => ENOENT,
        }
    }

    fn failure(&self) -> SearchError<F::Error> {
        if self.other_class { SearchError::OtherClass } else { SearchError::NotFound { errno: self.errno() } }
    }
}
