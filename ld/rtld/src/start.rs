//! The start of a program, from the first Rust function to the jump to its entry point.
//!
//! exec → `_start` → relocate self → stack and auxv → adopt → environment → discover → plan → map → relocate → protect →
//! publish to libc → initialise → jump. Mapping is part of discovery: what an object needs is read from its own segments.
#![allow(unsafe_code)]

use alloc::vec::Vec;
use core::ffi::CStr;
use core::sync::atomic::Ordering;

use folio_elf::Addr;
use folio_elf::dynamic::DF_SYMBOLIC;
use folio_glibc::cpu::{self, Kernel, Memo, NoTunables};
use folio_glibc::layout::Layout;
use folio_glibc::tunables::Values;
use folio_link::error::{Error, Lossy, Problem};
use folio_link::graph::{Loader, Source};
use folio_link::object::{Kind, Object, ObjectId, Objects};
use folio_link::order::{self, Root};
use folio_link::resolve::{Scope, Uniques};
use folio_link::search::cache::Hwcaps;
use folio_link::search::{self, Owner, Reference, Search, Settings, preload};
use folio_link::tls::{self as plan, Module, RseqArea, StaticBlock, StaticLayout};
use folio_link::version;
use folio_runtime::stack::Stack;
use folio_runtime::start::Start;
use folio_runtime::syscall::exit_group;
use linux_raw_sys::auxvec::{
    AT_BASE, AT_ENTRY, AT_EXECFN, AT_HWCAP2, AT_MINSIGSTKSZ, AT_PHDR, AT_PHNUM, AT_PLATFORM, AT_RANDOM, AT_RSEQ_ALIGN,
    AT_RSEQ_FEATURE_SIZE, AT_SECURE, AT_SYSINFO_EHDR,
};

use crate::adopt;
use crate::debugger::{self, Change};
use crate::environment::Environment;
use crate::execstack;
use crate::execute;
use crate::files::{self, Disk};
use crate::find_object;
use crate::globals::{__libc_enable_secure, __libc_stack_end, _dl_argv};
use crate::handover;
use crate::initialise::{self, Edges};
use crate::libc;
use crate::list;
use crate::map;
use crate::options::{Options, Task};
use crate::process::{Arguments, Guarded, LibcFunctions, Process, ScopeName, function, string};
use crate::processor::{Cpuid, describe_vector_state};
use crate::publish;
use crate::record::Record;
use crate::report;
use crate::thread::{self, Birth};
use crate::tls;

/// What glibc says before every sentence about a start that failed.
const LOADING: &str = "error while loading shared libraries";

/// What `_start` calls once Folio is relocated.
#[unsafe(no_mangle)]
extern "C" fn folio_start(pointer: *mut usize) -> Start {
    // SAFETY: the kernel's initial stack.
    let mut stack = unsafe { Stack::new(pointer) };
    let secure = stack.auxiliary_value(AT_SECURE as usize).unwrap_or(0) != 0;
    let environment = Environment::read(&mut stack, secure);
    if secure && environment.trace {
        // A set-user-ID program's libraries are nobody else's business (glibc elf/rtld.c, process_envvars).
        exit_group(5);
    }
    let mut objects = Objects::new();
    let mut cast = adopt(&mut stack, &mut objects);
    let discovery = discover(&stack, &environment, secure, &mut objects, &cast);
    if environment.trace {
        discovery.list(&objects, &cast);
    }
    discovery.require_complete(&cast);
    if cast.options.is_some_and(|options| options.task == Task::List) {
        discovery.list(&objects, &cast);
    }
    let layout = choose_layout(&objects, &discovery, &stack, &cast);
    let process = publish_process(&stack, &environment, secure, objects, discovery, &mut cast, layout);
    link(process, &stack, &cast);
    initialise::start(process);
    // SAFETY: one thread, unless an initializer made more; none of them loads before it has an entry.
    let executable = &unsafe { process.objects.get() }[process.executable];
    Start {
        entry: executable.address(executable.placement.entry).0 as usize,
        stack_pointer: stack.pointer(),
        exit_routine: initialise::_dl_fini as *const () as usize,
    }
}

/// The objects that are there before anything is loaded, and how Folio was called.
struct Cast {
    executable: ObjectId,
    interpreter: ObjectId,
    vdso: Option<ObjectId>,
    options: Option<Options>,
    /// The executable's file, for a hand-over.
    program_file: &'static CStr,
    program: &'static [u8],
}

/// Makes objects of the program, the vDSO and Folio itself; reads the command line of a direct start.
fn adopt(stack: &mut Stack, objects: &mut Objects<'static>) -> Cast {
    let value = |stack: &Stack, kind: u32| stack.auxiliary_value(kind as usize).unwrap_or(0);
    let own_name = stack.arguments().next().unwrap_or(c"ld-folio.so.1").to_bytes();
    let refuse = |problem: Problem| -> ! { report::fatal(own_name, LOADING, &Error::new(b"", problem)) };
    let own = adopt::whole(Kind::Interpreter, adopt::own_base(), b"").unwrap_or_else(|problem| refuse(problem));
    let entry = Addr(value(stack, AT_ENTRY) as u64);
    let is_direct = own.address(own.placement.entry) == entry;
    if let Some((start, end)) = own.placement.relro_pages() {
        let _ = map::protect(own.image.bias(), start, end, folio_link::placement::PF_R);
    }

    // SAFETY: AT_EXECFN is a string that the kernel put above the stack.
    let file_name = unsafe { CStr::from_ptr(value(stack, AT_EXECFN) as *const _) };
    let (mut executable, options, program_file) = if is_direct {
        let options = Options::read(stack);
        let executable = map_program(options.program, &options);
        if options.task == Task::Run && handover::is_for_kernel(&executable) {
            handover::to_kernel(stack, &options, &executable, own.soname());
        }
        enter_directly(stack, &options, &own, &executable);
        (executable, Some(options), options.program)
    } else {
        let headers = Addr(value(stack, AT_PHDR) as u64);
        let executable =
            adopt::program(headers, value(stack, AT_PHNUM) as u16, entry).unwrap_or_else(|problem| refuse(problem));
        (executable, None, file_name)
    };
    let own_path = if is_direct { Some(file_name.to_bytes()) } else { interpreter_path(&executable) };
    executable.origin = origin_of_program(program_file, is_direct);
    let mut own = own;
    own.path = own_path.unwrap_or_default().to_vec();
    own.names = own.soname().map(<[u8]>::to_vec).into_iter().collect();
    own.is_graphed = true;

    let executable = objects.insert(executable);
    let vdso = adopt_vdso(stack).map(|vdso| objects.insert(vdso));
    let interpreter = objects.insert(own);
    let program = stack.arguments().next().unwrap_or(program_file).to_bytes();
    Cast { executable, interpreter, vdso, options, program_file, program }
}

/// Maps the program of a direct start.
fn map_program(path: &'static CStr, options: &Options) -> Object<'static> {
    let name = path.to_bytes();
    let fail = |problem: Problem| -> ! {
        if options.task == Task::Verify {
            exit_group(1);
        }
        report::fatal(name, LOADING, &Error::new(name, problem))
    };
    if !name.contains(&b'/') {
        // glibc searches for such a name before it knows where to search.
        fail(Problem::Open(folio_link::Errno(0)));
    }
    let file = match files::open(name) {
        Ok(file) => file,
        Err(search::OpenError::Absent(errno)) => fail(Problem::Open(folio_link::Errno(errno))),
        Err(search::OpenError::OtherClass) => fail(Problem::Header(folio_elf::HeaderError::OtherClass)),
        Err(search::OpenError::OtherMachine) => fail(Problem::Open(folio_link::Errno::ENOENT)),
        Err(search::OpenError::Failed(problem)) => fail(problem),
    };
    let identity = file.identity();
    let (placement, image) = file.map().unwrap_or_else(|problem| fail(problem));
    let mut object = Object::decode(Kind::Executable, b"", placement, image).unwrap_or_else(|problem| fail(problem));
    object.identity = Some(identity);
    if options.task == Task::Verify {
        exit_group(match (&object.dynamic, object.placement.interpreter) {
            (None, _) => 1,
            (Some(_), None) => 2,
            (Some(_), Some(_)) => 0,
        });
    }
    object
}

/// Makes the stack what it would be had the kernel started the program itself.
fn enter_directly(stack: &mut Stack, options: &Options, own: &Object, executable: &Object) {
    stack.remove_arguments(options.consumed);
    if let Some(argv0) = options.argv0 {
        stack.set_argument(0, argv0);
    }
    let headers = executable.placement.headers.map_or(Addr(0), |at| executable.address(at));
    let values = [
        (AT_PHDR, headers.0 as usize),
        (AT_PHNUM, usize::from(executable.placement.header_count)),
        (AT_ENTRY, executable.address(executable.placement.entry).0 as usize),
        (AT_BASE, own.image.bias().0 as usize),
        (AT_EXECFN, options.program.as_ptr().expose_provenance()),
    ];
    for (kind, value) in values {
        stack.set_auxiliary_value(kind as usize, value);
    }
}

/// The string of `PT_INTERP`: the name by which Folio was called.
fn interpreter_path(executable: &Object<'static>) -> Option<&'static [u8]> {
    let extent = executable.placement.interpreter?;
    executable.image.strings(extent.at, extent.size)?.get(0)
}

fn adopt_vdso(stack: &Stack) -> Option<Object<'static>> {
    let base = stack.auxiliary_value(AT_SYSINFO_EHDR as usize).filter(|&base| base != 0)?;
    let mut vdso = adopt::whole(Kind::Vdso, Addr(base as u64), b"").ok()?;
    vdso.path = vdso.soname().unwrap_or(b"linux-vdso.so.1").to_vec();
    vdso.names = alloc::vec![vdso.path.clone()];
    vdso.is_graphed = true;
    Some(vdso)
}

/// `$ORIGIN` of the executable: where the kernel says that its file is (*glibc elf/dl-origin.c, _dl_get_origin*). Under a
/// direct start that would be Folio, so the path that was given counts.
fn origin_of_program(file: &CStr, is_direct: bool) -> Vec<u8> {
    if !is_direct
        && let Ok(path) = rustix::fs::readlink(c"/proc/self/exe", Vec::new())
        && path.to_bytes().starts_with(b"/")
    {
        return search::dst::origin_of(path.to_bytes()).to_vec();
    }
    Disk::new().origin(file.to_bytes())
}

/// What discovery found.
struct Discovery {
    search: Search<'static>,
    disk: Disk,
    memo: Memo<Cpuid>,
    /// Search order: the executable, what was preloaded, and what they need.
    closure: Vec<ObjectId>,
    /// The order of the list that programs see: the vDSO behind the executable, Folio where it is needed.
    members: Vec<ObjectId>,
    /// What is missing, and where in the closure it would be.
    errors: Vec<(usize, Error)>,
    version_errors: Vec<Error>,
}

/// Finds, maps and checks every object that the program needs.
fn discover(
    stack: &Stack,
    environment: &Environment,
    secure: bool,
    objects: &mut Objects<'static>,
    cast: &Cast,
) -> Discovery {
    let mut memo = Memo::new(Cpuid);
    let options = cast.options.unwrap_or_default();
    let mut search = new_search(stack, environment, secure, &objects[cast.executable], &options, &mut memo);
    let mut disk = Disk::new();
    let mut members: Vec<ObjectId> =
        [Some(cast.executable), cast.vdso, Some(cast.interpreter)].into_iter().flatten().collect();
    let mut loader = Loader {
        objects,
        members: &mut members,
        search: &mut search,
        source: &mut disk,
        observe: &mut (),
        executable: cast.executable,
        interpreter: Some(cast.interpreter),
        program: cast.program,
    };
    let mut roots = alloc::vec![cast.executable];
    preload_all(&mut loader, environment, &options, secure, &mut roots);
    let mut errors = Vec::new();
    let closure = loader.closure(&roots, &mut |place, error| errors.push((place, error)));
    let mut version_errors = Vec::new();
    for &id in &closure {
        version::check(objects, &members, id, cast.program, &mut |error| version_errors.push(error));
    }
    let members = list_order(&closure, cast);
    Discovery { search, disk, memo, closure, members, errors, version_errors }
}

fn new_search(
    stack: &Stack,
    environment: &Environment,
    secure: bool,
    executable: &Object,
    options: &Options,
    memo: &mut Memo<Cpuid>,
) -> Search<'static> {
    let levels = match environment.tunables.filter(|_| !secure) {
        None => cpu::isa_level(memo, &NoTunables),
        Some(text) => {
            let values = Values::new(libc::any_layout(), Some(text), |_| None, secure, |_| {});
            cpu::isa_level(memo, &values)
        }
    };
    let list =
        |list: Option<&'static [u8]>| list.map(|list| list.split(|&byte| byte == b':').filter(|name| !name.is_empty()));
    let mut subdirectories: Vec<&'static [u8]> = list(options.hwcaps_prepend).into_iter().flatten().collect();
    let is_allowed =
        |name: &&[u8]| list(options.hwcaps_mask).is_none_or(|mut allowed| allowed.any(|other| other == *name));
    subdirectories.extend(levels.directories().iter().map(|name| name.as_bytes()).filter(is_allowed));
    let platform = stack.auxiliary_value(AT_PLATFORM as usize).filter(|&platform| platform != 0);
    let settings = Settings {
        library_path: options.library_path.unwrap_or(environment.library_path),
        inhibit_cache: options.inhibit_cache,
        inhibit_rpath: options.inhibit_rpath,
        secure,
        system_directories: search::DEBIAN_AMD64,
        lib: b"lib/x86_64-linux-gnu",
        // SAFETY: AT_PLATFORM is a string that the kernel put above the stack.
        platform: platform.map(|platform| unsafe { string(platform as *const _) }),
        hwcaps: Hwcaps { subdirectories: subdirectories.leak(), isa_level: (1 << levels.highest()) - 1 },
    };
    let owner = Owner { name: b"", origin: Some(&executable.origin), is_executable: true };
    Search::new(settings, &owner)
}

/// Loads what `LD_PRELOAD`, `--preload` and `/etc/ld.so.preload` name; what cannot be loaded is named and passed over.
fn preload_all(
    loader: &mut Loader<'_, 'static, Disk, ()>,
    environment: &Environment,
    options: &Options,
    secure: bool,
    roots: &mut Vec<ObjectId>,
) {
    const FILE: &str = "/etc/ld.so.preload";
    let mut add = |name: &[u8], from: &str| {
        let executable = loader.executable;
        match loader.load(name, Some(executable), Reference::Preloaded) {
            Ok(id) => roots.push(id),
            Err(error) => report::line(format_args!(
                "ERROR: ld.so: object '{}' from {from} cannot be preloaded ({}): ignored.",
                Lossy(name),
                error.problem,
            )),
        }
    };
    for name in preload::split_list(environment.preload, secure) {
        add(name, "LD_PRELOAD");
    }
    for name in preload::split_list(options.preload.unwrap_or_default(), secure) {
        add(name, "--preload");
    }
    if let Some(text) = files::contents(FILE) {
        for name in preload::split_file(text) {
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

impl Discovery {
    fn list(&self, objects: &Objects, cast: &Cast) -> ! {
        list::print(objects, cast.vdso, &self.closure, &self.errors, &self.version_errors, cast.program)
    }

    /// Ends the process, after naming everything, if something is missing.
    fn require_complete(&self, cast: &Cast) {
        for (_, error) in &self.errors {
            report::error(cast.program, LOADING, error);
        }
        if !self.errors.is_empty() {
            exit_group(report::FAILURE);
        }
        for error in &self.version_errors {
            report::line(format_args!("{}: {error}", Lossy(cast.program)));
        }
        if !self.version_errors.is_empty() {
            exit_group(report::VERSION_FAILURE);
        }
    }
}

/// The layout table of the process' libc; a libc that no table fits gets its own loader instead.
fn choose_layout(objects: &Objects<'static>, discovery: &Discovery, stack: &Stack, cast: &Cast) -> &'static Layout {
    let Some(found) = libc::find(objects, &discovery.members) else { return libc::any_layout() };
    let libc = &objects[found];
    libc::layout(libc).unwrap_or_else(|mismatch| handover::to_own_loader(libc, stack, cast.program_file, &mismatch))
}

/// Makes the process: link maps, scopes, `_rtld_global` and `_rtld_global_ro`, static TLS, the main thread.
fn publish_process(
    stack: &Stack,
    environment: &Environment,
    secure: bool,
    objects: Objects<'static>,
    mut discovery: Discovery,
    cast: &mut Cast,
    layout: &'static Layout,
) -> &'static Process {
    let (ro, global) = publish::records();
    let tunables = read_tunables(stack, environment, secure, layout);
    let secure = secure || tunables.secure();
    __libc_stack_end.store(stack.pointer(), Ordering::Relaxed);
    __libc_enable_secure.store(i32::from(secure), Ordering::Relaxed);
    _dl_argv.store(stack.argv(), Ordering::Relaxed);
    publish::kernel_facts(layout, ro, stack);
    fill_cpu_features(stack, layout, ro, &mut discovery.memo, &tunables);
    let executable_stack = execstack::is_wanted_by(&objects[cast.executable]);
    publish::prepare_global(layout, global, executable_stack);
    let mut states = Vec::new();
    publish::add_objects(layout, global, &objects, &mut states, None, &discovery.members, true);

    let process = Process {
        layout,
        objects: Guarded::new(objects),
        states: Guarded::new(states),
        members: Guarded::new(discovery.members),
        global: Guarded::new(Scope { objects: discovery.closure }),
        uniques: Guarded::new(Uniques::new()),
        search: Guarded::new(discovery.search),
        disk: Guarded::new(discovery.disk),
        tls: Guarded::new(StaticBlock::default()),
        missing: Guarded::new(Vec::new()),
        libc: Guarded::new(LibcFunctions::default()),
        tunables: Guarded::new(tunables),
        executable: cast.executable,
        interpreter: cast.interpreter,
        vdso: cast.vdso,
        program: cast.program,
        arguments: Arguments { argc: stack.argc() as i32, argv: stack.argv(), envp: stack.envp() },
        bind_now: environment.bind_now,
        ro,
        global_record: global,
    };
    process.install()
}

fn read_tunables(stack: &Stack, environment: &Environment, secure: bool, layout: &'static Layout) -> Values<'static> {
    let variable = |name: &str| {
        let found = stack
            .environment()
            .map(CStr::to_bytes)
            .find_map(|variable| variable.strip_prefix(name.as_bytes()).and_then(|rest| rest.strip_prefix(b"=")));
        found.filter(|_| environment.has_tunable_alias)
    };
    Values::new(layout, environment.tunables, variable, secure, |warning| report::line(format_args!("{warning}")))
}

fn fill_cpu_features(stack: &Stack, layout: &Layout, ro: Record, memo: &mut Memo<Cpuid>, tunables: &Values) {
    let r = &layout.global_ro;
    let value = |kind: u32| stack.auxiliary_value(kind as usize).unwrap_or(0) as u64;
    let kernel = Kernel { hwcap2: value(AT_HWCAP2), minsigstksz: value(AT_MINSIGSTKSZ) };
    // SAFETY: nobody else sees the structure before the process is published.
    let out = unsafe { ro.bytes_mut(r.cpu_features, usize::from(layout.cpu.size)) };
    let summary = cpu::fill(layout, memo, &kernel, tunables, out);
    describe_vector_state(&summary);
    ro.put(r.minsigstacksize, summary.minsigstacksize);
    ro.put(r.hwcap, summary.hwcap);
    let platform = match summary.platform {
        Some(platform) => {
            Some((crate::link_map::leaked_string(platform.as_bytes()).expose_provenance(), platform.len()))
        }
        None => stack.auxiliary_value(AT_PLATFORM as usize).filter(|&platform| platform != 0).map(|platform| {
            // SAFETY: AT_PLATFORM is a string that the kernel put above the stack.
            (platform, unsafe { string(platform as *const _) }.len())
        }),
    };
    if let Some((address, length)) = platform {
        ro.put(r.platform, address);
        ro.put(r.platformlen, length);
    }
}

/// Lays out static TLS, makes the main thread, relocates and protects everything.
fn link(process: &'static Process, stack: &Stack, cast: &Cast) {
    let layout = process.layout;
    let refuse = |problem: Problem| -> ! { report::fatal(cast.program, LOADING, &Error::new(b"", problem)) };
    // SAFETY: one thread.
    let (objects, members) = unsafe { (process.objects.get(), process.members.get()) };
    let sorted = publish_scopes(process);
    find_object::publish(process);
    let rseq = lay_out_tls(process, stack).unwrap_or_else(|error| {
        report::refuse(cast.program, &format_args!("{LOADING}: {error}"));
    });
    let birth = birth(process, stack, rseq);
    let Some(thread) = thread::create(layout, process.global_record, &birth) else { refuse(Problem::NoMemory) };
    let address = thread.address(0);
    let Some(dtv) = tls::create_main_dtv(layout, address) else { refuse(Problem::NoMemory) };
    process.global_record.put(layout.global.initial_dtv, dtv);
    thread::register(layout, thread, &birth);

    let libc = libc::find(objects, members);
    let functions = libc.map(|libc| libc::functions(objects, libc, layout)).unwrap_or_default();
    // Until libc is relocated its locks cannot be called, nor are they needed.
    // SAFETY: one thread.
    *unsafe { process.libc.get_mut() } = LibcFunctions { mutex_lock: None, mutex_unlock: None, ..functions };
    publish::functions(process);
    if let Some(vdso) = process.vdso {
        // SAFETY: one thread.
        publish::vdso(layout, process.ro, &objects[vdso], unsafe { process.state(vdso) }.map);
    }
    debugger::introduce(process, objects);
    let mut failed = false;
    execute::relocate(process, &sorted, process.bind_now, false, &mut |error| {
        report::error(cast.program, "symbol lookup error", &error);
        failed = true;
    });
    if failed {
        exit_group(report::FAILURE);
    }
    tls::initialise_main_thread(layout, address);
    if let Some(early_init) = functions.early_init {
        // SAFETY: libc's __libc_early_init, once, after its relocation.
        unsafe { function::<unsafe extern "C" fn(bool)>(early_init)(true) };
    }
    // SAFETY: one thread.
    *unsafe { process.libc.get_mut() } = functions;
    debugger::announce(Change::Consistent);
}

/// Gives every object of the start its scopes, and sorts them by their dependencies.
fn publish_scopes(process: &Process) -> Vec<usize> {
    // SAFETY: one thread.
    let (objects, members, global) = unsafe { (process.objects.get(), process.members.get(), process.global.get()) };
    for &id in members {
        // SAFETY: one thread.
        let state = unsafe { process.state_mut(id) };
        let symbolic = objects[id].dynamic.as_ref().is_some_and(|dynamic| dynamic.flags & DF_SYMBOLIC != 0);
        state.scopes.extend(symbolic.then_some(ScopeName::Itself));
        state.scopes.push(ScopeName::Global);
        state.global = true;
        state.map.set_flag(process.layout, process.layout.link_map.bits.global, true);
        // Folio relocated itself before anything else, and the kernel's object needs none.
        state.relocated = matches!(objects[id].kind, Kind::Interpreter | Kind::Vdso);
        // SAFETY: one thread.
        unsafe { publish::scopes(process, id) };
    }
    // SAFETY: one thread.
    unsafe { publish::global_scope(process) };
    let list: Vec<usize> = global.objects.iter().map(|id| id.0 as usize).collect();
    let main = process.executable.0 as usize;
    // SAFETY: one thread.
    let sorted = order::sort(&list, Root::New, Some(main), &Edges(unsafe { process.states.get() }));
    // SAFETY: one thread.
    let executable = unsafe { process.state_mut(process.executable) };
    executable.sorted = sorted.clone();
    executable.closure = global.clone();
    executable.opens = 1;
    sorted
}

/// Gives every module of the start its id and its place; from 2.41 on, the rseq area too.
fn lay_out_tls(process: &Process, stack: &Stack) -> Result<Option<(u64, u32)>, plan::Error> {
    let layout = process.layout;
    // SAFETY: one thread.
    let (objects, members, tunables) =
        unsafe { (process.objects.get(), process.members.get(), process.tunables.get()) };
    let mut plan = StaticLayout::default();
    for &id in members {
        let Some(segment) = objects[id].placement.tls else { continue };
        let module = Module { size: segment.size, align: segment.align, vaddr: segment.image.0 };
        let offset = plan.place(&module)?;
        // SAFETY: one thread.
        let map = unsafe { process.state(id) }.map;
        tls::add_module(layout, map);
        tls::offset_of(layout, map).store(offset as usize, Ordering::Relaxed);
    }
    let mut rseq = None;
    if layout.behaviour.rseq_in_tls {
        let value = |kind: u32| stack.auxiliary_value(kind as usize).unwrap_or(0) as u64;
        let features = value(AT_RSEQ_FEATURE_SIZE);
        let area = RseqArea::new(features, value(AT_RSEQ_ALIGN)).unwrap_or(RseqArea::MINIMAL);
        let offset = plan.place_rseq(area)?;
        rseq = Some((offset, if features == 0 { 20 } else { features as u32 }));
    }
    let number = |name, default| tunables.number(name).unwrap_or(default);
    let optional = number("glibc.rtld.optional_static_tls", 512);
    let surplus = plan::surplus(number("glibc.rtld.nns", 4), optional)?;
    let block = plan.finish(surplus, optional)?;

    let (ro, r, g) = (process.ro, &layout.global_ro, &layout.global);
    ro.put(r.tls_static_size, block.size() + u64::from(layout.pthread.size));
    ro.put(r.tls_static_align, block.align());
    ro.put(r.tls_static_surplus, surplus);
    process.global_record.put(g.tls_static_used, block.used());
    process.global_record.put(g.tls_static_optional, block.optional());
    // SAFETY: one thread.
    *unsafe { process.tls.get_mut() } = block;
    tls::publish_generation(process);
    Ok(rseq)
}

fn birth(process: &Process, stack: &Stack, rseq: Option<(u64, u32)>) -> Birth {
    // SAFETY: one thread.
    let (block, tunables) = unsafe { (process.tls.get(), process.tunables.get()) };
    let random = stack.auxiliary_value(AT_RANDOM as usize).filter(|&random| random != 0);
    Birth {
        static_size: block.size(),
        align: block.align(),
        // SAFETY: AT_RANDOM is the address of 16 bytes.
        random: random.map_or([0; 16], |random| unsafe { *core::ptr::with_exposed_provenance(random) }),
        stack_end: stack.pointer().expose_provenance(),
        rseq,
        register_rseq: tunables.number("glibc.pthread.rseq").unwrap_or(1) != 0,
    }
}
