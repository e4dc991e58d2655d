//! How long a start takes and what it costs in memory, under two dynamic linkers.
//!
//! Each is run in turn, in pairs whose order changes, so that whatever else the machine does falls on both. What counts is the
//! ratio within a pair; its median stands with the interval in which the median of endless pairs lies with 95 %.

use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde::Serialize;

use crate::output::Progress;
use crate::process::launch::{Input, Stop, Tracee, Until};
use crate::process::status::status;
use crate::process::{mappings, smaps};

/// What one process did until its last moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Cost {
    /// Page faults that memory answered, and that the disk did.
    pub minor_faults: u64,
    pub major_faults: u64,
    /// Pages that it made its own by writing. A page of a file that is newer than the disk is not among them, though smaps
    /// calls it dirty.
    pub private_dirty: u64,
    /// In pages.
    pub resident: u64,
}

/// Runs the command, holds it at its end and looks at it.
pub fn cost(command: &Command, limit: Duration) -> Result<Cost> {
    let begin = Instant::now();
    let program = command.get_program().to_string_lossy();
    let tracee = Tracee::start(command, Input::Empty)?;
    // What the shell did before it became the program does not count.
    let before = status(tracee.pid())?;
    tracee.go_on(Until::Exit)?;
    loop {
        match tracee.poll(Until::Exit)? {
            Some(Stop::Exiting(_)) => break,
            Some(Stop::Ended(how)) => anyhow::bail!("{program} {how} before it could be looked at"),
            Some(Stop::SystemCall) | None => {}
        }
        ensure!(
            begin.elapsed() < limit,
            "the program did not end within {} s: give it arguments that make it end, or more time with --limit",
            limit.as_secs()
        );
        sleep(Duration::from_millis(1));
    }
    let after = status(tracee.pid())?;
    let weight: smaps::Weight = mappings(tracee.pid())?.iter().map(|mapping| mapping.weight).sum();
    Ok(Cost {
        minor_faults: after.minor_faults.saturating_sub(before.minor_faults),
        major_faults: after.major_faults.saturating_sub(before.major_faults),
        private_dirty: weight.anonymous / crate::process::PAGE,
        resident: weight.resident / crate::process::PAGE,
    })
}

/// Times of many runs, in microseconds.
#[derive(Clone, Debug, Serialize)]
pub struct Times {
    pub median: f64,
    pub lower_quartile: f64,
    pub upper_quartile: f64,
    pub fastest: f64,
    /// In the order in which they were taken.
    pub runs: Vec<f64>,
}

/// Both sides' times, and their ratio.
#[derive(Clone, Debug, Serialize)]
pub struct Timing {
    pub pairs: usize,
    pub glibc: Times,
    pub folio: Times,
    /// Folio's time divided by glibc's, within each pair: below 1 Folio is faster.
    pub ratio: f64,
    /// The interval that holds the true median with at least 95 %.
    pub ratio_from: f64,
    pub ratio_to: f64,
}

/// As many pairs as asked for, or as fit into the time; never fewer than six, which is the least that an interval of 95 % can be
/// told from.
const FEWEST: usize = 6;

pub fn times(glibc: &Command, folio: &Command, pairs: usize, limit: Duration, progress: &Progress) -> Result<Timing> {
    ensure!(pairs >= FEWEST, "fewer than {FEWEST} pairs say nothing about the spread");
    let begin = Instant::now();
    // The first runs bring files into memory.
    for command in [glibc, folio] {
        once(command)?;
    }
    let (mut left, mut right) = (Vec::with_capacity(pairs), Vec::with_capacity(pairs));
    for pair in 0..pairs {
        if pair >= FEWEST && begin.elapsed() > limit {
            break;
        }
        if pair.is_multiple_of(8) {
            progress.say(&format!("timing, pair {} of {pairs}", pair + 1));
        }
        if pair.is_multiple_of(2) {
            left.push(once(glibc)?);
            right.push(once(folio)?);
        } else {
            right.push(once(folio)?);
            left.push(once(glibc)?);
        }
    }
    Ok(Timing::of(left, right))
}

/// Microseconds from the start to the end of one run.
fn once(command: &Command) -> Result<f64> {
    let mut run = Command::new(command.get_program());
    run.args(command.get_args());
    crate::process::launch::apply_surroundings(command, &mut run);
    run.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let begin = Instant::now();
    let mut child = run.spawn().with_context(|| format!("cannot start {}", command.get_program().to_string_lossy()))?;
    child.wait()?;
    Ok(begin.elapsed().as_secs_f64() * 1e6)
}

impl Timing {
    /// The figures of pairs of runs, of which there is at least one.
    fn of(glibc: Vec<f64>, folio: Vec<f64>) -> Self {
        let ratios = sorted(glibc.iter().zip(&folio).map(|(glibc, folio)| folio / glibc).collect());
        let (from, to) = interval(ratios.len());
        Self {
            pairs: ratios.len(),
            ratio: quantile(&ratios, 0.5),
            ratio_from: ratios[from],
            ratio_to: ratios[to],
            glibc: Times::of(glibc),
            folio: Times::of(folio),
        }
    }
}

impl Times {
    fn of(runs: Vec<f64>) -> Self {
        let ordered = sorted(runs.clone());
        Self {
            median: quantile(&ordered, 0.5),
            lower_quartile: quantile(&ordered, 0.25),
            upper_quartile: quantile(&ordered, 0.75),
            fastest: ordered.first().copied().unwrap_or(0.0),
            runs,
        }
    }
}

/// The values in ascending order.
pub fn sorted(mut values: Vec<f64>) -> Vec<f64> {
    values.sort_by(f64::total_cmp);
    values
}

/// The value below which such a part of ordered values lies: between the two nearest ones, in proportion.
pub fn quantile(ordered: &[f64], part: f64) -> f64 {
    let Some(last) = ordered.len().checked_sub(1) else { return 0.0 };
    let place = part * last as f64;
    let below = place.floor() as usize;
    let above = (below + 1).min(last);
    ordered[below] + (ordered[above] - ordered[below]) * (place - below as f64)
}

/// Which of `count` ordered values hold the median between them with at least 95 %: the number of values below it is binomial
/// with one half, whatever the distribution.
fn interval(count: usize) -> (usize, usize) {
    // log2 of the binomial coefficients, so that large counts do not overflow.
    let mut probability = vec![0.0_f64; count + 1];
    let mut logarithm = -(count as f64);
    for (k, slot) in probability.iter_mut().enumerate() {
        *slot = logarithm.exp2();
        logarithm += ((count - k) as f64 / (k + 1) as f64).log2();
    }
    let mut tail = 0.0;
    let mut from = 0;
    for (k, probability) in probability.iter().enumerate().take(count / 2) {
        tail += probability;
        if tail > 0.025 {
            break;
        }
        from = k;
    }
    (from, count.saturating_sub(1 + from))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles() {
        assert_eq!(quantile(&[1.0, 2.0, 3.0, 4.0], 0.5), 2.5);
        assert_eq!(quantile(&[1.0, 2.0, 3.0], 0.25), 1.5);
        assert_eq!(quantile(&[], 0.5), 0.0);
    }

    /// Tables of order statistics: 6 values hold the median with 96.9 %, of 20 the 6th to the 15th do with 95.9 %.
    #[test]
    fn intervals_of_the_median() {
        assert_eq!(interval(6), (0, 5));
        assert_eq!(interval(20), (5, 14));
        assert_eq!(interval(100), (39, 60));
        assert_eq!(interval(5000).0 + interval(5000).1, 4999);
    }

    #[test]
    fn a_program_costs_memory() {
        let cost = cost(&Command::new("true"), Duration::from_secs(10)).unwrap();
        assert!(cost.minor_faults > 10 && cost.private_dirty > 5 && cost.resident > cost.private_dirty, "{cost:?}");
    }

    #[test]
    fn a_program_that_does_not_end_is_an_error() {
        let mut command = Command::new("sleep");
        command.arg("100");
        let error = cost(&command, Duration::from_millis(50)).unwrap_err();
        assert!(error.to_string().contains("--limit"), "{error}");
    }

    /// Each pair stands for itself: a machine that is slow for a while is slow for both of a pair.
    #[test]
    fn ratios_are_those_of_pairs() {
        let glibc = vec![100.0, 100.0, 900.0, 100.0, 100.0, 100.0, 100.0];
        let timing = Timing::of(glibc.clone(), glibc.iter().map(|time| 1.5 * time).collect());
        assert_eq!((timing.pairs, timing.ratio, timing.ratio_from, timing.ratio_to), (7, 1.5, 1.5, 1.5));
        assert_eq!((timing.glibc.median, timing.folio.fastest, timing.folio.upper_quartile), (100.0, 150.0, 150.0));
    }

    /// How long it takes beside another program is the machine's affair.
    #[test]
    fn both_programs_are_timed_from_their_start_to_their_end() {
        let (fast, mut slow) = (Command::new("true"), Command::new("sleep"));
        slow.arg("0.02");
        let timing = times(&fast, &slow, 8, Duration::from_secs(5), &Progress::default()).unwrap();
        assert!(timing.ratio_from <= timing.ratio && timing.ratio <= timing.ratio_to);
        assert!(timing.folio.fastest >= 20_000.0 && timing.pairs == timing.folio.runs.len());
        assert!((FEWEST..=8).contains(&timing.pairs) && timing.glibc.runs.len() == timing.pairs);
    }
}
