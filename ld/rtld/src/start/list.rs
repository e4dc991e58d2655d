//! `--list` and ldd(1): print the objects of a plan, and what is missing in it.

use alloc::vec::Vec;
use core::fmt::Write;

use folio_link::error::{Error, Lossy, Problem};
use folio_link::object::{Kind, Object, ObjectId, Objects};
use folio_runtime::output::Output;
use folio_runtime::syscall::exit_group;

use crate::report;

/// Prints one line an object, in search order with what is missing in its place, and ends the process (*glibc elf/rtld.c*,
/// trace mode).
pub fn print(
    objects: &Objects,
    vdso: Option<ObjectId>,
    closure: &[ObjectId],
    missing: &[(usize, Error)],
    version_errors: &[Error],
    program: &[u8],
) -> ! {
    let needs_any = closure.first().and_then(|&id| objects[id].dynamic.as_ref()?.needed().next()).is_some();
    let mut output = Output::stdout();
    if !needs_any && closure.len() == 1 {
        output.push(b"\tstatically linked\n");
        output.flush();
        exit_group(0);
    }
    if let Some(vdso) = vdso {
        line(&mut output, &objects[vdso]);
    }
    let mut missing = missing.iter().peekable();
    for (place, &id) in closure.iter().enumerate() {
        while let Some((_, error)) = missing.next_if(|(at, _)| *at <= place) {
            missing_line(&mut output, error, program);
        }
        if objects[id].kind != Kind::Executable {
            line(&mut output, &objects[id]);
        }
    }
    for (_, error) in missing {
        missing_line(&mut output, error, program);
    }
    output.flush();
    for error in version_errors {
        report::line(format_args!("{}: {error}", Lossy(program)));
    }
    exit_group(i32::from(!version_errors.iter().all(|error| error.problem.is_warning())))
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
