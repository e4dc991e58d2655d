//! The target for discover and plan as a whole: a program and its libraries, found in a file system of the input's own
//! making, checked, laid out, ordered and relocated as at a start.

use std::cell::Cell;
use std::collections::HashSet;

use folio_elf::hash;
use folio_elf::version::Need;
use folio_elf::{Addr, FileHeader, HeaderError, Image, Vaddr};
use folio_link::graph::{self, Loader, Source};
use folio_link::index::ScopeIndex;
use folio_link::object::directory_of;
use folio_link::order::{Algorithm, Dependencies, Root, Sort};
use folio_link::placement::Placement;
use folio_link::relocate::{self, Indirect, Process};
use folio_link::resolve::{self, Class, Definition, Reference, Scope, SymbolId, Uniques, Watch};
use folio_link::search::cache::Hwcaps;
use folio_link::search::{self, Files, Observe, OpenError, Owner, Search, Settings, preload};
use folio_link::tls::{Module, StaticLayout, surplus};
use folio_link::{Errno, Error, Identity, Kind, Object, ObjectId, Objects, Problem, bind, version};

use crate::archive::Archive;
use crate::decoders;
use crate::memory::{self, Memory};

const PROGRAM: &[u8] = b"/opt/app/program";
/// Directories where each library is, under its own name.
const DIRECTORIES: [&[u8]; 3] =
    [b"/opt/app/lib", b"/lib/x86_64-linux-gnu", b"/usr/lib/x86_64-linux-gnu/glibc-hwcaps/x86-64-v2"];

/// What the first byte of an archive's settings switches on.
mod setting {
    pub const SECURE: u8 = 1;
    pub const CACHE: u8 = 1 << 1;
    pub const INTERPRETER: u8 = 1 << 2;
    pub const LAZY: u8 = 1 << 3;
    pub const STUBS: u8 = 1 << 4;
    pub const DEFER: u8 = 1 << 5;
    pub const WEAK_YIELDS: u8 = 1 << 6;
}

/// The input's libraries: `liba.so` is the first.
struct Disk<'m> {
    memory: &'m Memory,
    libraries: &'m [Vec<u8>],
    cache: Option<&'m [u8]>,
    opened: usize,
    asked: usize,
}

impl Disk<'_> {
    fn number(&self, path: &[u8]) -> Option<usize> {
        let letter = path.strip_prefix(directory_of(path))?.strip_prefix(b"/lib")?.strip_suffix(b".so")?;
        let &[letter @ b'a'..=b'z'] = letter else { return None };
        let number = usize::from(letter - b'a');
        (number < self.libraries.len() && DIRECTORIES.contains(&directory_of(path))).then_some(number)
    }
}

impl Files for Disk<'_> {
    type File = usize;
    type Error = Problem;

    fn open(&mut self, path: &[u8]) -> Result<usize, OpenError<Problem>> {
        self.opened += 1;
        if path.len() >= 4096 {
            return Err(OpenError::Absent(36));
        }
        let number = self.number(path).ok_or(OpenError::Absent(Errno::ENOENT.0))?;
        match FileHeader::decode(&self.libraries[number]) {
            Ok(_) => Ok(number),
            Err(HeaderError::OtherClass) => Err(OpenError::OtherClass),
            Err(HeaderError::OtherMachine) => Err(OpenError::OtherMachine),
            Err(error) => Err(OpenError::Failed(Problem::Header(error))),
        }
    }

    fn is_directory(&mut self, path: &[u8]) -> bool {
        self.asked += 1;
        DIRECTORIES.iter().any(|directory| directory.starts_with(path))
    }

    fn cache(&mut self) -> Option<&[u8]> {
        self.cache
    }

    fn is_set_user_id(&mut self, number: &usize) -> bool {
        number.is_multiple_of(2)
    }

    fn owner(&mut self, number: &usize) -> u32 {
        u32::from(number.is_multiple_of(3))
    }
}

/// Maps a file that is to play this part.
fn map<'m>(memory: &'m Memory, file: &[u8]) -> Result<(Placement, Image<'m>), Problem> {
    let placement = decoders::plan(file).ok_or(Problem::Read(Errno(0)))?;
    let image = memory.map(&placement, file).ok_or(Problem::Map(Errno::ENOMEM))?;
    Ok((placement, image))
}

impl<'m> Source<'m> for Disk<'m> {
    fn identity(&self, number: &usize) -> Identity {
        Identity { device: 1, inode: *number as u64 }
    }

    fn map(&mut self, number: usize) -> Result<(Placement, Image<'m>), Problem> {
        let (placement, image) = map(self.memory, &self.libraries[number])?;
        graph::require_library(&placement)?;
        Ok((placement, image))
    }

    fn unmap(&mut self, _: Vaddr, _: u64, _: Image<'m>) {}

    fn origin(&mut self, path: &[u8]) -> Vec<u8> {
        directory_of(path).to_vec()
    }
}

/// Counts what happens while objects are found.
#[derive(Default)]
struct Counts {
    wanted: usize,
    added: usize,
}

impl Observe for Counts {
    fn wanted(&mut self, _: &Objects, _: &[u8], _: ObjectId, _: search::Reference) -> search::Redirect {
        self.wanted += 1;
        search::Redirect::Keep
    }

    fn added(&mut self, _: &Objects, _: ObjectId) {
        self.added += 1;
    }
}

/// Counts objects that are asked for names.
#[derive(Default)]
struct Lookups {
    weak_yields: bool,
    tried: Cell<usize>,
}

impl Watch for Lookups {
    fn wants_all(&self) -> bool {
        self.weak_yields
    }

    fn weak_yields(&self) -> bool {
        self.weak_yields
    }

    fn tried(&mut self, _: &Objects, _: ObjectId, _: &Reference) {
        self.tried.set(self.tried.get() + 1);
    }

    fn bound(&mut self, objects: &Objects, from: ObjectId, reference: &Reference, to: &Definition, _: bool) {
        check_definition(objects, reference, to, from);
    }
}

/// A definition is a symbol of an object of that name.
fn check_definition(objects: &Objects, reference: &Reference, definition: &Definition, requester: ObjectId) {
    let symbols = objects[definition.object].symbols.as_ref().expect("it defines something");
    assert_eq!(symbols.get(definition.index).map(|symbol| symbol.0), Some(definition.symbol.0));
    // A copy relocation makes the requester's own symbol the definition of a unique name.
    let name = symbols.name(&definition.symbol);
    assert!(name == Some(reference.name) || definition.object == requester);
}

/// Answers what a running process would.
struct Answers<'a> {
    settings: u8,
    tls: &'a [(ObjectId, u64)],
    calls: usize,
    deferred: Vec<Indirect>,
}

impl Process for Answers<'_> {
    fn call_resolver(&mut self, resolver: Addr) -> Addr {
        self.calls += 1;
        resolver
    }

    fn defer(&mut self, indirect: Indirect) -> bool {
        let defers = self.settings & setting::DEFER != 0;
        if defers {
            self.deferred.push(indirect);
        }
        defers
    }

    fn tls_module(&self, object: ObjectId) -> u64 {
        self.tls.iter().position(|(id, _)| *id == object).map_or(0, |place| place as u64 + 1)
    }

    fn tls_offset(&mut self, object: ObjectId) -> Result<u64, Problem> {
        self.tls.iter().find(|(id, _)| *id == object).map(|(_, offset)| *offset).ok_or(Problem::StaticTls)
    }

    fn tls_descriptor(&mut self, object: Option<ObjectId>, offset: u64) -> Result<[u64; 2], Problem> {
        Ok([object.map_or(0, |object| u64::from(object.0) + 1), offset])
    }

    fn missing_function(&mut self, _: ObjectId, symbol: u32) -> Option<Addr> {
        (self.settings & setting::STUBS != 0).then_some(Addr(0x1000 + u64::from(symbol)))
    }

    fn binds_lazily(&self) -> bool {
        self.settings & setting::LAZY != 0
    }

    fn bound(&mut self, requester: ObjectId, definition: SymbolId) {
        assert_ne!(requester, definition.object);
    }

    fn copy_sizes_differ(&mut self, _: ObjectId, _: &[u8]) {}
}

struct Needs<'o>(&'o [(usize, Vec<usize>)]);

impl Dependencies for Needs<'_> {
    fn needed(&self, object: usize) -> &[usize] {
        self.0.iter().find(|(id, _)| *id == object).map_or(&[], |(_, needed)| needed)
    }

    fn bound(&self, object: usize) -> &[usize] {
        // As good as any others.
        &self.needed(object)[..self.needed(object).len() / 2]
    }
}

pub fn link(input: &[u8]) {
    let Archive { settings: [settings, ..], files } = Archive::read(input);
    let [program, libraries @ .., lists] = &files[..] else { return };
    let mut lists = lists.split(|&byte| byte == 0);
    let mut list = || lists.next().unwrap_or_default();
    let has = |bit: u8| settings & bit != 0;
    let memory = Memory::default();
    let mut objects = Objects::new();
    let Ok(mut executable) =
        map(&memory, program).and_then(|(placement, image)| Object::decode(Kind::Executable, b"", placement, image))
    else {
        return;
    };
    executable.origin = directory_of(PROGRAM).to_vec();
    let executable = objects.insert(executable);
    let interpreter = libraries.first().filter(|_| has(setting::INTERPRETER)).and_then(|file| {
        let (placement, image) = map(&memory, file).ok()?;
        let object = Object::decode(Kind::Interpreter, b"/lib64/ld-folio.so.1", placement, image).ok()?;
        Some(objects.insert(object))
    });
    let mut disk = Disk {
        memory: &memory,
        libraries,
        cache: libraries.last().filter(|_| has(setting::CACHE)).map(Vec::as_slice),
        opened: 0,
        asked: 0,
    };
    let settings_of_search = Settings {
        ld_library_path: list(),
        inhibit_cache: false,
        inhibit_rpath: None,
        secure: has(setting::SECURE),
        program_owner: 0,
        system_directories: search::DEBIAN_AMD64,
        lib: b"lib/x86_64-linux-gnu",
        platform: Some(b"haswell"),
        machine: &Hwcaps { subdirectories: &[b"x86-64-v2"], isa_level: 0b11 },
    };
    let preloads = list();
    let owner = Owner { name: b"", origin: Some(directory_of(PROGRAM)), is_executable: true };
    let mut search = Search::new(settings_of_search, &owner);
    let mut counts = Counts::default();
    let mut members = vec![executable];
    members.extend(interpreter);
    let mut loader = Loader {
        objects: &mut objects,
        members: &mut members,
        search: &mut search,
        source: &mut disk,
        observe: &mut counts,
        executable,
        interpreter,
        program: PROGRAM,
    };

    // Discover.
    let mut roots = vec![executable];
    let mut errors: Vec<Error> = Vec::new();
    let mut preloaded = 0;
    for name in preload::split_list(preloads, has(setting::SECURE)) {
        preloaded += 1;
        match loader.load(name, Some(executable), search::Reference::Preloaded) {
            Ok(id) => roots.push(id),
            Err(error) => errors.push(error),
        }
    }
    let closure = loader.closure(&roots, &mut |missing| errors.push(missing.error));
    let name = list();
    if let Ok(Some(id)) = loader.loaded(name, Some(executable)) {
        assert!(loader.members.contains(&id));
    }
    let directories = loader.search_path(*closure.last().expect("the executable is there"));
    assert!(directories.iter().all(|directory| directory.is_empty() || directory.ends_with(b"/")));
    let distinct: HashSet<_> = closure.iter().collect();
    assert!(distinct.len() == closure.len() && closure.contains(&executable));
    assert!(closure.iter().all(|id| members.contains(id)) && closure.len() <= libraries.len() + 2);
    assert!(counts.added < members.len());
    // Each name that is written down is asked for once: those of preloads, which may have a byte each and another between two,
    // the one that is opened, and those of dynamic sections, 16 bytes each. The file that stands for the interpreter may be a
    // library too, under a name that is not its own.
    let dependencies = |id: &ObjectId| objects[*id].dynamic.map_or(0, |dynamic| dynamic.dependencies().count());
    let dependencies: usize = members.iter().map(dependencies).sum();
    assert!(counts.wanted <= preloaded + 1 + dependencies && dependencies <= input.len() / 16 * 2);

    // Versions, and what the processor must have.
    let mut needs = 0;
    for &id in &closure {
        let mut watch = |_: &Need, _: &Object| needs += 1;
        version::check_watched(&objects, &members, id, PROGRAM, &mut watch, &mut |error| errors.push(error));
        let _ = objects[id].properties;
    }
    assert!(needs <= input.len() / 16 * 2);

    // Thread-local storage: blocks that do not overlap.
    let mut layout = StaticLayout::default();
    let mut tls: Vec<(ObjectId, u64)> = Vec::new();
    for &id in &closure {
        let Some(segment) = &objects[id].placement.tls else { continue };
        let module = Module::from(segment);
        let Ok(offset) = layout.place(&module) else { continue };
        assert!(offset >= module.size && offset.wrapping_add(module.vaddr).is_multiple_of(module.align.max(1)));
        for (other, below) in &tls {
            let size = objects[*other].placement.tls.as_ref().map_or(0, |segment| segment.size);
            assert!(offset <= below - size || *below <= offset - module.size || size == 0 || module.size == 0);
        }
        tls.push((id, offset));
    }
    let _ = surplus(4, 512).and_then(|surplus| layout.finish(surplus, 512));

    // The order of initializers: the same objects.
    let numbers: Vec<usize> = closure.iter().map(|id| id.0 as usize).collect();
    let needed: Vec<(usize, Vec<usize>)> = closure
        .iter()
        .map(|&id| (id.0 as usize, objects[id].needed.iter().map(|needed| needed.0 as usize).collect()))
        .collect();
    for algorithm in [Algorithm::DepthFirst, Algorithm::Original] {
        let sort = Sort { algorithm, main: Some(executable.0 as usize), dependencies: Needs(&needed) };
        for sorted in [
            sort.opened(&numbers, Root::Known),
            sort.opened(&numbers, Root::New),
            sort.finalized(&numbers, true, |number| number % 3 == 0),
        ] {
            let (mut left, mut right) = (sorted.clone(), numbers.clone());
            left.sort_unstable();
            right.sort_unstable();
            assert_eq!(left, right);
        }
    }

    // Bindings.
    let scope = Scope { objects: closure.clone() };
    let index = ScopeIndex::build_if_worthwhile(&objects, &scope, u64::MAX, |_| {}).map(ScopeIndex::scouted);
    let mut uniques = Uniques::new();
    let mut lookups = Lookups { weak_yields: has(setting::WEAK_YIELDS), ..Lookups::default() };
    for text in lists.chain([&b"exported"[..]]).take(4) {
        look_up(&objects, &scope, index.as_ref(), text);
    }
    let mut process = Answers { settings, tls: &tls, calls: 0, deferred: Vec::new() };
    for &id in closure.iter().rev() {
        bind::check(&objects, id, &[&scope], &mut Uniques::new(), true, PROGRAM, &mut lookups, &mut |error| {
            errors.push(error)
        });
        let others: Vec<Image> =
            closure.iter().filter(|other| **other != id).map(|other| objects[*other].image).collect();
        let kept = |image: &Image| (memory::bytes(image, true), memory::bytes(image, false));
        let before: Vec<_> = others.iter().map(kept).collect();
        let constant = memory::bytes(&objects[id].image, false);
        let index = index.as_ref().filter(|_| !lookups.weak_yields);
        relocate::relocate_with(
            index,
            &objects,
            id,
            &[&scope],
            &mut uniques,
            &mut process,
            PROGRAM,
            Some(&mut lookups),
            &mut |error| errors.push(error),
        );
        assert!(others.iter().map(kept).eq(before), "relocation writes to other objects");
        assert_eq!(memory::bytes(&objects[id].image, false), constant, "relocation writes what is constant");
    }
    for indirect in &process.deferred {
        indirect.store(&objects, Addr(1)).expect("the place was looked at");
    }
    // Each reference is looked up once for a check and once or, protected, twice for a relocation.
    assert!(lookups.tried.get() <= 4 * (input.len() / 24) * closure.len());
    assert!(errors.iter().all(|error| error.object.len() + 1 < input.len().max(256)));
    if let [first, .., last] = &errors[..] {
        assert!(!first.to_string().is_empty() && !last.to_string().is_empty());
    }
}

/// What `dlsym` finds by the scope's index is what it finds without, where hash tables are what link editors make. Where a
/// table denies a symbol that it holds, the index may find that one first; it misses nothing.
fn look_up(objects: &Objects, scope: &Scope, index: Option<&ScopeIndex>, name: &[u8]) {
    let are_sound = scope.objects.iter().all(|&id| is_sound(&objects[id]));
    for class in [Class::Call, Class::Address, Class::Copy] {
        let reference = Reference::new(name, None, class);
        let found = resolve::lookup(objects, [scope], &reference, None, &mut Uniques::new(), None);
        if let Some(definition) = &found {
            check_definition(objects, &reference, definition, definition.object);
        }
        if let Some(index) = index {
            let indexed =
                resolve::lookup_indexed(objects, &[scope], index, &reference, &mut Uniques::new(), None, &mut ());
            if let Some(definition) = &indexed {
                check_definition(objects, &reference, definition, definition.object);
            }
            let exact = |definition: &Definition| (definition.object, definition.index);
            let place = |definition: &Definition| scope.objects.iter().position(|id| *id == definition.object);
            if are_sound {
                assert_eq!(indexed.as_ref().map(exact), found.as_ref().map(exact));
            } else if let Some(found) = &found {
                assert!(indexed.is_some_and(|indexed| place(&indexed) <= place(found)));
            }
        }
    }
}

/// Whether each symbol of a hash table is found by its name; large tables are not looked at.
fn is_sound(object: &Object) -> bool {
    const LARGE: u32 = 100;
    let Some((symbols, table)) = object.symbols.as_ref().and_then(|symbols| Some((symbols, symbols.gnu_hash?))) else {
        return true;
    };
    let is_found = |index: u32| {
        let symbol = symbols.get(index)?;
        let (_, hash) = hash::of_ordinary_name(&symbols.strings, symbol.0.st_name)?;
        table.find(hash, None, |other| (other == index).then_some(()))
    };
    let all = table.symbol_base..table.symbol_count();
    all.end.saturating_sub(all.start) <= LARGE && all.into_iter().all(|index| is_found(index).is_some())
}
