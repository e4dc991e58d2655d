//! The start of a program, from the first Rust function to the jump to its entry point.
//!
//! exec → `_start` → relocate self → stack and auxv → adopt → environment → discover → plan → map → relocate → protect →
//! publish to libc → initialise → jump. Mapping is part of discovery: what an object needs is read from its own segments.
#![allow(unsafe_code)]

pub mod audited;
pub mod auxv;
pub mod cast;
pub mod descriptors;
pub mod discover;
pub mod environment;
pub mod handover;
pub mod inventory;
pub mod list;
pub mod machine;
pub mod main_thread;
pub mod options;
pub mod static_tls;
pub mod truncation;

use alloc::vec::Vec;
use core::ffi::CStr;
use core::sync::atomic::Ordering;

use folio_glibc::cpu::Extent;
use folio_glibc::layout::Layout;
use folio_glibc::tunables::Values;
use folio_link::error::{Error, Problem};
use folio_link::object::{Kind, Object, Objects};
use folio_link::order::{self, Algorithm, Root};
use folio_link::tls::StaticBlock;
use folio_runtime::stack::Stack;
use folio_runtime::start::Start;
use folio_runtime::syscall::exit_group;
use linux_raw_sys::auxvec::{AT_RANDOM, AT_SECURE};

use self::cast::Cast;
use self::discover::Discovery;
use self::environment::Environment;
use self::main_thread::Birth;
use self::options::Task;
use self::truncation::Watch;
use crate::abi::debugger::{self, Event};
use crate::abi::globals::{__libc_enable_secure, __libc_stack_end, _dl_argv, _rtld_global, _rtld_global_ro};
use crate::abi::publish::Place;
use crate::abi::{libc, publish};
use crate::audit::Auditors;
use crate::debug::{self, Categories, Phase};
use crate::dl::{find_object, tls};
use crate::image::initialise::{self, Edges};
use crate::image::{execstack, execute, own, seal};
use crate::namespace::Namespace;
use crate::process::{Arguments, Guarded, LibcFunctions, Process, ScopeName, function};
use crate::processor;
use crate::profile::{self, Kind as Profiled, Span};
use crate::report::{self, LOADING};

/// What `_start` calls once Folio is relocated.
#[unsafe(no_mangle)]
extern "C" fn folio_start(pointer: *mut usize) -> Start {
    crate::begin_memory();
    // SAFETY: the kernel's initial stack.
    let mut stack = unsafe { Stack::new(pointer) };
    let secure = stack.auxiliary_value(AT_SECURE) != 0;
    if secure {
        descriptors::open_standard();
    }
    let watch = Watch::begin(&stack);
    let environment = Environment::read(&mut stack, secure);
    if secure && environment.trace {
        // A set-user-ID program's libraries are nobody else's business (glibc elf/rtld.c, process_envvars).
        exit_group(5);
    }
    let auxiliary = if environment.show_auxv { auxv::snapshot(&stack) } else { Vec::new() };
    processor::read_record(&stack, &environment, secure);
    let mut objects = Objects::new();
    let span = Span::of(Profiled::Adopt);
    let mut cast = cast::adopt(&mut stack, &mut objects, &environment);
    drop(span);
    let is_listed = environment.trace || cast.options.task == Task::List;
    if !is_listed {
        cast.auditors = audited::names(&environment, &cast, &objects, secure);
    }
    if !cast.auditors.is_empty() {
        watch.end();
        let process = audited::prepare(&stack, &environment, secure, objects, &mut cast, &auxiliary);
        return enter(process, &stack);
    }
    let span = Span::of(Profiled::Discover);
    let discovery = discover::discover(&stack, &environment, secure, &mut objects, &cast);
    drop(span);
    let found = || libc::find(&objects, &discovery.members).map(|found| libc::layout(&objects[found]).ok());
    show_what_is_asked_for(found, &environment, is_listed, &auxiliary);
    if environment.trace {
        list::print(&objects, &discovery, &cast, &environment);
    }
    discovery.found.require_objects(&cast);
    if cast.options.task == Task::List {
        list::print(&objects, &discovery, &cast, &environment);
    }
    discovery.found.require_versions(&cast);
    let libc = libc::find(&objects, &discovery.members).map(|found| &objects[found]);
    let span = Span::of(Profiled::Layout);
    let layout = choose_layout(libc, &stack, &cast);
    drop(span);
    let process = publish_process(&stack, &environment, secure, objects, discovery, &mut cast, layout);
    link(process, &stack, &cast);
    watch.end();
    enter(process, &stack)
}

/// Runs the initializers, and gives what the program starts with.
fn enter(process: &Process, stack: &Stack) -> Start {
    if let Err(error) = own::protect(process) {
        report::fatal(process.program, LOADING, &error);
    }
    seal::start(process);
    debug::statistics(process);
    let span = Span::of(Profiled::Initialise);
    initialise::start(process);
    drop(span);
    profile::finish();
    // SAFETY: one thread, unless an initializer made more; none of them loads before it has an entry.
    let executable = &unsafe { process.objects.get() }[process.executable];
    Start {
        entry: executable.address(executable.placement.entry).0 as usize,
        stack_pointer: stack.pointer(),
        exit_routine: initialise::_dl_fini as *const () as usize,
    }
}

/// `LD_DEBUG=help` and `LD_SHOW_AUXV`, in the words of the release whose libc was found. A libc that no table fits has its
/// own loader say it.
fn show_what_is_asked_for(
    libc: impl FnOnce() -> Option<Option<&'static Layout>>,
    environment: &Environment,
    is_listed: bool,
    auxiliary: &[(usize, usize)],
) {
    let helps = environment.debug.contains(Categories::HELP);
    if !helps && auxiliary.is_empty() {
        return;
    }
    let libc = libc();
    if is_listed || helps || !matches!(libc, Some(None)) {
        let layout = libc.flatten().unwrap_or_else(libc::any_layout);
        auxv::print(auxiliary, layout);
        if helps {
            debug::help(layout.version >= debug::HAS_TLS);
        }
    }
}

/// The layout table of the process' libc; a libc that no table fits gets its own loader instead.
fn choose_layout(libc: Option<&Object<'static>>, stack: &Stack, cast: &Cast) -> &'static Layout {
    let Some(libc) = libc else { return libc::any_layout() };
    libc::layout(libc).unwrap_or_else(|mismatch| handover::to_own_loader(libc, stack, cast.program_file, &mismatch))
}

/// Makes the process: link maps, scopes, `_rtld_global` and `_rtld_global_ro`, static TLS, the main thread.
fn publish_process(
    stack: &Stack,
    environment: &Environment,
    secure: bool,
    objects: Objects<'static>,
    discovery: Discovery,
    cast: &mut Cast,
    layout: &'static Layout,
) -> &'static Process {
    let _span = Span::of(Profiled::Publish);
    let (ro, global) = (_rtld_global_ro.record(), _rtld_global.record());
    let mut tunables = read_tunables(stack, environment, secure, layout);
    let secure = secure || tunables.secure();
    __libc_stack_end.store(stack.pointer(), Ordering::Relaxed);
    __libc_enable_secure.store(i32::from(secure), Ordering::Relaxed);
    _dl_argv.store(stack.argv(), Ordering::Relaxed);
    publish::kernel_facts(layout, ro, stack);
    debug::publish(layout, ro);
    let span = Span::of(Profiled::Processor);
    let mut memo = discovery.machine.memo.borrow_mut();
    processor::fill_cpu_features(stack, layout, ro, &mut memo, &mut tunables, Extent::Libc);
    drop(span);
    let stack_flags = execstack::at_start(layout, &tunables, &objects[cast.executable], cast.is_direct);
    publish::prepare_global(layout, global, stack_flags);
    let mut states = Vec::new();
    publish::add_objects(layout, global, &objects, &mut states, Place::START, &discovery.members, cast.auditors.len());

    let process = Process {
        layout,
        objects: Guarded::new(objects),
        states: Guarded::new(states),
        base: Namespace::base(discovery.members, discovery.found.closure, cast.interpreter),
        others: Guarded::new(Vec::new()),
        search: Guarded::new(discovery.search),
        disk: Guarded::new(discovery.disk),
        tls: Guarded::new(StaticBlock::default()),
        sort_algorithm: Algorithm::of_tunable(tunables.number("glibc.rtld.dynamic_sort")),
        missing: Guarded::new(Vec::new()),
        libc: Guarded::new(LibcFunctions::default()),
        tunables: Guarded::new(tunables),
        executable: cast.executable,
        interpreter: cast.interpreter,
        vdso: cast.vdso,
        program: cast.program,
        program_file: cast.program_file,
        arguments: Arguments { argc: stack.argc() as i32, argv: stack.argv(), envp: stack.envp() },
        ld_library_path_by_option: cast.options.ld_library_path.is_some(),
        bind_now: environment.bind_now,
        auditors: Guarded::new(Auditors::asked(cast.auditors.len())),
        ro,
        global_record: global,
    };
    process.install()
}

/// The tunables as the newest release reads them, for decisions before a libc is found; nothing where none are set.
pub fn early_tunables(environment: &Environment, secure: bool) -> Option<Values<'static>> {
    let text = environment.tunables.filter(|_| !secure);
    text.map(|_| Values::new(libc::any_layout(), text, |_| None, secure, |_| {}))
}

/// Reads the tunables for the libc with this layout.
pub fn read_tunables(
    stack: &Stack,
    environment: &Environment,
    secure: bool,
    layout: &'static Layout,
) -> Values<'static> {
    let variable = |name: &str| {
        // Most environments have none of the names that are asked for: then they are not searched for each of them.
        let mut variables = stack.environment().map(CStr::to_bytes).take_while(|_| environment.has_tunable_alias);
        variables.find_map(|variable| variable.strip_prefix(name.as_bytes()).and_then(|rest| rest.strip_prefix(b"=")))
    };
    Values::new(layout, environment.tunables, variable, secure, |warning| report::line(format_args!("{warning}")))
}

/// Lays out static TLS, makes the main thread, relocates and protects everything.
#[inline(never)]
fn link(process: &'static Process, stack: &Stack, cast: &Cast) {
    let sorted = publish_scopes(process, cast);
    let thread = make_main_thread(process, stack, cast);
    // SAFETY: one thread.
    debugger::introduce(process, unsafe { process.objects.get() });
    bind(process, cast, &sorted, || tls::initialise_main_thread(process.layout, thread));
}

/// Lays out static TLS and makes the main thread; gives its thread pointer.
fn make_main_thread(process: &Process, stack: &Stack, cast: &Cast) -> usize {
    let _span = Span::of(Profiled::Thread);
    let layout = process.layout;
    let refuse = |problem: Problem| -> ! { report::fatal(cast.program, LOADING, &Error::new(b"", problem)) };
    let rseq = static_tls::lay_out(process, stack).unwrap_or_else(|error| {
        report::refuse(cast.program, &format_args!("{LOADING}: {error}"));
    });
    let birth = birth(process, stack, rseq);
    let Some(thread) = main_thread::create(layout, process.global_record, &birth) else { refuse(Problem::NoMemory) };
    let address = thread.address(0);
    debug::say(Categories::TLS, format_args!("TCB allocated: {address:#x}\n"));
    let Some(dtv) = tls::create_main_dtv(layout, address) else { refuse(Problem::NoMemory) };
    process.global_record.put(layout.global.initial_dtv, dtv);
    main_thread::register(layout, thread, &birth);
    address
}

/// Shows libc all that it needs, relocates and protects everything, gives every module its thread-local storage, and
/// initialises libc.
#[inline(never)]
fn bind(process: &'static Process, cast: &Cast, sorted: &[usize], initialise_tls: impl FnOnce()) {
    let layout = process.layout;
    let span = Span::of(Profiled::Publish);
    // SAFETY: one thread.
    let (objects, members) = unsafe { (process.objects.get(), process.base.members.get()) };
    let libc = libc::find(objects, members);
    // SAFETY: one thread.
    unsafe { publish::libc(process, &process.base, libc) };
    let functions = libc.map(|libc| libc::functions(objects, libc, layout)).unwrap_or_default();
    // Until libc is relocated its locks cannot be called, nor are they needed.
    // SAFETY: one thread.
    *unsafe { process.libc.get_mut() } = LibcFunctions { mutex_lock: None, mutex_unlock: None, ..functions };
    publish::functions(process);
    debug::initial_scopes(process);
    drop(span);
    let (phase, span) = (Phase::relocation(), Span::of(Profiled::Relocate));
    let mut failed = false;
    execute::relocate(process, sorted, process.bind_now, None, &mut |error| {
        let occasion = report::occasion(&error.problem);
        debug::failed(occasion, &error, false);
        report::error(cast.program, occasion, &error);
        failed = true;
    });
    drop((phase, span));
    let executable = &objects[process.executable];
    if !executable.holds_code(executable.address(executable.placement.entry)) {
        report::fatal(cast.program, LOADING, &Error::new(executable.display_name(cast.program), Problem::Entry));
    }
    if failed {
        exit_group(report::FAILURE);
    }
    let span = Span::of(Profiled::Tls);
    initialise_tls();
    drop(span);
    let span = Span::of(Profiled::Libc);
    if let Some(early_init) = functions.early_init {
        // SAFETY: libc's __libc_early_init, once, after its relocation.
        unsafe { function::<unsafe extern "C" fn(bool)>(early_init)(true) };
    }
    // SAFETY: one thread.
    *unsafe { process.libc.get_mut() } = functions;
    drop(span);
    debugger::announce(process, &process.base, Event::InitComplete);
}

/// Gives every object of the start its scopes, sorts them by their dependencies, and lets unwinders find them. An object that
/// the processor is too old for ends the process.
fn publish_scopes(process: &Process, cast: &Cast) -> Vec<usize> {
    let _span = Span::of(Profiled::Order);
    // SAFETY: one thread.
    let (objects, members, global) =
        unsafe { (process.objects.get(), process.base.members.get(), process.base.global.get()) };
    for &id in members {
        // SAFETY: one thread.
        let state = unsafe { process.state_mut(id) };
        let symbolic = objects[id].is_symbolic();
        let is_vdso = objects[id].kind == Kind::Vdso;
        state.scopes.extend((symbolic && !is_vdso).then_some(ScopeName::Itself));
        state.scopes.push(ScopeName::Global);
        state.scopes.extend(is_vdso.then_some(ScopeName::Itself));
        state.global = true;
        state.map.set_flag(process.layout, process.layout.link_map.bits.global, true);
        // Folio relocated itself before anything else, and the kernel's object needs none.
        state.relocated = matches!(objects[id].kind, Kind::Interpreter | Kind::Vdso);
        if id != process.executable {
            // SAFETY: one thread.
            unsafe { publish::scopes(process, id) };
        }
    }
    // The executable's come with the main search list.
    // SAFETY: one thread.
    unsafe { publish::global_scope(process, &process.base) };
    publish::initial_scope(process);
    let mut list: Vec<usize> = global.objects.iter().map(|id| id.0 as usize).collect();
    let main = process.executable.0 as usize;
    order::lead(&mut list, main);
    // SAFETY: one thread.
    let sorted = Edges(unsafe { process.states.get() }).sort(process).opened(&list, Root::New);
    // SAFETY: one thread.
    let executable = unsafe { process.state_mut(process.executable) };
    executable.sorted = sorted.clone();
    executable.closure = global.clone();
    executable.opens = 1;
    if let Some(id) = execute::too_new_for_processor(process, &sorted) {
        report::refuse(objects[id].display_name(cast.program), &Problem::IsaLevel);
    }
    find_object::publish(process);
    sorted
}

fn birth(process: &Process, stack: &Stack, rseq: Option<(u64, u32)>) -> Birth {
    // SAFETY: one thread.
    let (block, tunables) = unsafe { (process.tls.get(), process.tunables.get()) };
    let random = stack.auxiliary_value(AT_RANDOM);
    Birth {
        static_size: tls::largest_block() as u64,
        align: block.align(),
        // SAFETY: AT_RANDOM is the address of 16 bytes.
        random: if random == 0 { &[0; 16] } else { unsafe { &*core::ptr::with_exposed_provenance(random) } },
        stack_end: stack.pointer().expose_provenance(),
        rseq,
        register_rseq: tunables.number("glibc.pthread.rseq").unwrap_or(1) != 0,
    }
}
