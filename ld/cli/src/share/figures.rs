//! Sums over pages.

use std::collections::{BTreeMap, HashSet};
use std::ops::AddAssign;

use serde::Serialize;

use super::frames::{Judged, Key};
use super::page::{Cause, State};
use crate::process::{PAGE, Weight};

/// What a run of pages takes. All figures are pages or frames of 4 KiB.
///
/// `frames` is the sum of the five figures after it: each frame is in all of the processes, in several, with others, or
/// private to one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Figures {
    /// Page table entries of all processes together: the frames that it would take if nothing were shared (RSS).
    pub resident: u64,
    pub untouched: u64,
    pub frames: u64,
    pub in_all: u64,
    pub in_several: u64,
    pub with_others: u64,
    pub private_clean: u64,
    pub private_dirty: u64,
    /// Why pages are private.
    pub causes: BTreeMap<Cause, u64>,
}

/// Figures while they are added up.
#[derive(Default)]
pub struct Sum {
    figures: Figures,
    seen: HashSet<Key>,
}

impl Sum {
    pub fn add(&mut self, judged: Option<&Judged>, cause: Option<Cause>) {
        let figures = &mut self.figures;
        let Some(judged) = judged.filter(|judged| judged.state != State::Untouched) else {
            figures.untouched += 1;
            return;
        };
        figures.resident += 1;
        if let Some(cause) = cause {
            *figures.causes.entry(cause).or_default() += 1;
        }
        // A frame without a key is one that nobody can recognise a second time.
        if judged.key.is_some_and(|key| !self.seen.insert(key)) {
            return;
        }
        figures.frames += 1;
        match judged.state {
            State::All => figures.in_all += 1,
            State::Several => figures.in_several += 1,
            State::Others => figures.with_others += 1,
            State::PrivateClean => figures.private_clean += 1,
            State::PrivateDirty => figures.private_dirty += 1,
            State::Untouched => {}
        }
    }

    pub fn figures(self) -> Figures {
        self.figures
    }
}

impl AddAssign<&Figures> for Figures {
    fn add_assign(&mut self, other: &Figures) {
        self.resident += other.resident;
        self.untouched += other.untouched;
        self.frames += other.frames;
        self.in_all += other.in_all;
        self.in_several += other.in_several;
        self.with_others += other.with_others;
        self.private_clean += other.private_clean;
        self.private_dirty += other.private_dirty;
        for (cause, count) in &other.causes {
            *self.causes.entry(*cause).or_default() += count;
        }
    }
}

/// A process's memory in the words of smaps_rollup (proc(5)), in KiB.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Rollup {
    /// Resident set size: all pages that it has.
    pub rss: u64,
    /// Proportional set size: each page divided by the number of its mappings.
    pub pss: u64,
    /// Unique set size: the pages that would be free if it ended.
    pub uss: u64,
    pub shared_clean: u64,
    pub shared_dirty: u64,
    pub private_clean: u64,
    pub private_dirty: u64,
    pub swap: u64,
}

impl From<Weight> for Rollup {
    fn from(weight: Weight) -> Self {
        Self {
            rss: weight.resident / 1024,
            pss: weight.proportional / 1024,
            uss: (weight.private_clean + weight.private_dirty) / 1024,
            shared_clean: weight.shared_clean / 1024,
            shared_dirty: weight.shared_dirty / 1024,
            private_clean: weight.private_clean / 1024,
            private_dirty: weight.private_dirty / 1024,
            swap: weight.swapped / 1024,
        }
    }
}

/// One mapping's pages, counted as smaps counts them: shared clean, shared dirty, private clean, private dirty.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Division([u64; 4]);

impl Division {
    pub fn of(weight: &Weight) -> Self {
        let bytes = [weight.shared_clean, weight.shared_dirty, weight.private_clean, weight.private_dirty];
        Self(bytes.map(|bytes| bytes / PAGE))
    }

    pub fn add(&mut self, judged: &Judged) {
        if let Some((shared, dirty)) = judged.smaps {
            self.0[usize::from(!shared) * 2 + usize::from(dirty)] += 1;
        }
    }
}

/// How the pages, counted one by one, agree with smaps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Agreement {
    pub mappings: u64,
    /// Mappings of which at least one of smaps' figures differs.
    pub differing: u64,
}
