//! Faults made on purpose: an atomic operation that orders less than it says, or is left out.
//!
//! Every operation of a protocol file is known by its place in the source. For each, one at a time, what it orders is taken
//! away, and each store, fence and wake is left out; a model has to notice. So no ordering stands in those files that is
//! not needed, and no model looks away.

use std::collections::BTreeSet;
use std::fmt;
use std::panic::Location;
use std::sync::atomic::Ordering;
use std::sync::{Mutex, OnceLock};

/// What becomes of the operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Change {
    /// It does not happen.
    LeftOut,
    /// It acquires nothing; for a compare-and-exchange, when it succeeds.
    NoAcquire,
    /// It releases nothing.
    NoRelease,
    /// A compare-and-exchange acquires nothing when it fails.
    NoAcquireInFailure,
}

/// A change of the operation at one place.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mutant {
    pub file: &'static str,
    pub line: u32,
    pub column: u32,
    pub change: Change,
}

impl fmt::Display for Mutant {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Mutant { file, line, column, change } = self;
        let file = file.rsplit_once("ld/rtld/").map_or(*file, |(_, end)| end);
        write!(out, "{file}:{line}:{column}: {change:?}")
    }
}

/// Says that no change is made.
pub const NONE: &str = "none";

/// The change that this process makes, as [`Mutant`] shows itself, and the line that it is in.
static MADE: OnceLock<(String, u32)> = OnceLock::new();

/// Every change that could have been made.
static POSSIBLE: Mutex<BTreeSet<Mutant>> = Mutex::new(BTreeSet::new());

/// Makes one change from now on.
pub fn make(mutant: &str) {
    let line = mutant.split(':').nth(1).and_then(|line| line.parse().ok()).unwrap_or(0);
    MADE.set((mutant.to_owned(), line)).expect("one change is made");
}

/// The changes that what has run since the last call could have suffered.
pub fn take_possible() -> BTreeSet<Mutant> {
    std::mem::take(&mut *POSSIBLE.lock().expect("no model is under way"))
}

fn is_made(location: &'static Location<'static>, change: Change) -> bool {
    // The models' own operations stand for what is not under test.
    if !location.file().contains("ld/rtld/") {
        return false;
    }
    let mutant = Mutant { file: location.file(), line: location.line(), column: location.column(), change };
    match MADE.get() {
        Some((made, line)) => *line == mutant.line && *made == mutant.to_string(),
        None => {
            POSSIBLE.lock().expect("nothing panics here").insert(mutant);
            false
        }
    }
}

/// Whether the operation at this place is left out.
pub fn leaves_out(location: &'static Location<'static>) -> bool {
    is_made(location, Change::LeftOut)
}

/// What the operation at this place orders.
pub fn order(ordering: Ordering, location: &'static Location<'static>) -> Ordering {
    match ordering {
        Ordering::Acquire if is_made(location, Change::NoAcquire) => Ordering::Relaxed,
        Ordering::Release if is_made(location, Change::NoRelease) => Ordering::Relaxed,
        Ordering::AcqRel if is_made(location, Change::NoAcquire) => Ordering::Release,
        Ordering::AcqRel if is_made(location, Change::NoRelease) => Ordering::Acquire,
        ordering => ordering,
    }
}

/// What a compare-and-exchange at this place orders when it fails.
pub fn order_in_failure(ordering: Ordering, location: &'static Location<'static>) -> Ordering {
    match ordering {
        Ordering::Acquire if is_made(location, Change::NoAcquireInFailure) => Ordering::Relaxed,
        ordering => ordering,
    }
}
