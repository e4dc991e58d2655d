//! `folio share`: which pages several processes have in memory once, and which each has for itself.
//!
//! Root sees frame numbers, so a page counts as shared exactly when two processes' page tables name the same frame.
//! An ordinary user gets smaps' division, in which *shared* means mapped by at least one other process of the whole
//! machine, be it one of these or not.

use std::collections::{BTreeMap, HashMap, HashSet};

use anyhow::{Context, Result, ensure};
use serde::Serialize;

use crate::proc::{self, FileId, Mapping, PAGE, Page, Pagemap, Weight};
use crate::table::{indented, table};

/// What several processes hold of the files that they map.
#[derive(Debug, Serialize)]
pub struct Survey {
    pub processes: Vec<u32>,
    /// By path, each object's segments in address order.
    pub segments: Vec<Segment>,
}

/// One kind of segment of one file, added up over all processes.
#[derive(Debug, Serialize)]
pub struct Segment {
    pub file: String,
    pub kind: Kind,
    /// How many of the processes map it.
    pub mapped_by: usize,
    /// Its length in pages, where it is longest.
    pub pages: u64,
    pub memory: Memory,
}

/// What a segment is for, told from its mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    Text,
    Constants,
    /// Written while the program was linked, read-only since (`PT_GNU_RELRO`).
    Sealed,
    Data,
}

/// Where a segment's resident pages are. All figures are pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Memory {
    Frames(Frames),
    Smaps(Smaps),
}

/// What the page tables say (pagemap).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Frames {
    /// Pages that at least one of the processes has touched.
    pub resident: u64,
    /// Page table entries of all processes together: the frames that it would take if nothing were shared.
    pub entries: u64,
    /// The frames that it takes.
    pub frames: u64,
    /// Of these, pages that all processes have, in one and the same frame.
    pub one_frame_in_all: u64,
    /// Pages that two or more processes have in one frame, and the others not, or not there.
    pub one_frame_in_some: u64,
    /// Frames that still hold the file's bytes and that one process alone has touched.
    pub alone_clean: u64,
    /// Frames that one process made for itself by writing.
    pub own_copies: u64,
}

/// What smaps says, added up over the processes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Smaps {
    pub shared_clean: u64,
    pub shared_dirty: u64,
    pub private_clean: u64,
    pub private_dirty: u64,
    /// Of these pages, those that no longer hold the file's bytes: copies that a process made by writing.
    pub own_copies: u64,
}

impl Kind {
    fn of(mapping: &Mapping) -> Self {
        match (mapping.executable(), mapping.writable(), mapping.was_writable) {
            (true, _, _) => Self::Text,
            (_, true, _) => Self::Data,
            (_, _, true) => Self::Sealed,
            _ => Self::Constants,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Constants => "constants",
            Self::Sealed => "sealed data",
            Self::Data => "data",
        }
    }
}

impl Memory {
    /// Pages that a process made its own by writing.
    pub fn own_copies(&self) -> u64 {
        match self {
            Self::Frames(frames) => frames.own_copies,
            Self::Smaps(smaps) => smaps.own_copies,
        }
    }
}

impl Frames {
    /// Counts one page of a file, as each process that has it sees it.
    fn add(&mut self, processes: usize, seen: &[(Page, u64)]) {
        self.resident += 1;
        self.entries += seen.len() as u64;
        let mut by_frame: HashMap<u64, (usize, bool)> = HashMap::new();
        for (page, frame) in seen {
            by_frame.entry(*frame).or_insert((0, page.of_file)).0 += 1;
        }
        self.frames += by_frame.len() as u64;
        let most = by_frame.values().map(|(count, _)| *count).max().unwrap_or(0);
        if most == processes && processes > 1 {
            self.one_frame_in_all += 1;
        } else if most > 1 {
            self.one_frame_in_some += 1;
        }
        for (count, of_file) in by_frame.into_values() {
            match (count, of_file) {
                (1, true) => self.alone_clean += 1,
                (1, false) => self.own_copies += 1,
                _ => {}
            }
        }
    }
}

impl Smaps {
    fn add(&mut self, weight: &Weight) {
        self.shared_clean += weight.shared_clean / PAGE;
        self.shared_dirty += weight.shared_dirty / PAGE;
        self.private_clean += weight.private_clean / PAGE;
        self.private_dirty += weight.private_dirty / PAGE;
        self.own_copies += weight.anonymous / PAGE;
    }
}

/// A segment while it is added up.
#[derive(Default)]
struct Sum {
    first: u64,
    pages: Vec<u64>,
    mapped_by: HashSet<u32>,
    weight: Smaps,
    /// By page of the object: what each process that has the page sees there.
    positions: BTreeMap<u64, Vec<Page>>,
}

/// Looks at these processes as they are now.
pub fn survey(processes: &[u32]) -> Result<Survey> {
    ensure!(!processes.is_empty(), "no process was named");
    let distinct: HashSet<&u32> = processes.iter().collect();
    ensure!(distinct.len() == processes.len(), "a process was named twice");
    let mut sums: BTreeMap<(String, FileId, Kind), Sum> = BTreeMap::new();
    for &pid in processes {
        let pagemap = Pagemap::open(pid)?;
        let mappings = proc::mappings(pid).with_context(|| format!("cannot look into process {pid}"))?;
        // A page is known by its distance from the lowest mapping of its file, which is the same in every process.
        let mut lowest: HashMap<FileId, u64> = HashMap::new();
        for mapping in &mappings {
            let Some(file) = &mapping.file else { continue };
            let base = *lowest.entry(file.clone()).or_insert(mapping.range.start);
            let first = mapping.range.start - base;
            let sum = sums
                .entry((mapping.path.clone(), file.clone(), Kind::of(mapping)))
                .or_insert_with(|| Sum { first, ..Sum::default() });
            if sum.mapped_by.insert(pid) {
                sum.pages.push(0);
            }
            *sum.pages.last_mut().context("a mapping process has a count")? += mapping.pages();
            sum.weight.add(&mapping.weight);
            for (number, page) in (first / PAGE..).zip(pagemap.pages(&mapping.range)?) {
                if let Some(page) = page {
                    sum.positions.entry(number).or_default().push(page);
                }
            }
        }
    }
    // One hidden frame number means that the kernel hides them all.
    let frames_visible =
        sums.values().flat_map(|sum| sum.positions.values().flatten()).all(|page| page.frame.is_some());
    let mut ordered: Vec<_> = sums.into_iter().collect();
    ordered.sort_by(|((a, _, _), x), ((b, _, _), y)| (a, x.first).cmp(&(b, y.first)));
    let segments = ordered
        .into_iter()
        .map(|((file, _, kind), sum)| Segment {
            file,
            kind,
            mapped_by: sum.mapped_by.len(),
            pages: sum.pages.iter().copied().max().unwrap_or(0),
            memory: if frames_visible {
                Memory::Frames(count(processes.len(), &sum))
            } else {
                Memory::Smaps(sum.weight)
            },
        })
        .collect();
    Ok(Survey { processes: processes.to_vec(), segments })
}

fn count(processes: usize, sum: &Sum) -> Frames {
    let mut frames = Frames::default();
    for pages in sum.positions.values() {
        let seen: Vec<_> = pages.iter().filter_map(|page| Some((*page, page.frame?))).collect();
        frames.add(processes, &seen);
    }
    frames
}

impl Survey {
    /// Whether the kernel showed frame numbers.
    pub fn frames_visible(&self) -> bool {
        self.segments.iter().all(|segment| matches!(segment.memory, Memory::Frames(_)))
    }

    /// The survey as a table, with a sentence that says what its columns mean.
    pub fn text(&self, indent: usize) -> String {
        let margin = " ".repeat(indent);
        let count = self.processes.len();
        let (heads, note): (&[&str], String) = if self.frames_visible() {
            (
                &[
                    "file",
                    "segment",
                    ">pages",
                    ">resident",
                    ">one frame in all",
                    ">in some",
                    ">alone, clean",
                    ">own copies",
                ],
                format!(
                    "Pages of 4 KiB; {count} processes. \"One frame in all\": every process's page table names the same \
                     physical frame.\n{margin}\"Alone\" and \"own copies\" count frames: the file's bytes that one process \
                     alone touched, and copies made by writing.\n"
                ),
            )
        } else {
            (
                &[
                    "file",
                    "segment",
                    ">pages",
                    ">shared clean",
                    ">shared dirty",
                    ">private clean",
                    ">private dirty",
                    ">own copies",
                ],
                format!(
                    "Pages of 4 KiB, added up over {count} processes, as smaps divides them. Root would also see frame \
                     numbers,\n{margin}and so which pages are one frame in all of these processes.\n"
                ),
            )
        };
        let mut rows = table(heads);
        for segment in &self.segments {
            let figures = match segment.memory {
                Memory::Frames(f) => {
                    vec![f.resident, f.one_frame_in_all, f.one_frame_in_some, f.alone_clean, f.own_copies]
                }
                Memory::Smaps(s) => {
                    vec![s.shared_clean, s.shared_dirty, s.private_clean, s.private_dirty, s.own_copies]
                }
            };
            let words = [segment.file.clone(), segment.kind.name().to_owned(), segment.pages.to_string()];
            rows.add_row(words.into_iter().chain(figures.iter().map(u64::to_string)));
        }
        format!("{}\n{margin}{note}", indented(&rows, indent))
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command, Stdio};

    use super::*;

    fn page(frame: u64, of_file: bool) -> (Page, u64) {
        (Page { frame: Some(frame), of_file }, frame)
    }

    #[test]
    fn each_way_to_hold_a_page_is_counted_once() {
        let mut frames = Frames::default();
        frames.add(3, &[page(7, true), page(7, true), page(7, true)]);
        frames.add(3, &[page(8, true), page(8, true)]);
        frames.add(3, &[page(9, true)]);
        frames.add(3, &[page(10, false), page(11, false), page(12, true)]);
        let expected = Frames {
            resident: 4,
            entries: 9,
            frames: 6,
            one_frame_in_all: 1,
            one_frame_in_some: 1,
            alone_clean: 2,
            own_copies: 2,
        };
        assert_eq!(frames, expected);
    }

    #[test]
    fn one_process_shares_with_nobody() {
        let mut frames = Frames::default();
        frames.add(1, &[page(7, true)]);
        assert_eq!(frames, Frames { resident: 1, entries: 1, frames: 1, alone_clean: 1, ..Frames::default() });
    }

    /// A process that waits until its standard input is closed; killed when the test ends.
    struct Cat(Child);

    impl Cat {
        fn start() -> Self {
            use std::io::{Read, Write};
            let mut child =
                Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("cat starts");
            child.stdin.as_mut().expect("piped").write_all(b"x").expect("cat reads");
            child.stdout.as_mut().expect("piped").read_exact(&mut [0]).expect("cat answers");
            Self(child)
        }
    }

    impl Drop for Cat {
        fn drop(&mut self) {
            drop(self.0.kill());
            drop(self.0.wait());
        }
    }

    #[test]
    fn two_processes_share_text_and_own_their_data() {
        let cats = [Cat::start(), Cat::start()];
        let survey = survey(&cats.each_ref().map(|cat| cat.0.id())).unwrap();
        let libc = |kind| {
            let found =
                survey.segments.iter().find(|segment| segment.file.ends_with("/libc.so.6") && segment.kind == kind);
            found.unwrap_or_else(|| panic!("libc has {kind:?}: {survey:?}"))
        };
        match (libc(Kind::Text).memory, libc(Kind::Data).memory) {
            (Memory::Frames(text), Memory::Frames(data)) => {
                assert!(text.one_frame_in_all > 0 && text.own_copies == 0, "{text:?}");
                assert!(data.own_copies >= 2, "{data:?}");
            }
            (Memory::Smaps(text), Memory::Smaps(data)) => {
                assert!(text.shared_clean > 0 && text.own_copies == 0, "{text:?}");
                assert!(data.own_copies >= 2, "{data:?}");
            }
            mixed => panic!("two kinds of figures in one survey: {mixed:?}"),
        }
        assert!(survey.text(2).contains("libc.so.6"));
    }

    #[test]
    fn a_process_named_twice_is_refused() {
        let own = std::process::id();
        assert!(survey(&[own, own]).is_err());
        assert!(survey(&[]).is_err());
    }
}
