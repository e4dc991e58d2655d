//! The record of a profiled start, and how it is written.

use alloc::ffi::CString;
use alloc::vec::Vec;
use core::fmt::Write;

use folio_runtime::output::Output;
use folio_runtime::syscall::{exit_group, monotonic_time, page_faults};
use rustix::fd::AsRawFd;
use rustix::fs::{CWD, Mode, OFlags, openat};

use crate::debug::now;

/// A span of time, once it is over.
pub struct Event {
    pub kind: &'static str,
    /// The object or file that it is about; may be empty.
    pub name: Vec<u8>,
    pub begin: u64,
    pub end: u64,
    pub faults: Faults,
}

/// How many page faults memory answered, and how many the disk did.
#[derive(Clone, Copy, Default)]
pub struct Faults {
    minor: u64,
    major: u64,
}

impl Faults {
    /// Those of this process until now (proc(5), `/proc/PID/stat`), or nothing if they are not counted.
    pub fn now(counted: bool) -> Faults {
        if !counted {
            return Faults::default();
        }
        let (minor, major) = page_faults();
        Faults { minor, major }
    }

    pub fn until(self, later: Faults) -> Faults {
        Faults { minor: later.minor.wrapping_sub(self.minor), major: later.major.wrapping_sub(self.major) }
    }
}

/// How often something was done for an object, and how long it took.
#[derive(Default)]
pub struct Sum {
    pub count: u64,
    pub ticks: u64,
}

/// What one object's relocation did many times.
#[derive(Default)]
pub struct Sums {
    pub object: Vec<u8>,
    pub lookups: Sum,
    pub resolvers: Sum,
    /// Relocations that took the answer of the lookup before.
    pub repeated: u64,
    /// Objects that were asked for a name, and those of them whose Bloom filter knew at once that they do not have it.
    pub asked: u64,
    pub filtered: u64,
    /// The most objects that one lookup asked, and what it looked for.
    pub longest: u64,
    pub longest_symbol: Vec<u8>,
}

/// What is known of a start.
pub struct Record {
    file: Vec<u8>,
    counts: bool,
    stop: bool,
    begin: (u64, u64),
    pub events: Vec<Event>,
    pub sums: Vec<Sums>,
}

/// The time stamp counter, and nanoseconds of `CLOCK_MONOTONIC` at about the same moment.
fn moment() -> (u64, u64) {
    (now(), monotonic_time())
}

/// Names come from files: nothing in them ends a line.
fn push_name(output: &mut Output, name: &[u8], replaced: impl Fn(u8) -> bool) {
    for &byte in name {
        output.push(&[if replaced(byte) { b'?' } else { byte }]);
    }
}

impl Record {
    pub fn begin(file: Vec<u8>, counts: bool, stop: bool) -> Record {
        Record { file, counts, stop, begin: moment(), events: Vec::with_capacity(512), sums: Vec::with_capacity(64) }
    }

    /// Writes a line with the format's version; the moments of begin and end, in ticks and in nanoseconds of
    /// `CLOCK_MONOTONIC`; `counts` or `times`; for each span its kind, ticks of begin and end, minor and major faults, and a
    /// name; for each relocated object lookups, their ticks, relocations that took the last answer, resolvers, their ticks,
    /// objects asked, of which filtered, the most that one lookup asked, the name it looked for (`-`: none), and its own name.
    /// Then ends the process, if it is to stop here.
    pub fn write(self) {
        let end = moment();
        let path = CString::new(self.file.as_slice()).unwrap_or_default();
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        if let Ok(file) = openat(CWD, &path, flags, Mode::from_raw_mode(0o600)) {
            let mut output = Output::to(file.as_raw_fd());
            self.write_to(&mut output, end);
            output.flush();
        }
        if self.stop {
            exit_group(0);
        }
    }

    fn write_to(&self, output: &mut Output, end: (u64, u64)) {
        let (begin, mode) = (self.begin, if self.counts { "counts" } else { "times" });
        let _ = writeln!(output, "folio-profile 1\nstart {} {} {} {} {mode}", begin.0, begin.1, end.0, end.1);
        for Event { kind, name, begin, end, faults } in &self.events {
            let _ = write!(output, "span {kind} {begin} {end} {} {} ", faults.minor, faults.major);
            push_name(output, name, |byte| byte.is_ascii_control());
            output.push(b"\n");
        }
        for sums in &self.sums {
            let Sums { lookups, resolvers, repeated, asked, filtered, longest, .. } = sums;
            let _ = write!(
                output,
                "lookups {} {} {repeated} {} {} {asked} {filtered} {longest} ",
                lookups.count, lookups.ticks, resolvers.count, resolvers.ticks
            );
            let symbol: &[u8] = if sums.longest_symbol.is_empty() { b"-" } else { &sums.longest_symbol };
            push_name(output, symbol, |byte| byte <= b' ' || byte == 0x7f);
            output.push(b" ");
            push_name(output, &sums.object, |byte| byte.is_ascii_control());
            output.push(b"\n");
        }
    }
}
