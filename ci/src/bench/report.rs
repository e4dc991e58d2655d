//! What a benchmark found: ratios above 1 mean that Folio is faster.
//!
//! A CPUID instruction is an exit to the hypervisor in a virtual machine and costs next to nothing elsewhere, so each ratio is
//! given twice: as measured, and CPUID-neutral, where each side is spared what its CPUID instructions took.

use folio::compare::measure::{quantile, sorted};
use folio::draw::grouped;
use folio::table::{indented, table};
use serde::Serialize;

use super::cost::Cost;
use super::machine::Machine;
use super::trial::{Counted, Times, Trial, Way};

/// How far two copies under the same linker may be apart before a measurement means nothing.
pub const TOLERANCE: f64 = 0.03;

/// The least CPUID-neutral ratios of linking, over all workloads, and of whole runs of a closure to musl's linker.
const LINK_TARGET: f64 = 1.5;
const MUSL_TARGET: f64 = 2.0;
const MUSL: &str = "musl";

#[derive(Debug, Serialize)]
pub struct Report {
    pub machine: Machine,
    /// Each way of each workload ran so often.
    pub rounds: usize,
    /// Gives the same orders again.
    pub seed: u64,
    pub cpuid: Cpuid,
    /// The geometric mean of the rows' own: one copy under glibc's linker to another.
    pub control: f64,
    pub rows: Vec<Row>,
    /// The geometric mean of the CPUID-neutral ratios of linking.
    pub link: f64,
}

/// CPUID instructions: the time that one takes, and how many a start of hello executes.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Cpuid {
    pub microseconds: f64,
    pub glibc: u64,
    pub folio: u64,
    pub musl: Option<u64>,
    pub static_pie: Option<u64>,
}

#[derive(Debug, Serialize)]
pub struct Row {
    pub workload: &'static str,
    pub program: String,
    pub arguments: Vec<String>,
    /// From the request for a process to its end.
    pub full: Versus,
    /// From exec to the program's first instruction, less what the kernel alone takes.
    pub link: Versus,
    /// The least CPUID-neutral ratio of whole runs.
    pub target: f64,
    /// The time of one copy under glibc's linker to that of another.
    pub control: f64,
    /// How often the row was measured until the two agreed, or the attempts were used up.
    pub attempts: usize,
    pub glibc: Side,
    pub folio: Side,
    pub others: Vec<Other>,
    /// A static program that only exits, started in turn with this one.
    pub empty: Option<Times>,
}

#[derive(Clone, Copy, Debug, Serialize)]
pub struct Versus {
    pub glibc: Times,
    pub folio: Times,
    /// Of the medians.
    pub ratio: f64,
    /// Of the 10th percentiles.
    pub ratio_tenth: f64,
    /// Of the medians, without CPUID.
    pub neutral: f64,
}

#[derive(Debug, Serialize)]
pub struct Side {
    #[serde(flatten)]
    pub cost: Cost,
    /// The median of what getrusage(2) says: pages that came by a fault or by request.
    pub minor_faults: f64,
    /// The median of page faults alone, if the kernel counts them.
    pub page_faults: Option<f64>,
}

/// Another way to start the same program.
#[derive(Debug, Serialize)]
pub struct Other {
    pub way: &'static str,
    pub full: Times,
    /// Of the medians.
    pub ratio: f64,
    pub neutral: f64,
}

impl Cpuid {
    fn neutral(&self, other: (Times, u64), folio: Times) -> f64 {
        let spared = |times: Times, count: u64| times.median - self.microseconds * count as f64;
        spared(other.0, other.1) / spared(folio, self.folio)
    }

    fn versus(&self, glibc: Times, folio: Times) -> Versus {
        Versus {
            glibc,
            folio,
            ratio: glibc.median / folio.median,
            ratio_tenth: glibc.tenth / folio.tenth,
            neutral: self.neutral((glibc, self.glibc), folio),
        }
    }
}

impl Row {
    fn of(trial: &Trial, cpuid: &Cpuid) -> Self {
        let times = |way| trial.times(way).unwrap_or_default();
        let (folio, exec) = (times(Way::Folio), times(Way::Exec));
        let side = |Counted { cost, page_faults }, way| {
            let minor_faults = trial.faults(way).unwrap_or_default();
            Side { cost, minor_faults, page_faults }
        };
        let other = |(way, name, count): (Way, &'static str, Option<u64>)| {
            let full = trial.times(way)?;
            let neutral = cpuid.neutral((full, count?), folio);
            Some(Other { way: name, full, ratio: full.median / folio.median, neutral })
        };
        let others = [(Way::Musl, MUSL, cpuid.musl), (Way::StaticPie, "static-PIE", cpuid.static_pie)];
        Self {
            workload: trial.workload.name,
            program: trial.workload.program.display().to_string(),
            arguments: trial.workload.arguments.clone(),
            full: cpuid.versus(times(Way::Glibc), folio),
            link: cpuid.versus(times(Way::GlibcLink).less(exec), times(Way::FolioLink).less(exec)),
            target: trial.workload.target,
            control: trial.control(),
            attempts: trial.attempt,
            glibc: side(trial.glibc, Way::Glibc),
            folio: side(trial.folio, Way::Folio),
            others: others.into_iter().filter_map(other).collect(),
            empty: trial.times(Way::Empty),
        }
    }

    fn is_void(&self) -> bool {
        (self.control - 1.0).abs() > TOLERANCE
    }

    fn misses(&self) -> bool {
        self.full.neutral < self.target
    }
}

impl Report {
    pub fn of(machine: Machine, (rounds, seed): (usize, u64), mut cpuid: Cpuid, trials: &[Trial]) -> Self {
        let times: Vec<f64> = trials.iter().flat_map(|trial| trial.cpuid.iter().copied()).collect();
        cpuid.microseconds = quantile(&sorted(times), 0.5);
        let rows: Vec<Row> = trials.iter().map(|trial| Row::of(trial, &cpuid)).collect();
        let control = mean(rows.iter().map(|row| row.control));
        let link = mean(rows.iter().map(|row| row.link.neutral));
        Self { machine, rounds, seed, cpuid, control, rows, link }
    }

    /// Why the measurement means nothing, if it does.
    pub fn void(&self) -> Option<String> {
        let rows: Vec<&str> = self.rows.iter().filter(|row| row.is_void()).map(|row| row.workload).collect();
        let all = (self.control - 1.0).abs() > TOLERANCE;
        (all || !rows.is_empty()).then(|| {
            format!(
                "void: two copies of the same program under the same linker took times more than {} % apart ({}); is the \
                 machine busy?",
                TOLERANCE * 100.0,
                if all { "over all rows".to_owned() } else { rows.join(", ") }
            )
        })
    }

    /// What is short of its target: times, and pages and faults that glibc's linker does not cost.
    pub fn missed(&self) -> Vec<String> {
        let mut missed = Vec::new();
        for row in &self.rows {
            if row.misses() {
                missed.push(format!("{} {:.2} of {:.2}", row.workload, row.full.neutral, row.target));
            }
            let musl = row.others.iter().find(|other| other.way == MUSL && row.workload != "hello");
            if let Some(musl) = musl.filter(|musl| musl.neutral < MUSL_TARGET) {
                missed.push(format!("{} against musl's linker {:.2} of {MUSL_TARGET:.2}", row.workload, musl.neutral));
            }
            let Row { workload, glibc, folio, .. } = row;
            if folio.minor_faults > glibc.minor_faults {
                missed.push(format!("{workload} {} pages brought in of {}", folio.minor_faults, glibc.minor_faults));
            }
            if let (Some(now), Some(allowed)) = (folio.page_faults, glibc.page_faults)
                && now > allowed
            {
                missed.push(format!("{workload} {now} page faults of {allowed}"));
            }
            let (now, allowed) = (folio.cost.private_dirty, glibc.cost.private_dirty);
            if now > allowed {
                missed.push(format!("{workload} {now} dirty pages of {allowed}"));
            }
        }
        if self.link < LINK_TARGET {
            missed.push(format!("linking {:.2} of {LINK_TARGET:.2}", self.link));
        }
        missed
    }

    pub fn text(&self) -> String {
        let machine = &self.machine;
        let others = self.others_text();
        let missed = self.missed();
        let verdict = if missed.is_empty() {
            "Every target is met.".to_owned()
        } else {
            format!("Short of the target: {}.", missed.join("; "))
        };
        format!(
            "{}, {}, kernel {}, {}. {} runs each on processor {}{}; load {} at the start and {} at the end.\n\
             One CPUID instruction takes {:.2} µs; a start of hello executes {} under glibc's linker and {} under Folio.\n\
             Ratios are glibc's time to Folio's: above 1 Folio is faster. FULL is from the request for a process to its end; LINK is \
             from exec\nto the program's first instruction, less what exec alone takes.\n\n{}\n{}\n{others}\n{verdict}\n",
            machine.date,
            machine.processor,
            machine.kernel,
            machine.system,
            self.rounds,
            machine.pinned_to,
            if machine.real_time { " with real-time priority" } else { "" },
            machine.load_before,
            machine.load_after,
            self.cpuid.microseconds,
            self.cpuid.glibc,
            self.cpuid.folio,
            self.times_text(),
            self.costs_text(),
        )
    }

    fn times_text(&self) -> String {
        let mut rows = table(&[
            "median µs",
            ">FULL glibc",
            ">Folio",
            ">raw",
            ">10th pct",
            ">neutral",
            ">target",
            ">LINK glibc",
            ">Folio",
            ">raw",
            ">neutral",
            ">A/A",
        ]);
        for row in &self.rows {
            let mut cells = vec![row.workload.to_owned()];
            let Versus { glibc, folio, ratio, ratio_tenth, neutral } = row.full;
            cells.extend([micro(glibc.median), micro(folio.median)]);
            cells.extend([ratio, ratio_tenth, neutral].map(two));
            cells.push(format!("{}{:.2}", if row.misses() { "< " } else { "" }, row.target));
            let Versus { glibc, folio, ratio, neutral, .. } = row.link;
            cells.extend([micro(glibc.median), micro(folio.median), two(ratio), two(neutral)]);
            cells.push(format!("{}{:.3}", if row.is_void() { "void " } else { "" }, row.control));
            rows.add_row(cells);
        }
        let mut last = vec!["A/A; geometric means".to_owned()];
        let full = |ratio: fn(&Versus) -> f64| two(mean(self.rows.iter().map(|row| ratio(&row.full))));
        last.extend([String::new(), String::new()]);
        last.extend([full(|full| full.ratio), full(|full| full.ratio_tenth), full(|full| full.neutral)]);
        last.extend([String::new(), String::new(), String::new()]);
        last.extend([two(mean(self.rows.iter().map(|row| row.link.ratio))), two(self.link)]);
        last.push(format!("{:.3}", self.control));
        rows.add_row(last);
        indented(&rows, 0)
    }

    fn costs_text(&self) -> String {
        let mut rows = table(&[
            "whole runs",
            ">system calls: glibc",
            ">Folio",
            ">page faults: glibc",
            ">Folio",
            ">pages brought in: glibc",
            ">Folio",
            ">dirty file pages: glibc",
            ">Folio",
        ]);
        for Row { workload, glibc, folio, .. } in &self.rows {
            let whole = |faults: f64| grouped(faults.round() as u64);
            let counted = |side: &Side| side.page_faults.map_or("not counted".to_owned(), whole);
            rows.add_row([
                (*workload).to_owned(),
                grouped(glibc.cost.system_calls),
                grouped(folio.cost.system_calls),
                counted(glibc),
                counted(folio),
                whole(glibc.minor_faults),
                whole(folio.minor_faults),
                grouped(glibc.cost.private_dirty),
                grouped(folio.cost.private_dirty),
            ]);
        }
        indented(&rows, 0)
    }

    /// Other ways to start the same programs; nothing when none was measured.
    fn others_text(&self) -> String {
        let mut rows = table(&["FULL, median µs", "other way", ">its time", ">Folio's", ">raw", ">neutral"]);
        for row in &self.rows {
            for Other { way, full, ratio, neutral } in &row.others {
                let folio = micro(row.full.folio.median);
                rows.add_row([row.workload, way, &micro(full.median), &folio, &two(*ratio), &two(*neutral)]);
            }
            if let Some(empty) = row.empty {
                let folio = micro(row.full.folio.median);
                rows.add_row([row.workload, "empty static", &micro(empty.median), &folio, "", ""]);
            }
        }
        if rows.row_count() == 0 { String::new() } else { indented(&rows, 0) }
    }
}

fn two(ratio: f64) -> String {
    format!("{ratio:.2}")
}

fn micro(time: f64) -> String {
    grouped(time.round().max(0.0) as u64)
}

/// The geometric mean.
fn mean(ratios: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = ratios.fold((0.0, 0), |(sum, count), ratio| (sum + ratio.ln(), count + 1));
    if count == 0 { 1.0 } else { (sum / f64::from(count)).exp() }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// A report of one workload with these CPUID-neutral ratio and control.
    pub fn sample(neutral: f64, control: f64) -> Report {
        let times = Times { median: 1000.0, tenth: 900.0 };
        let versus = Versus { glibc: times, folio: times, ratio: 1.0, ratio_tenth: 1.0, neutral };
        let cost = Cost { system_calls: 30, private_dirty: 12 };
        let side = || Side { cost, minor_faults: 56.0, page_faults: Some(50.0) };
        let row = Row {
            workload: "a <closure>",
            program: "/usr/bin/true".to_owned(),
            arguments: Vec::new(),
            full: versus,
            link: Versus { neutral: 2.0, ..versus },
            target: 1.2,
            control,
            attempts: 1,
            glibc: side(),
            folio: side(),
            others: vec![Other { way: MUSL, full: times, ratio: 1.0, neutral: 2.5 }],
            empty: None,
        };
        Report {
            machine: Machine::default(),
            rounds: 51,
            seed: 1,
            cpuid: Cpuid::default(),
            control: 1.0,
            rows: vec![row],
            link: 2.0,
        }
    }

    #[test]
    fn a_control_that_is_off_voids_the_measurement() {
        assert_eq!(sample(1.0, 1.029).void(), None);
        for control in [0.96, 1.031] {
            let report = sample(1.0, control);
            assert!(report.void().is_some_and(|void| void.contains("a <closure>")), "{control}");
            assert!(report.text().contains(&format!("void {control:.3}")), "{}", report.text());
        }
    }

    #[test]
    fn each_target_can_be_missed() {
        assert_eq!(sample(1.2, 1.0).missed(), Vec::<String>::new());
        assert!(sample(1.2, 1.0).text().contains("Every target is met."));
        let mut report = sample(1.19, 1.0);
        report.link = 1.4;
        report.rows[0].folio.minor_faults += 1.0;
        report.rows[0].folio.page_faults = Some(51.0);
        report.rows[0].folio.cost.private_dirty += 1;
        report.rows[0].others[0].neutral = 1.9;
        let expected = [
            "a <closure> 1.19 of 1.20",
            "a <closure> against musl's linker 1.90 of 2.00",
            "a <closure> 57 pages brought in of 56",
            "a <closure> 51 page faults of 50",
            "a <closure> 13 dirty pages of 12",
            "linking 1.40 of 1.50",
        ];
        assert_eq!(report.missed(), expected);
    }

    #[test]
    fn a_neutral_ratio_spares_each_side_its_own_cpuid() {
        let cpuid = Cpuid { microseconds: 2.0, glibc: 50, folio: 10, ..Cpuid::default() };
        let times = |median| Times { median, tenth: median / 2.0 };
        let versus = cpuid.versus(times(500.0), times(220.0));
        assert_eq!((versus.ratio, versus.ratio_tenth, versus.neutral), (500.0 / 220.0, 500.0 / 220.0, 2.0));
    }

    #[test]
    fn the_mean_is_geometric() {
        assert!((mean([4.0, 1.0].into_iter()) - 2.0).abs() < 1e-9);
        assert_eq!(mean(std::iter::empty()), 1.0);
    }
}
