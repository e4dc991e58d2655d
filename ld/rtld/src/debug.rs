//! `LD_DEBUG`: says on request what the loader does and why (ld.so(8)).
//!
//! Categories, sentences and the shape of lines are glibc's (*glibc elf/rtld.c, process_dl_debug; elf/dl-printf.c*), because
//! people and tools search for them. Each line is one `write(2)`, so that lines of several processes do not mix. While
//! nothing is asked for, a place that could speak costs the look at one word, and loops over symbols do not even look:
//! there are two of each (`resolve::Watch`).
//!
//! # Safety
//! Guarded fields are read under the load lock, or before there is a second thread.

mod lookups;
mod scopes;
mod searches;
mod statistics;

use core::fmt::{self, Write};
use core::sync::atomic::{AtomicI32, AtomicU32, Ordering};

use alloc::ffi::CString;
use folio_elf::Lossy;
use folio_glibc::debug::names;
use folio_glibc::layout::{Layout, Version};
use folio_link::error::Error;
use folio_link::object::{Kind, Object, ObjectId};
use folio_runtime::output::Output;
use folio_runtime::syscall::exit_group;
use rustix::fd::{IntoRawFd, RawFd};
use rustix::fs::{CWD, Mode, OFlags, openat};

use crate::abi::record::Record;
use crate::process::Process;
use crate::report;

pub use folio_glibc::debug::Categories;
pub use lookups::{Lookups, let_weak_yield};
pub use scopes::{initial_scopes, joins_global_scope, show_scope};
pub use searches::{REMARKS, Searches, version_wanted};
pub use statistics::{Phase, final_statistics, now, statistics};

use Categories as C;

/// The first release that knows `tls` and `security`.
pub const HAS_TLS: Version = Version { major: 2, minor: 43 };

/// What is switched on.
static CATEGORIES: AtomicU32 = AtomicU32::new(0);

/// One more than the descriptor of the file that lines go to; 0, and lines go to standard error.
static FILE: AtomicI32 = AtomicI32::new(0);

/// The descriptor that lines go to.
fn descriptor() -> RawFd {
    const STDERR: RawFd = 2;
    match FILE.load(Ordering::Relaxed) {
        0 => STDERR,
        file => file - 1,
    }
}

/// Reads the value of `LD_DEBUG`, and warns of names that are none.
pub fn parse(value: &[u8]) -> Categories {
    Categories::parse(value, |word| {
        report::line(format_args!("warning: debug option `{}' unknown; try LD_DEBUG=help", Lossy(word)));
    })
}

/// Switches categories on. Lines go to the file `output`.PID, if that is given; to standard output, if it cannot be opened.
pub fn switch_on(categories: Categories, output: Option<&[u8]>) {
    if categories.is_empty() {
        return;
    }
    CATEGORIES.store(categories.bits(), Ordering::Relaxed);
    statistics::begin();
    let Some(output) = output else { return };
    let path = alloc::format!(".{}", rustix::process::getpid().as_raw_nonzero());
    let path = CString::new([output, path.as_bytes()].concat()).unwrap_or_default();
    let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let opened = openat(CWD, &path, flags, Mode::from_raw_mode(0o666));
    FILE.store(opened.map_or(1, IntoRawFd::into_raw_fd) + 1, Ordering::Relaxed);
}

/// Whether one of these categories is asked for.
#[inline]
pub fn is_on(categories: Categories) -> bool {
    CATEGORIES.load(Ordering::Relaxed) & categories.bits() != 0
}

/// Lets libc say what it says under the same categories, and drops those that its release does not know.
pub fn publish(layout: &Layout, ro: Record) {
    if layout.version < HAS_TLS {
        CATEGORIES.fetch_and(!C::TLS.union(C::SECURITY).bits(), Ordering::Relaxed);
    }
    ro.put(layout.global_ro.debug_mask, CATEGORIES.load(Ordering::Relaxed));
}

/// Prints what `LD_DEBUG=help` promises, and ends the process. Names that a libc older than `has_tls` does not know are not
/// shown.
#[cold]
#[inline(never)]
pub fn help(has_tls: bool) -> ! {
    let mut output = Output::stdout();
    output.push(b"Valid options for the LD_DEBUG environment variable are:\n\n");
    for (name, categories, text) in names() {
        if has_tls || !C::TLS.union(C::SECURITY).contains(categories) {
            let _ = writeln!(output, "  {name:10}  {text}");
        }
    }
    output.push(
        b"\nTo direct the debugging output into a file instead of standard output\n\
          a filename can be specified using the LD_DEBUG_OUTPUT environment variable.\n",
    );
    output.flush();
    exit_group(0)
}

/// Says something if one of the categories is asked for; lines end where the text says, and begin with the process' number.
pub fn say(categories: Categories, text: fmt::Arguments) {
    if is_on(categories) {
        speak(text);
    }
}

/// Says something, asked or not. The room for its lines is on the stack of this function alone, which silent starts and small
/// stacks are spared.
#[cold]
#[inline(never)]
pub fn speak(text: fmt::Arguments) {
    let _ = Lines::new().write_fmt(text);
}

/// Lines on their way, each of them with its tag and in one write.
pub struct Lines {
    output: Output,
    begun: bool,
}

impl Lines {
    pub fn new() -> Lines {
        Lines { output: Output::to(descriptor()), begun: false }
    }

    pub fn push(&mut self, bytes: &[u8]) {
        for line in bytes.split_inclusive(|&byte| byte == b'\n') {
            if !core::mem::replace(&mut self.begun, true) {
                let _ = write!(self.output, "{:>10}:\t", rustix::process::getpid().as_raw_nonzero());
            }
            self.output.push(line);
            if line.ends_with(b"\n") {
                self.output.flush();
                self.begun = false;
            }
        }
    }
}

impl Write for Lines {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.push(text.as_bytes());
        Ok(())
    }
}

/// An object's name where a sentence is about it: the program's own is `argv[0]`.
pub fn name(process: &Process, id: ObjectId) -> Lossy<'_> {
    // SAFETY: callers hold the load lock, or there is one thread.
    #[allow(unsafe_code)]
    let objects = unsafe { process.objects.get() };
    Lossy(objects[id].display_name(process.program))
}

/// The number of an object's namespace.
pub fn namespace(process: &Process, id: ObjectId) -> usize {
    // SAFETY: as above.
    #[allow(unsafe_code)]
    let state = unsafe { process.state(id) };
    state.namespace.0.into()
}

/// An object is relocated; a function that nobody defines is an error now, or not before it is called.
pub fn relocating(name: &[u8], lazily: bool) {
    let lazily = if lazily { " (lazy)" } else { "" };
    say(C::RELOC, format_args!("\nrelocation processing: {}{lazily}\n", Lossy(name)));
}

/// An object's initializers are about to be called, if it has any.
pub fn initialising(object: &Object) {
    if matches!(object.kind, Kind::Library | Kind::Interpreter) {
        say(C::CALLS, format_args!("\ncalling init: {}\n\n", Lossy(&object.path)));
    }
}

/// An object's finalizers are about to be called, if it has any.
pub fn finalising(process: &Process, id: ObjectId, object: &Object) {
    if is_on(C::CALLS) {
        let namespace = namespace(process, id);
        say(C::CALLS, format_args!("\ncalling fini: {} [{namespace}]\n\n", Lossy(&object.path)));
    }
}

/// Something failed; the start or opening goes on if `continued`.
pub fn failed(occasion: &str, error: &Error, continued: bool) {
    let outcome = if continued { "continued" } else { "fatal" };
    let (object, problem) = (Lossy(&error.object), &error.problem);
    say(C::all().difference(C::STATISTICS), format_args!("{object}: error: {occasion}: {problem} ({outcome})\n"));
}

/// An object was opened, again if not for the first time; from 2.43 on glibc makes no words of that.
pub fn opened(process: &Process, id: ObjectId, again: bool) {
    if again && process.layout.version >= HAS_TLS {
        return;
    }
    said_of(process, id, C::FILES, |path, namespace, opens| {
        say(C::FILES, format_args!("opening file={path} [{namespace}]; direct_opencount={opens}\n\n"));
    });
}

/// An opening of an object was taken back, and it stays.
pub fn closed(process: &Process, id: ObjectId, opens: u32) {
    said_of(process, id, C::FILES, |path, _, _| {
        say(C::FILES, format_args!("\nclosing file={path}; direct_opencount={opens}\n"));
    });
}

/// An object is taken off every list.
pub fn destroyed(process: &Process, id: ObjectId) {
    said_of(process, id, C::FILES, |path, namespace, _| {
        say(C::FILES, format_args!("\nfile={path} [{namespace}];  destroying link map\n"));
    });
}

/// An object has to stay as long as another one that was bound to it.
pub fn depends(process: &Process, provider: ObjectId, requester: ObjectId) {
    said_of(process, provider, C::FILES, |path, namespace, _| {
        let (by, by_namespace) = (name(process, requester), self::namespace(process, requester));
        say(
            C::FILES,
            format_args!("\nfile={path} [{namespace}];  needed by {by} [{by_namespace}] (relocation dependency)\n\n"),
        );
    });
}

/// An object stays for good because one that does was bound to it.
pub fn stays_for(process: &Process, provider: ObjectId, requester: ObjectId) {
    said_of(process, provider, C::BINDINGS, |path, namespace, _| {
        said_of(process, requester, C::BINDINGS, |by, by_namespace, _| {
            let marking = format_args!("marking {path} [{namespace}] as NODELETE due to reference from");
            if by.0.is_empty() {
                say(C::BINDINGS, format_args!("{marking} main program\n"));
            } else {
                say(C::BINDINGS, format_args!("{marking} {by} [{by_namespace}]\n"));
            }
        });
    });
}

/// Calls `sentence` with an object's path, the number of its namespace, and how often it is open, if somebody listens. The
/// load lock is held.
fn said_of(process: &Process, id: ObjectId, categories: Categories, sentence: impl FnOnce(&Lossy, usize, u32)) {
    if is_on(categories) {
        // SAFETY: the load lock is held.
        #[allow(unsafe_code)]
        let (objects, opens) = unsafe { (process.objects.get(), process.state(id).opens) };
        sentence(&Lossy(&objects[id].path), namespace(process, id), opens);
    }
}
