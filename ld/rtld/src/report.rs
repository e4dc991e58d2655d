//! Reports: the sentences that a user reads on standard error, each one `write(2)`.

use core::fmt::{self, Display, Write};

use folio_elf::Lossy;
use folio_link::error::{Error, Problem};
use folio_runtime::output::Output;
use folio_runtime::syscall::exit_group;

/// What glibc says before every sentence about a start that failed.
pub const LOADING: &str = "error while loading shared libraries";

/// What is said before the sentence about an object that cannot be relocated: glibc knows one other occasion (*glibc
/// elf/dl-lookup.c, _dl_lookup_symbol_x*).
pub fn occasion(problem: &Problem) -> &'static str {
    match problem {
        Problem::UndefinedSymbol { .. } => "symbol lookup error",
        _ => LOADING,
    }
}

/// Exit status of a program that could not be started, by the shell's convention and glibc's (`_dl_fatal_printf`).
pub const FAILURE: i32 = 127;

/// Exit status when versions are missing (*glibc elf/rtld.c, version_check_doit*).
pub const VERSION_FAILURE: i32 = 1;

/// Prints one line on standard error. The room for it is on the stack of this function alone.
#[cold]
#[inline(never)]
pub fn line(text: fmt::Arguments) {
    let mut output = Output::stderr();
    let _ = output.write_fmt(text);
    output.push(b"\n");
    output.flush();
}

/// Prints `PROGRAM: WHEN: ERROR`.
pub fn error(program: &[u8], when: &str, error: &Error) {
    line(format_args!("{}: {when}: {error}", Lossy(program)));
}

/// Prints an error and ends the process.
pub fn fatal(program: &[u8], when: &str, what: &Error) -> ! {
    error(program, when, what);
    exit_group(FAILURE)
}

/// Ends the process with a sentence about the program.
pub fn refuse(program: &[u8], what: &dyn Display) -> ! {
    line(format_args!("{}: {what}", Lossy(program)));
    exit_group(FAILURE)
}

/// Ends the process with a sentence that stands for itself, without the program's name before it.
pub fn end(sentence: fmt::Arguments) -> ! {
    line(sentence);
    exit_group(FAILURE)
}
