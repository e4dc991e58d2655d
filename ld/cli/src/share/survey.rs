//! What several processes have in memory, object by object and page by page.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Range;
use std::rc::Rc;

use anyhow::{Result, ensure};
use serde::Serialize;

use super::assembly::{Assembled, Identity, Run, assemble};
use super::causes::{Memory, Reason, of_object};
use super::figures::{Agreement, Division, Figures, Rollup, Sum};
use super::frames::{Census, Judged};
use super::page::{Cause, Cell, State};
use super::snapshot::{LONGEST, Snapshot};
use crate::object::{self, Kind, Object};
use crate::process::{PAGE, Weight};

/// What several processes have in memory, and what of it is shared.
#[derive(Debug, Serialize)]
pub struct Survey {
    pub processes: Vec<Process>,
    /// Whether the kernel showed frame numbers. Without them pages of files are told apart by their place in the file.
    pub frames_visible: bool,
    /// Files by path, then memory without a file.
    pub objects: Vec<Mapped>,
    pub totals: Figures,
    pub smaps: Agreement,
    /// Mappings that were too long to be looked at page by page.
    pub unread: u64,
}

#[derive(Debug, Serialize)]
pub struct Process {
    pub pid: u32,
    pub name: String,
    /// In KiB.
    pub memory: Rollup,
    /// It did not change while it was looked at.
    pub settled: bool,
}

/// One file, or one kind of memory, as the processes have it.
#[derive(Debug, Serialize)]
pub struct Mapped {
    pub path: String,
    /// Processes that map it.
    pub mapped_by: usize,
    pub segments: Vec<Segment>,
    #[serde(skip)]
    pub object: Option<Rc<Object>>,
}

/// A run of pages of one kind.
#[derive(Debug, Serialize)]
pub struct Segment {
    pub kind: Kind,
    pub mapped_by: usize,
    /// Its length, where it is longest.
    pub pages: u64,
    /// Pages that at least one process has: the frames that it takes if no page is in memory twice.
    pub touched: u64,
    #[serde(flatten)]
    pub figures: Figures,
    /// For an ELF object the link-time address of its first page divided by the page size, for another file its first page.
    #[serde(skip)]
    pub first: u64,
    /// What each process has, in the order of the processes.
    #[serde(skip)]
    pub held: Vec<Option<Held>>,
}

impl Segment {
    /// What can be told from the cells.
    fn of(held: Vec<Option<Held>>) -> Self {
        let holders = || held.iter().flatten();
        let pages = holders().map(|held| held.cells.len()).max().unwrap_or(0);
        let has = |held: &Held, cell: usize| held.cells.get(cell).is_some_and(|cell| cell.state != State::Untouched);
        let touched = (0..pages).filter(|cell| holders().any(|held| has(held, *cell))).count();
        Self {
            kind: Kind::Anonymous,
            mapped_by: holders().count(),
            pages: pages as u64,
            touched: touched as u64,
            figures: Figures::default(),
            first: 0,
            held,
        }
    }
}

/// A segment in one process.
#[derive(Debug, Default)]
pub struct Held {
    pub cells: Vec<Cell>,
    /// Cells from which on addresses follow each other: number of the cell, its address.
    addresses: BTreeMap<usize, u64>,
    /// By cell, words that somebody other than the linker changed: offsets in the page.
    pub written: HashMap<usize, Vec<u16>>,
}

impl Held {
    /// Where the process has a cell of this segment.
    pub fn address(&self, cell: usize) -> Option<u64> {
        let (first, address) = self.addresses.range(..=cell).next_back()?;
        Some(address + (cell - first) as u64 * PAGE)
    }

    /// Pairs of a cell and its address, where stretches begin. Addresses are text: a script's numbers do not hold them.
    pub fn addresses(&self) -> serde_json::Value {
        self.addresses.iter().map(|(cell, address)| serde_json::json!([cell, address.to_string()])).collect()
    }
}

/// Whether the memory of the processes is read, to see which bytes of private pages were changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// Causes are told from the files alone.
    Tables,
    Bytes,
}

/// How often processes are looked at again when page tables and smaps belong to two moments.
const ATTEMPTS: usize = 4;

/// Looks at these processes as they are now.
pub fn survey(pids: &[u32]) -> Result<Survey> {
    ensure!(!pids.is_empty(), "no process was named");
    let distinct: HashSet<&u32> = pids.iter().collect();
    ensure!(distinct.len() == pids.len(), "a process was named twice");
    // Whether a page is shared changes with any process of the machine that comes or goes between two readings.
    for attempt in 1.. {
        let snapshots = pids.iter().map(|pid| Snapshot::take(*pid)).collect::<Result<Vec<_>>>()?;
        let survey = of_snapshots(&snapshots, Depth::Bytes);
        if survey.smaps.differing == 0 || !survey.frames_visible || attempt == ATTEMPTS {
            return Ok(survey);
        }
    }
    unreachable!("the last attempt returns")
}

/// Puts together what was seen.
pub fn of_snapshots(snapshots: &[Snapshot], depth: Depth) -> Survey {
    let census = Census::take(snapshots);
    let memories: Vec<Memory> = snapshots
        .iter()
        .map(|snapshot| if depth == Depth::Bytes { Memory::open(snapshot.pid) } else { Memory::closed() })
        .collect();
    let mut builder = Builder { snapshots, census: &census, memories, total: Sum::default() };
    let objects = assemble(snapshots).into_iter().map(|(identity, found)| builder.mapped(identity, found)).collect();
    let totals = builder.total.figures();
    let (smaps, unread) = agreement(snapshots, &census);
    let processes = snapshots.iter().map(process).collect();
    Survey { processes, frames_visible: census.frames_visible, objects, totals, smaps, unread }
}

fn process(snapshot: &Snapshot) -> Process {
    let sum: Weight = snapshot.mappings.iter().map(|mapping| mapping.weight).sum();
    let memory = Rollup::from(Weight { proportional: snapshot.proportional, ..sum });
    Process { pid: snapshot.pid, name: snapshot.name.clone(), memory, settled: snapshot.settled }
}

fn agreement(snapshots: &[Snapshot], census: &Census) -> (Agreement, u64) {
    let (mut agreement, mut unread) = (Agreement::default(), 0);
    for snapshot in snapshots {
        for (mapping, pages) in snapshot.mappings.iter().zip(&snapshot.pages) {
            if mapping.weight.resident != 0 && mapping.range.end - mapping.range.start > LONGEST {
                unread += 1;
                continue;
            }
            let mut counted = Division::default();
            for (index, page) in (0..).zip(pages) {
                if let Some(page) = page {
                    counted.add(&census.judge(mapping, index, page));
                }
            }
            agreement.mappings += 1;
            agreement.differing += u64::from(counted != Division::of(&mapping.weight));
        }
    }
    (agreement, unread)
}

struct Builder<'s> {
    snapshots: &'s [Snapshot],
    census: &'s Census,
    memories: Vec<Memory>,
    total: Sum,
}

impl Builder<'_> {
    fn mapped(&mut self, identity: Identity, found: Assembled) -> Mapped {
        let processes: HashSet<usize> = found.runs.iter().map(|run| run.process).collect();
        let plan = match &found.object {
            Some(object) => object_plan(object, &found.runs),
            None => {
                let kind = if identity.anonymous { Kind::Anonymous } else { Kind::File };
                let start = found.runs.iter().map(|run| run.page).min().unwrap_or(0);
                let end = found.runs.iter().map(|run| run.page + run.count).max().unwrap_or(start);
                vec![object::Segment { kind, pages: start..end }]
            }
        };
        let segments = plan
            .into_iter()
            .map(|segment| match segment.kind {
                Kind::Anonymous => self.memory_segment(&found.runs),
                kind => self.file_segment(kind, segment.pages, &found),
            })
            .collect::<Vec<_>>();
        // What lies between an object's segments is mapped by accident.
        let of_object = found.object.is_some();
        let counts = |segment: &Segment| !of_object || segment.kind != Kind::File || segment.figures.resident > 0;
        let segments = segments.into_iter().filter(counts).collect();
        let path = match identity.load {
            0 => identity.path,
            again => format!("{} ({})", identity.path, again + 1),
        };
        Mapped { path, mapped_by: processes.len(), segments, object: found.object }
    }

    fn judge(&self, run: &Run, index: u64) -> Option<Judged> {
        let snapshot = &self.snapshots[run.process];
        let page = snapshot.pages[run.mapping].get(usize::try_from(index).ok()?)?.as_ref()?;
        Some(self.census.judge(&snapshot.mappings[run.mapping], index, page))
    }

    /// A segment whose pages have a place in a file.
    fn file_segment(&mut self, kind: Kind, pages: Range<u64>, found: &Assembled) -> Segment {
        let mut held: Vec<Option<Held>> = (0..self.snapshots.len()).map(|_| None).collect();
        let mut sum = Sum::default();
        let length = usize::try_from(pages.end - pages.start).unwrap_or(usize::MAX);
        for run in &found.runs {
            let (from, to) = (run.page.max(pages.start), (run.page + run.count).min(pages.end));
            if from >= to {
                continue;
            }
            let held = held[run.process]
                .get_or_insert_with(|| Held { cells: vec![Cell::UNTOUCHED; length], ..Held::default() });
            let start = self.snapshots[run.process].mappings[run.mapping].range.start;
            let first = run.first + (from - run.page);
            held.addresses.insert((from - pages.start) as usize, start + first * PAGE);
            for (page, index) in (from..to).zip(first..) {
                let Some(judged) = self.judge(run, index) else { continue };
                let reason = reason(&judged, kind, page, start + index * PAGE, found, &self.memories[run.process]);
                let cell = (page - pages.start) as usize;
                held.cells[cell] = cell_of(&judged, reason.as_ref());
                if let Some(reason) = &reason
                    && !reason.written.is_empty()
                {
                    held.written.insert(cell, reason.written.clone());
                }
                let cause = reason.map(|reason| reason.cause);
                sum.add(Some(&judged), cause);
                self.total.add(Some(&judged), cause);
            }
        }
        let untouched =
            held.iter().flatten().flat_map(|held| &held.cells).filter(|cell| cell.state == State::Untouched).count();
        for _ in 0..untouched {
            sum.add(None, None);
            self.total.add(None, None);
        }
        Segment {
            kind,
            pages: pages.end - pages.start,
            figures: sum.figures(),
            first: pages.start,
            ..Segment::of(held)
        }
    }

    /// Memory without a file has no places that could be compared: each process's pages in the order of their addresses,
    /// without those that nobody used.
    fn memory_segment(&mut self, runs: &[Run]) -> Segment {
        let mut held: Vec<Option<Held>> = (0..self.snapshots.len()).map(|_| None).collect();
        let mut sum = Sum::default();
        for run in runs {
            let held = held[run.process].get_or_insert_with(Held::default);
            let start = self.snapshots[run.process].mappings[run.mapping].range.start;
            for index in run.first..run.first + run.count {
                let judged = self.judge(run, index).filter(|judged| judged.state != State::Untouched);
                let private = judged.as_ref().is_some_and(|judged| judged.state >= State::PrivateClean);
                let cause = private.then_some(Cause::Memory);
                sum.add(judged.as_ref(), cause);
                self.total.add(judged.as_ref(), cause);
                let Some(judged) = judged else { continue };
                let address = start + index * PAGE;
                if held.cells.is_empty() || held.address(held.cells.len()) != Some(address) {
                    held.addresses.insert(held.cells.len(), address);
                }
                held.cells.push(cell_of(&judged, cause.map(|cause| Reason { cause, written: Vec::new() }).as_ref()));
            }
        }
        Segment { figures: sum.figures(), ..Segment::of(held) }
    }
}

/// The object's own segments, and whatever else of the file is mapped between them.
fn object_plan(object: &Object, runs: &[Run]) -> Vec<object::Segment> {
    let mut plan = object.segments.clone();
    let covered = |page: u64| object.segments.iter().any(|segment| segment.pages.contains(&page));
    let mut rest: Vec<u64> =
        runs.iter().flat_map(|run| run.page..run.page + run.count).filter(|page| !covered(*page)).collect();
    rest.sort_unstable();
    rest.dedup();
    for gap in rest.chunk_by(|a, b| a + 1 == *b) {
        plan.push(object::Segment { kind: Kind::File, pages: gap[0]..gap[gap.len() - 1] + 1 });
    }
    plan.sort_by_key(|segment| segment.pages.start);
    plan
}

fn reason(judged: &Judged, kind: Kind, page: u64, address: u64, found: &Assembled, memory: &Memory) -> Option<Reason> {
    let because = |cause| Some(Reason { cause, written: Vec::new() });
    match judged.state {
        State::PrivateClean => because(Cause::Alone),
        State::PrivateDirty => match &found.object {
            // The file itself is newer in memory than on disk; nobody made a copy.
            Some(_) if judged.of_file => because(Cause::Alone),
            Some(object) if kind != Kind::File => Some(of_object(object, kind, page, address, memory)),
            None if judged.of_file => because(Cause::Written),
            _ => because(Cause::Unknown),
        },
        _ => None,
    }
}

fn cell_of(judged: &Judged, reason: Option<&Reason>) -> Cell {
    let frame = match judged.key {
        Some(super::frames::Key::Number(number)) => Some(number),
        _ => None,
    };
    Cell { state: judged.state, cause: reason.map(|reason| reason.cause), frame, mapped: judged.mapped }
}
