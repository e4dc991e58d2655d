//! `--list` and ldd(1): print the objects of a plan, what is missing in it, and on request which versions and symbols are
//! needed and which direct dependencies are not (*glibc elf/rtld.c*, the trace mode of `dl_main`).

use alloc::vec;
use alloc::vec::Vec;
use core::fmt::Write;

use folio_elf::Lossy;
use folio_elf::version::{self as records, VER_FLG_WEAK};
use folio_link::error::{Error, Problem};
use folio_link::graph::{Missing, Needs};
use folio_link::object::{Kind, Object, ObjectId, Objects};
use folio_link::order::{Algorithm, Root, Sort};
use folio_link::resolve::{Definition, Reference, Scope, Uniques, Watch};
use folio_link::{bind, version};
use folio_runtime::output::Output;
use folio_runtime::syscall::exit_group;

use crate::debug::Categories;
use crate::report;
use crate::start::cast::Cast;
use crate::start::discover::Discovery;
use crate::start::early_tunables;
use crate::start::environment::Environment;

/// Prints what the environment asks for, and ends the process.
#[cold]
#[inline(never)]
pub fn print(objects: &Objects, discovery: &Discovery, cast: &Cast, environment: &Environment) -> ! {
    for error in &discovery.found.version_errors {
        report::line(format_args!("{}: {error}", Lossy(cast.program)));
    }
    if environment.debug.contains(Categories::UNUSED) {
        unused(objects, &discovery.found.closure);
    }
    let mut output = Output::stdout();
    if objects[cast.executable].needs_any() || discovery.found.closure.len() > 1 {
        if environment.trace_program {
            line(&mut output, &objects[cast.executable]);
        }
        list(&mut output, objects, discovery, cast, environment.trace);
    } else {
        output.push(b"\tstatically linked\n");
    }
    output.flush();
    if environment.trace && environment.warn {
        unresolved(objects, &discovery.found.closure, environment, cast.program);
    }
    if environment.trace && environment.verbose {
        versions(&mut output, objects, &discovery.members, cast.program);
    }
    output.flush();
    exit_group(0)
}

/// One line an object, in search order with what is missing in its place; a missing auxiliary object is shown to ldd alone.
fn list(output: &mut Output, objects: &Objects, discovery: &Discovery, cast: &Cast, is_traced: bool) {
    if let Some(vdso) = cast.vdso {
        line(output, &objects[vdso]);
    }
    let is_shown = |missing: &&Missing| is_traced || !missing.is_optional;
    let mut missing = discovery.found.missing.iter().filter(is_shown).peekable();
    for (place, &id) in discovery.found.closure.iter().enumerate() {
        while let Some(missing) = missing.next_if(|missing| missing.place <= place) {
            missing_line(output, &missing.error, cast.program);
        }
        if objects[id].kind != Kind::Executable {
            line(output, &objects[id]);
        }
    }
    for missing in missing {
        missing_line(output, &missing.error, cast.program);
    }
    if !discovery.found.closure.contains(&cast.interpreter) {
        line(output, &objects[cast.interpreter]);
    }
}

fn line(output: &mut Output, object: &Object) {
    let start = object.span().0.0;
    let name = object.names.first().map_or(object.path.as_slice(), Vec::as_slice);
    let _ = match object.kind {
        Kind::Library if name != object.path => {
            writeln!(output, "\t{} => {} ({start:#018x})", Lossy(name), Lossy(&object.path))
        }
        _ => writeln!(output, "\t{} ({start:#018x})", Lossy(&object.path)),
    };
}

fn missing_line(output: &mut Output, error: &Error, program: &[u8]) {
    if matches!(error.problem, Problem::Open(_)) {
        let _ = writeln!(output, "\t{} => not found", Lossy(&error.object));
    } else {
        output.flush();
        report::line(format_args!("{}: {error}", Lossy(program)));
    }
}

/// `LD_VERBOSE`: each version that is needed, and the object that defines it.
fn versions(output: &mut Output, objects: &Objects, members: &[ObjectId], program: &[u8]) {
    let mut is_first = true;
    for object in members.iter().map(|&id| &objects[id]) {
        let Some((dynamic, at)) = object.dynamic.as_ref().and_then(|dynamic| Some((dynamic, dynamic.verneed?))) else {
            continue;
        };
        if core::mem::take(&mut is_first) {
            output.push(b"\n\tVersion information:\n");
        }
        let _ = writeln!(output, "\t{}:", Lossy(object.display_name(program)));
        for need in records::needs(&object.image, dynamic.strings, at) {
            let provider = members.iter().map(|&id| &objects[id]).find(|member| member.answers_to(need.file));
            let provider = provider.filter(|provider| version::defines(provider, &need) == Some(true));
            let weak = if need.flags & VER_FLG_WEAK == 0 { "" } else { "[WEAK] " };
            let found = provider.map_or(&b"not found"[..], |provider| &provider.path);
            let _ = writeln!(output, "\t\t{} ({}) {weak}=> {}", Lossy(need.file), Lossy(need.name), Lossy(found));
        }
    }
}

/// `LD_WARN`: each symbol that nobody defines.
fn unresolved(objects: &Objects, closure: &[ObjectId], environment: &Environment, program: &[u8]) {
    let list: Vec<usize> = closure.iter().map(|id| id.0 as usize).collect();
    let asked = early_tunables(environment, false).and_then(|tunables| tunables.number("glibc.rtld.dynamic_sort"));
    let sort = Sort {
        algorithm: Algorithm::of_tunable(asked),
        main: list.first().copied(),
        dependencies: Needs::of(objects, closure),
    };
    let global = Scope { objects: closure.to_vec() };
    let mut uniques = Uniques::new();
    for index in sort.opened(&list, Root::New).into_iter().rev() {
        let id = ObjectId(index as u32);
        if objects[id].kind == Kind::Interpreter {
            continue;
        }
        let itself = Scope { objects: vec![id] };
        let scopes = [&itself, &global];
        let scopes = if objects[id].is_symbolic() { &scopes[..] } else { &scopes[1..] };
        bind::check(objects, id, scopes, &mut uniques, environment.bind_now, program, &mut (), &mut |error| {
            report::line(format_args!("{}\t({})", error.problem, Lossy(&error.object)));
        });
    }
}

/// The objects that define something which another one refers to.
struct Used(Vec<ObjectId>);

impl Watch for Used {
    fn bound(&mut self, _: &Objects, _: ObjectId, _: &Reference, definition: &Definition, _: bool) {
        self.0.push(definition.object);
    }
}

/// `LD_DEBUG=unused`: the libraries that the program names and does not refer to. The exit status tells whether there are any.
#[cold]
#[inline(never)]
fn unused(objects: &Objects, closure: &[ObjectId]) -> ! {
    let Some(&executable) = closure.first() else { exit_group(0) };
    let mut used = Used(Vec::new());
    let scope = Scope { objects: closure.to_vec() };
    bind::check(objects, executable, &[&scope], &mut Uniques::new(), true, b"", &mut used, &mut |_| {});
    let unused: Vec<ObjectId> =
        objects[executable].needed.iter().copied().filter(|needed| !used.0.contains(needed)).collect();
    let mut output = Output::stdout();
    if !unused.is_empty() {
        output.push(b"Unused direct dependencies:\n");
    }
    for &id in &unused {
        let _ = writeln!(output, "\t{}", Lossy(&objects[id].path));
    }
    output.flush();
    exit_group(i32::from(!unused.is_empty()))
}
