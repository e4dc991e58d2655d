//! Who takes part in a start before anything is loaded: the program, the vDSO, Folio itself, and how Folio was called.
//!
//! The kernel has mapped the program when Folio is its interpreter; in a direct start Folio maps it, and makes the stack what
//! it would be had the kernel done so (*glibc elf/rtld.c, dl_main*).
//!
//! # Safety
//! Reads the strings that the kernel put above the stack (getauxval(3)).
#![allow(unsafe_code)]

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::ffi::CStr;

use folio_elf::Addr;
use folio_glibc::layout::Version;
use folio_link::error::{Error, Problem};
use folio_link::graph::Source;
use folio_link::object::{Kind, Object, ObjectId, Objects};
use folio_link::search;
use folio_runtime::stack::Stack;
use folio_runtime::syscall::exit_group;
use linux_raw_sys::auxvec::{AT_BASE, AT_ENTRY, AT_EXECFN, AT_PHDR, AT_PHNUM, AT_SYSINFO_EHDR};

use crate::image::adopt;
use crate::image::files::{self, Disk};
use crate::image::origin;
use crate::report::{self, LOADING};
use crate::start::environment::Environment;
use crate::start::options::{Options, Task};
use crate::start::{discover, handover, inventory};

/// The objects that are there before anything is loaded, and how Folio was called.
pub struct Cast {
    pub executable: ObjectId,
    pub interpreter: ObjectId,
    pub vdso: Option<ObjectId>,
    /// Those of a direct start; a program that the kernel started comes without any.
    pub options: Options,
    pub is_direct: bool,
    /// The executable's file, for a hand-over.
    pub program_file: &'static CStr,
    pub program: &'static [u8],
    /// The auditors of a start that is to be audited.
    pub auditors: Vec<&'static [u8]>,
}

/// Makes objects of the program, the vDSO and Folio itself; reads the command line of a direct start.
///
/// A phase of its own, whose stack is given back before the next one.
#[inline(never)]
pub fn adopt(stack: &mut Stack, objects: &mut Objects<'static>, environment: &Environment) -> Cast {
    let own_name = stack.arguments().next().unwrap_or(c"ld-folio.so.1").to_bytes();
    let refuse = |problem: Problem| -> ! { report::fatal(own_name, LOADING, &Error::new(b"", problem)) };
    let own = adopt::whole(Kind::Interpreter, adopt::own_base(), b"").unwrap_or_else(|problem| refuse(problem));
    let entry = Addr(stack.auxiliary_value(AT_ENTRY) as u64);
    let is_direct = own.address(own.placement.entry) == entry;

    let file_name = stack.auxiliary_string(AT_EXECFN).unwrap_or_default();
    let (mut executable, options, program_file) = if is_direct {
        let options = Options::read(stack);
        if options.task.needs_no_program() {
            inventory::print(stack, environment, &options);
        }
        let executable = map_program(options.program, &options);
        if options.task == Task::Run && !environment.trace && handover::is_for_kernel(&executable) {
            handover::to_kernel(stack, &options, &executable, own.soname());
        }
        enter_directly(stack, &options, &own, &executable);
        (executable, options, options.program)
    } else {
        let headers = Addr(stack.auxiliary_value(AT_PHDR) as u64);
        let executable = adopt::program(headers, stack.auxiliary_value(AT_PHNUM) as u16, entry)
            .unwrap_or_else(|problem| refuse(problem));
        (executable, Options::default(), file_name)
    };
    // The name by which Folio was called.
    let own_path = if is_direct { Some(file_name.to_bytes()) } else { executable.named_interpreter() };
    let canonical = core::mem::take(&mut executable.origin);
    // Where proc(5) says is Folio in a direct start, so the path that was given counts.
    if is_direct {
        executable.origin = Disk::new().origin(program_file.to_bytes());
    } else if origin::is_asked_for(&executable, environment) {
        executable.origin = origin::of_program(program_file, environment.origin_path);
    }
    if is_direct
        && canonical != executable.origin
        && !canonical.is_empty()
        && discover::release(stack, environment, false, &executable, &options) >= Some(CANONICAL)
    {
        executable.origin = canonical;
    }
    let mut own = own;
    own.path = own_path.unwrap_or_default().to_vec();
    own.names = own.soname().map(<[u8]>::to_vec).into_iter().collect();
    own.is_graphed = true;

    let executable = objects.insert(executable);
    let vdso = adopt_vdso(stack).map(|vdso| objects.insert(vdso));
    let interpreter = objects.insert(own);
    let program = stack.arguments().next().unwrap_or(program_file).to_bytes();
    Cast { executable, interpreter, vdso, options, is_direct, program_file, program, auditors: Vec::new() }
}

/// The first release that takes `$ORIGIN` of a direct start from the canonical path of the program (*glibc elf/dl-load.c,
/// _dl_map_object_from_fd*).
const CANONICAL: Version = Version { major: 2, minor: 43 };

/// Maps the program of a direct start; its origin is that of its canonical path.
fn map_program(path: &'static CStr, options: &Options) -> Box<Object<'static>> {
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
    let canonical = file.canonical_path().unwrap_or_default();
    let (placement, image) = file.map().unwrap_or_else(|problem| fail(problem));
    // Which file it is stays unknown, as when the kernel maps it: to open the program as a library is to load it anew,
    // which is refused (glibc elf/dl-load.c, _dl_map_object_from_fd).
    let mut object = Object::decode(Kind::Executable, b"", placement, image).unwrap_or_else(|problem| fail(problem));
    object.origin = search::dst::origin_of(&canonical).to_vec();
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
        stack.set_auxiliary_value(kind, value);
    }
}

fn adopt_vdso(stack: &Stack) -> Option<Box<Object<'static>>> {
    let base = Addr(stack.auxiliary_value(AT_SYSINFO_EHDR) as u64);
    let mut vdso = adopt::whole(Kind::Vdso, Some(base).filter(|base| base.0 != 0)?, b"").ok()?;
    vdso.path = vdso.soname().unwrap_or(b"linux-vdso.so.1").to_vec();
    vdso.names = alloc::vec![vdso.path.clone()];
    vdso.is_graphed = true;
    Some(vdso)
}
