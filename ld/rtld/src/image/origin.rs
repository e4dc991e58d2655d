//! `$ORIGIN` of the executable, which is asked for only where something refers to it.
//!
//! The first look into proc(5) makes the kernel describe the process there: in a start that costs more than all else that is
//! asked of files. glibc too waits until a name has the token (*glibc elf/dl-load.c, _dl_dst_substitute*), so that programs
//! do not count on `l_origin` of the executable's link map.

use alloc::vec::Vec;
use core::ffi::CStr;

use folio_elf::dynamic::{DT_AUDIT, DT_DEPAUDIT};
use folio_link::graph::Source;
use folio_link::object::Object;
use folio_link::search::dst;

use crate::abi::link_map::leaked_string;
use crate::image::files::Disk;
use crate::process::Process;
use crate::start::environment::Environment;

/// Whether a start refers to the origin of its executable, as far as is known before anything is searched for.
pub fn is_asked_for(executable: &Object, environment: &Environment) -> bool {
    let has_token = |text: &[u8]| text.contains(&b'$');
    let dynamic = executable.dynamic.as_ref();
    let own = dynamic.is_some_and(|dynamic| {
        let mut needed = dynamic.dependencies().filter_map(|(_, name)| name);
        [dynamic.rpath, dynamic.runpath].into_iter().flatten().any(has_token)
            || needed.any(has_token)
            || dynamic.strings_of([DT_AUDIT, DT_DEPAUDIT]).into_iter().flatten().any(has_token)
    });
    // The variable is not kept for later.
    own || environment.origin_path.is_some()
        || [environment.ld_library_path, environment.preload, environment.audit].into_iter().any(has_token)
}

/// Where the kernel says that the executable's file is, else `LD_ORIGIN_PATH` (*glibc sysdeps/unix/sysv/linux/dl-origin.c,
/// _dl_get_origin*), else where the file is that was asked for.
pub fn of_program(file: &CStr, origin_path: Option<&[u8]>) -> Vec<u8> {
    if let Ok(path) = rustix::fs::readlink(c"/proc/self/exe", Vec::new())
        && path.to_bytes().starts_with(b"/")
    {
        return dst::origin_of(path.to_bytes()).to_vec();
    }
    if let Some(path) = origin_path {
        let slashes = path.iter().rev().take_while(|&&byte| byte == b'/').count();
        return path[..(path.len() - slashes).max(1).min(path.len())].to_vec();
    }
    Disk::new().origin(file.to_bytes())
}

/// Before a name that [`is_asked_for`] did not see is searched for on behalf of the executable: finds its origin out, if the
/// name may need it. Gives whether it is new.
pub fn ask(executable: &mut Object, name: &[u8], file: &CStr) -> bool {
    let is_new = executable.origin.is_empty() && name.contains(&b'$');
    if is_new {
        executable.origin = of_program(file, None);
    }
    is_new
}

/// As [`ask`] in a running program, whose link map has to tell it too. The load lock is held.
pub fn publish(process: &Process, executable: &mut Object, name: &[u8]) {
    if !ask(executable, name, process.program_file) {
        return;
    }
    // SAFETY: the load lock is held.
    #[allow(unsafe_code)]
    let map = unsafe { process.state(process.executable) }.map;
    map.record().put(process.layout.link_map.origin, leaked_string(&executable.origin).expose_provenance());
}
