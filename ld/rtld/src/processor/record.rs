//! The file with the record of CPU facts of this boot: where it is, and what has to be true of it.
//!
//! Root's is for all, in a directory that only root writes to; to see that there is none takes one system call. The file that
//! `LD_FOLIO_CPU` names takes its place, and may be the user's own; a set-user-ID program does not see that variable, and
//! takes no record but root's. The descriptor tells whose the file is and who may write to it, so it does not matter
//! through which directories the name led.

use alloc::vec;
use core::ffi::CStr;

use folio_elf::Lossy;
use folio_glibc::cpu::Processor;
use folio_glibc::cpu::record::{Auxiliary, File, Record, Recorded, Refusal};
use folio_runtime::stack::Stack;
use linux_raw_sys::auxvec::{AT_HWCAP, AT_HWCAP2, AT_MINSIGSTKSZ, AT_UID};
use rustix::fs::{CWD, Mode, OFlags, fcntl_get_seals, fstat, openat};
use rustix::io::{read as read_file, retry_on_intr};
use spin::Once;

use super::{Cpuid, Source};
use crate::debug::{self, Categories};
use crate::image::files;
use crate::profile::{Kind as Profiled, Span};
use crate::start::environment::Environment;

/// The record for all.
const FOR_ALL: &CStr = c"/run/folio/cpu";

static RECORD: Once<Record<'static>> = Once::new();

/// The processor that runs this, by the record that was read.
pub fn source() -> Source {
    Recorded::new(RECORD.get().copied(), Cpuid)
}

/// Looks for a record that holds; all that follows asks it in place of the processor.
pub fn read(stack: &Stack, environment: &Environment, secure: bool) {
    match environment.cpu_record {
        None if files::exists(FOR_ALL) => read_from(FOR_ALL.to_bytes(), stack, secure),
        None | Some(b"") => {}
        Some(path) => read_from(path, stack, secure),
    }
}

/// A record that cannot be used is passed over: the processor knows all that is in it.
#[cold]
#[inline(never)]
fn read_from(path: &[u8], stack: &Stack, secure: bool) {
    let _span = Span::of(Profiled::Processor);
    match record(path, stack, secure) {
        Some(Ok(record)) => {
            RECORD.call_once(|| record);
        }
        Some(Err(refusal)) => {
            debug::say(Categories::LIBS, format_args!("CPU record={} [ignored: {refusal}]\n", Lossy(path)));
        }
        None => debug::say(Categories::LIBS, format_args!("CPU record={} [cannot be read]\n", Lossy(path))),
    }
}

/// The record in a file, why it does not hold, or nothing where it cannot be read.
fn record(path: &[u8], stack: &Stack, secure: bool) -> Option<Result<Record<'static>, Refusal>> {
    // Whatever else lies there must not keep a start waiting, nor become its terminal (open(2)).
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
    let descriptor = retry_on_intr(|| openat(CWD, path, flags, Mode::empty())).ok()?;
    let status = fstat(&descriptor).ok()?;
    let file = File {
        mode: status.st_mode,
        owner: status.st_uid,
        size: u64::try_from(status.st_size).ok()?,
        changed: status.st_ctime,
        in_memory: fcntl_get_seals(&descriptor).is_ok(),
    };
    let user = (!secure).then(|| stack.auxiliary_value(AT_UID) as u32);
    let size = match file.accept(user) {
        Ok(size) => size,
        Err(refusal) => return Some(Err(refusal)),
    };
    let mut bytes = vec![0; size];
    let length = retry_on_intr(|| read_file(&descriptor, &mut bytes)).ok()?;
    let auxiliary = Auxiliary {
        hwcap: stack.auxiliary_value(AT_HWCAP) as u64,
        hwcap2: stack.auxiliary_value(AT_HWCAP2) as u64,
        minsigstksz: stack.auxiliary_value(AT_MINSIGSTKSZ) as u64,
    };
    bytes.truncate(length);
    let record = match Record::decode(bytes.leak()) {
        Ok(record) => record,
        Err(refusal) => return Some(Err(refusal)),
    };
    Some(record.holds(&file, &auxiliary, || Cpuid.xgetbv()).map(|()| record))
}
