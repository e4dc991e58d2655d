//! `LD_FOLIO_PROFILE`: where the time of a start goes, by what is done and for which object; `folio profile` reads it.
//!
//! The value is `[WORD,…]:FILE`. The record is written to FILE.PID in the moment in which the program would be entered; it
//! has one line for each [`Span`] and each [`Meter`], as [`Record::write`] says. With the word `stop` the program is not
//! entered, and the process ends. With `counts` page faults and objects that lookups asked are counted too, which takes time
//! of its own: times are then not to be relied on.
//!
//! While it is off, a span costs the look at one word, and the loops over relocations and symbols do not even look: they are
//! measured through `resolve::Watch`. An auditor's or a debugger's part in a start is not told apart.

mod record;

use alloc::boxed::Box;
use core::sync::atomic::{AtomicBool, Ordering};

use folio_link::object::{ObjectId, Objects};
use folio_link::resolve::{Reference, Work};
use rustix::process::getpid;
use spin::Mutex;

use crate::debug::now;
use record::{Event, Faults, Record, Sums};

static ON: AtomicBool = AtomicBool::new(false);
static COUNTS: AtomicBool = AtomicBool::new(false);

/// What was recorded so far. Who finds it held by another thread drops what he has to say: an initializer may have forked
/// while a thread of its own held it.
static RECORD: Mutex<Option<Box<Record>>> = Mutex::new(None);

/// What is done in a span of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Adopt,
    Discover,
    Search,
    Open,
    /// An attempt to open a file that is not the library.
    Probe,
    Cache,
    Map,
    Versions,
    Layout,
    Publish,
    Processor,
    Order,
    Thread,
    Relocate,
    Index,
    /// The relocation of one object.
    Object,
    Packed,
    Relative,
    Symbolic,
    Indirect,
    Protect,
    Tls,
    Libc,
    Initialise,
    /// The initializers of one object.
    Initializers,
}

impl Kind {
    /// As it stands in the record.
    fn name(self) -> &'static str {
        match self {
            Kind::Adopt => "adopt",
            Kind::Discover => "discover",
            Kind::Search => "search",
            Kind::Open => "open",
            Kind::Probe => "probe",
            Kind::Cache => "cache",
            Kind::Map => "map",
            Kind::Versions => "versions",
            Kind::Layout => "layout",
            Kind::Publish => "publish",
            Kind::Processor => "processor",
            Kind::Order => "order",
            Kind::Thread => "thread",
            Kind::Relocate => "relocate",
            Kind::Index => "index",
            Kind::Object => "object",
            Kind::Packed => "packed",
            Kind::Relative => "relative",
            Kind::Symbolic => "symbolic",
            Kind::Indirect => "indirect",
            Kind::Protect => "protect",
            Kind::Tls => "tls",
            Kind::Libc => "libc",
            Kind::Initialise => "initialise",
            Kind::Initializers => "initializers",
        }
    }
}

/// Reads the variable's value, and begins.
#[cold]
#[inline(never)]
pub fn switch_on(value: &[u8]) {
    let Some(colon) = value.iter().position(|&byte| byte == b':') else { return };
    let (words, file) = (&value[..colon], &value[colon + 1..]);
    let has = |word: &[u8]| words.split(|&byte| byte == b',').any(|given| given == word);
    let suffix = alloc::format!(".{}", getpid().as_raw_nonzero());
    let counts = has(b"counts");
    let record = Record::begin([file, suffix.as_bytes()].concat(), counts, has(b"stop"));
    *RECORD.lock() = Some(Box::new(record));
    COUNTS.store(counts, Ordering::Relaxed);
    ON.store(true, Ordering::Relaxed);
}

#[inline]
pub fn is_on() -> bool {
    ON.load(Ordering::Relaxed)
}

/// The start is over: the record is written, and nothing is measured any more.
#[inline]
pub fn finish() {
    if is_on() {
        finish_record();
    }
}

#[cold]
#[inline(never)]
fn finish_record() {
    ON.store(false, Ordering::Relaxed);
    let record = RECORD.try_lock().and_then(|mut record| record.take());
    if let Some(record) = record {
        record.write();
    }
}

fn add(add: impl FnOnce(&mut Record)) {
    if let Some(record) = RECORD.try_lock().as_mut().and_then(|record| record.as_mut()) {
        add(record);
    }
}

/// A span of time, from its making until it is dropped.
#[must_use = "it ends when it is dropped"]
pub struct Span(Option<Box<Event>>);

impl Span {
    pub const NONE: Span = Span(None);

    /// Begins to do something that is about no object in particular.
    #[inline]
    pub fn of(kind: Kind) -> Span {
        Span::about(kind, || b"")
    }

    /// Begins to do something for the object or file of this name.
    #[inline]
    pub fn about<'n>(kind: Kind, name: impl FnOnce() -> &'n [u8]) -> Span {
        if is_on() { Span::begin(kind, name()) } else { Span::NONE }
    }

    #[cold]
    #[inline(never)]
    fn begin(kind: Kind, name: &[u8]) -> Span {
        let faults = Faults::now(COUNTS.load(Ordering::Relaxed));
        Span(Some(Box::new(Event { kind: kind.name(), name: name.to_vec(), faults, begin: now(), end: 0 })))
    }

    /// It was something else after all.
    #[inline]
    pub fn turns_out(&mut self, kind: Kind) {
        if let Some(event) = &mut self.0 {
            event.kind = kind.name();
        }
    }

    #[cold]
    #[inline(never)]
    fn end(mut event: Box<Event>) {
        event.end = now();
        event.faults = event.faults.until(Faults::now(COUNTS.load(Ordering::Relaxed)));
        add(|record| record.events.push(*event));
    }
}

impl Drop for Span {
    #[inline]
    fn drop(&mut self) {
        if let Some(event) = self.0.take() {
            Span::end(event);
        }
    }
}

/// The measure of one object's relocation: a span for each of its parts, and sums over its lookups and resolvers.
pub struct Meter {
    sums: Sums,
    part: Span,
    begin: u64,
    /// Objects that the lookup under way has asked.
    asked: u64,
}

impl Meter {
    /// A meter for the object of this name, if there is to be one.
    pub fn of(name: &[u8]) -> Option<Meter> {
        is_on().then(|| {
            let sums = Sums { object: name.to_vec(), ..Sums::default() };
            Meter { sums, part: Span::NONE, begin: 0, asked: 0 }
        })
    }

    pub fn begins(&mut self, work: Work) {
        let kind = match work {
            Work::Packed => Kind::Packed,
            Work::Relative => Kind::Relative,
            Work::Symbolic => Kind::Symbolic,
            Work::Indirect => Kind::Indirect,
            Work::Lookup | Work::Resolver => {
                self.asked = 0;
                self.begin = now();
                return;
            }
        };
        self.part = Span::about(kind, || &self.sums.object);
    }

    pub fn ends(&mut self, work: Work) {
        let sum = match work {
            Work::Lookup => &mut self.sums.lookups,
            Work::Resolver => &mut self.sums.resolvers,
            Work::Packed | Work::Relative | Work::Symbolic | Work::Indirect => {
                self.part = Span::NONE;
                return;
            }
        };
        sum.ticks += now().wrapping_sub(self.begin);
        sum.count += 1;
    }

    /// An object is asked for a name.
    pub fn tried(&mut self, objects: &Objects, id: ObjectId, reference: &Reference) {
        if !COUNTS.load(Ordering::Relaxed) {
            return;
        }
        self.asked += 1;
        self.sums.asked += 1;
        self.sums.filtered += u64::from(!objects.may_define(id, reference.gnu_hash));
        if self.asked > self.sums.longest {
            self.sums.longest = self.asked;
            self.sums.longest_symbol.clear();
            self.sums.longest_symbol.extend_from_slice(reference.name);
        }
    }

    /// A relocation took the last lookup's answer.
    pub fn repeated(&mut self) {
        self.sums.repeated += 1;
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        let sums = core::mem::take(&mut self.sums);
        add(|record| record.sums.push(sums));
    }
}
