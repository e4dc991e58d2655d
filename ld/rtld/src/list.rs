//! `--list` and ldd(1): print the objects of a plan, and what is missing in it.

use alloc::vec::Vec;
use core::fmt::Write;

use folio_link::error::{Error, Lossy, Problem};
use folio_link::object::{Kind, ObjectId, Objects};
use folio_runtime::output::Output;
use folio_runtime::syscall::exit_group;

/// Prints one line an object, in search order, and ends the process (*glibc elf/rtld.c*, trace mode).
pub fn print(objects: &Objects, closure: &[ObjectId], errors: &[Error], program: &[u8]) -> ! {
    let mut output = Output::stdout();
    let is_static = closure.iter().all(|&id| objects[id].kind != Kind::Library) && errors.is_empty();
    if is_static && closure.first().is_some_and(|&id| objects[id].dynamic.is_none()) {
        output.push(b"\tstatically linked\n");
        output.flush();
        exit_group(0);
    }
    for &id in closure {
        let object = &objects[id];
        let start = object.span().0.0;
        let name = object.names.first().map_or(object.path.as_slice(), Vec::as_slice);
        let _ = match object.kind {
            Kind::Executable => continue,
            Kind::Vdso => writeln!(output, "\t{} ({start:#018x})", Lossy(object.soname().unwrap_or(name))),
            _ if name == object.path || object.kind == Kind::Interpreter => {
                writeln!(output, "\t{} ({start:#018x})", Lossy(&object.path))
            }
            _ => writeln!(output, "\t{} => {} ({start:#018x})", Lossy(name), Lossy(&object.path)),
        };
    }
    let mut failed = false;
    for error in errors {
        let _ = match error.problem {
            Problem::Open(_) => writeln!(output, "\t{} => not found", Lossy(&error.object)),
            _ => {
                failed = true;
                let mut lines = Output::stderr();
                let result = writeln!(lines, "{}: {error}", Lossy(program));
                lines.flush();
                result
            }
        };
    }
    output.flush();
    exit_group(i32::from(failed))
}
