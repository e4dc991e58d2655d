//! What `folio share` counts, compared with what the kernel says to somebody else.

use std::os::unix::process::CommandExt;
use std::process::Command;

use serde_json::Value;

use crate::pagemap::{Waiting, common, pids, ranges, rollup};
use crate::workshop::{Workshop, folio, json, run, said};

/// The user that owns nothing.
const NOBODY: u32 = 65534;

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn pythons() -> Vec<Waiting> {
    let python = || {
        let mut command = Command::new("/usr/bin/python3");
        // Started in turn, so that each finds the pages that the one before it has used.
        command.args(["-I", "-c", "import json, sys; print(flush=True); sys.stdin.read()"]);
        Waiting::start(&mut command)
    };
    (0..4).map(|_| python()).collect()
}

fn segments<'v>(survey: &'v Value, file: &str, kind: &str) -> Vec<&'v Value> {
    let objects = survey["objects"].as_array().unwrap();
    let object = objects.iter().find(|object| object["path"].as_str().unwrap().ends_with(file));
    let segments = object.unwrap_or_else(|| panic!("no {file}: {survey}"))["segments"].as_array().unwrap();
    segments.iter().filter(|segment| segment["kind"] == kind).collect()
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("no number: {value}"))
}

/// Sum of a figure over all segments.
fn sum(survey: &Value, figure: &str) -> u64 {
    let objects = survey["objects"].as_array().unwrap();
    objects
        .iter()
        .flat_map(|object| object["segments"].as_array().unwrap())
        .map(|segment| number(&segment[figure]))
        .sum()
}

#[test]
fn frames_of_four_pythons_are_those_of_their_page_tables() {
    let processes = pythons();
    // What is shared changes with every process of the machine that comes or goes between two readings.
    let kernel = || -> Vec<u64> {
        let lines = ["Rss:", "Private_Clean:", "Private_Dirty:"];
        processes.iter().flat_map(|process| lines.map(|line| rollup(process.pid(), line))).collect()
    };
    let told = |survey: &Value| -> Vec<u64> {
        let processes = survey["processes"].as_array().unwrap().iter();
        processes
            .flat_map(|told| ["rss", "private_clean", "private_dirty"].map(|name| number(&told["memory"][name])))
            .collect()
    };
    // A process that comes and goes again in the middle of a survey is seen by neither reading of the kernel's.
    let mut last = String::new();
    let (survey, figures) = (0..20)
        .find_map(|_| {
            let before = kernel();
            let survey = json(&folio(["share", "--json", &pids(&processes)]), 0);
            last = format!("{:?} told, {before:?} before, {:?} after", told(&survey), kernel());
            (before == kernel() && before == told(&survey)).then_some((survey, before))
        })
        .unwrap_or_else(|| panic!("in none of twenty tries the figures are the kernel's: {last}"));
    assert_eq!(survey["frames_visible"], is_root());
    assert_eq!(survey["smaps"]["differing"], 0, "{}", survey["smaps"]);

    let text = segments(&survey, "/libc.so.6", "text");
    let in_all: u64 = text.iter().map(|segment| number(&segment["in_all"])).sum();
    let pages: u64 =
        ranges(processes[0].pid(), "r-xp", "/libc.so.6").iter().map(|(start, end)| (end - start) / 4096).sum();
    assert_eq!(text.iter().map(|segment| number(&segment["pages"])).sum::<u64>(), pages);
    assert!(in_all > 20, "{in_all}");
    if is_root() {
        assert_eq!(in_all, common(&processes, "r-xp", "/libc.so.6").len() as u64);
    }

    // The kernel's own sums.
    let private_dirty: u64 = figures.chunks(3).map(|figures| figures[2]).sum();
    let counted = number(&survey["totals"]["private_dirty"]) * 4;
    assert!(counted.abs_diff(private_dirty) * 100 <= private_dirty, "{counted} and {private_dirty}");
    let rss: u64 = figures.chunks(3).map(|figures| figures[0]).sum();
    assert_eq!(number(&survey["totals"]["resident"]) * 4, rss);
    assert!(survey["processes"].as_array().unwrap().iter().all(|told| told["name"] == "python3"), "{survey}");
}

#[test]
fn every_frame_stands_in_one_column() {
    let processes = [Waiting::cat(None), Waiting::cat(None), Waiting::cat(None)];
    let survey = json(&folio(["share", "--json", &pids(&processes)]), 0);
    for object in survey["objects"].as_array().unwrap() {
        for segment in object["segments"].as_array().unwrap() {
            let columns = ["in_all", "in_several", "with_others", "private_clean", "private_dirty"];
            let frames: u64 = columns.iter().map(|column| number(&segment[column])).sum();
            assert_eq!(frames, number(&segment["frames"]), "{segment}");
            if segment["kind"] != "anonymous" {
                let cells = number(&segment["pages"]) * number(&segment["mapped_by"]);
                assert_eq!(number(&segment["resident"]) + number(&segment["untouched"]), cells, "{segment}");
            }
        }
    }
    assert_eq!(sum(&survey, "resident"), number(&survey["totals"]["resident"]));
    let text: u64 = segments(&survey, "/cat", "text").iter().map(|text| number(&text["private_dirty"])).sum();
    assert_eq!(text, 0, "nobody writes to text");
    let bss = segments(&survey, "/libc.so.6", "bss");
    assert!(bss.iter().all(|bss| number(&bss["private_dirty"]) >= 3 && number(&bss["in_all"]) == 0), "{bss:?}");

    let output = folio(["share", &pids(&processes)]);
    let table = said(&output, 0);
    for words in ["in all 3", "private dirty", "libc.so.6", "relro", "all together", "smaps gives the same figures"] {
        assert!(table.contains(words), "{words}: {table}");
    }
}

/// After a fork, parent and child have one frame for all that neither has written since.
#[test]
fn memory_is_common_after_a_fork() {
    let shop = Workshop::new("fork");
    let program = shop.compile(
        "#include <stdio.h>\n#include <stdlib.h>\n#include <string.h>\n#include <unistd.h>\n\
         int main(void) {\n\
           char *memory = aligned_alloc(4096, 200 * 4096);\n\
           memset(memory, 1, 200 * 4096);\n\
           int child = fork();\n\
           if (child == 0) { memset(memory, 2, 50 * 4096); printf(\"%d\\n\", getppid()); fflush(stdout); }\n\
           pause();\n\
         }\n",
        "fork",
        &[],
    );
    let parent = Waiting::start(&mut Command::new(program));
    let child: u32 = {
        let children = format!("/proc/{0}/task/{0}/children", parent.pid());
        std::fs::read_to_string(children).unwrap().trim().parse().unwrap()
    };
    let survey = json(&folio(["share", "--json", &format!("--pid={},{child}", parent.pid())]), 0);
    drop(run(Command::new("kill").arg(child.to_string())));
    let memory =
        survey["objects"].as_array().unwrap().iter().filter(|object| object["path"].as_str().unwrap().starts_with('['));
    let figures: Vec<&Value> = memory.flat_map(|object| object["segments"].as_array().unwrap()).collect();
    let total = |name: &str| figures.iter().map(|segment| number(&segment[name])).sum::<u64>();
    if is_root() {
        assert!((150..200).contains(&total("in_all")), "{figures:?}");
        assert!(total("private_dirty") >= 50 && survey["smaps"]["differing"] == 0, "{figures:?}");
    } else {
        assert!(total("with_others") >= 150, "{figures:?}");
    }
}

#[test]
fn programs_are_started_and_looked_at() {
    // One that waits, and one that ends.
    let waits = json(&folio(["share", "-n", "3", "--json", "cat"]), 0);
    let ends = json(&folio(["share", "-n", "2", "--json", "--", "sh", "-c", "exit 3"]), 0);
    for (survey, count, note) in [(&waits, 3, "looked at while it waits"), (&ends, 2, "it exited, with status 3")] {
        assert_eq!(survey["processes"].as_array().unwrap().len(), count);
        assert!(survey["notes"][0].as_str().unwrap().contains(note), "{}", survey["notes"]);
        assert_eq!(survey["smaps"]["differing"], 0, "{}", survey["smaps"]);
        assert!(!segments(survey, "/libc.so.6", "text").is_empty());
        // They are gone.
        for process in survey["processes"].as_array().unwrap() {
            assert!(!std::fs::exists(format!("/proc/{}", process["pid"])).unwrap());
        }
    }
    let busy = json(&folio(["share", "-n", "1", "--wait", "0", "--json", "--", "sh", "-c", "while :; do :; done"]), 0);
    assert!(busy["notes"][0].as_str().unwrap().contains("while it ran"), "{}", busy["notes"]);
}

#[test]
fn the_whole_machine_is_surveyed() {
    let cat = Waiting::cat(None);
    let output = folio(["share", "--all", "--json"]);
    let survey = json(&output, 0);
    let processes = survey["processes"].as_array().unwrap();
    assert!(processes.iter().any(|process| process["pid"] == cat.pid()));
    assert!(processes.len() >= 2, "this test runs too");
    assert!(number(&survey["totals"]["frames"]) < number(&survey["totals"]["resident"]));
    assert!(said(&folio(["share", "--all", "--files"]), 0).contains("libc.so.6"));
}

/// What somebody without rights sees of his own processes, and of those of others.
#[test]
fn an_ordinary_user_sees_his_own_processes() {
    if !is_root() {
        // Then all other tests of this file are this one.
        return;
    }
    let shop = Workshop::new("nobody");
    let command = shop.copy(env!("CARGO_BIN_EXE_folio"), "folio");
    let as_nobody = |arguments: &[&str]| run(Command::new(&command).args(arguments).uid(NOBODY).gid(NOBODY));
    let cats = [Waiting::cat(Some(NOBODY)), Waiting::cat(Some(NOBODY))];
    let theirs = json(&as_nobody(&["share", "--json", &pids(&cats)]), 0);
    let ours = json(&folio(["share", "--json", &pids(&cats)]), 0);
    assert_eq!((&theirs["frames_visible"], &ours["frames_visible"]), (&Value::Bool(false), &Value::Bool(true)));
    // A page of a file is in memory once, and what is the file's own page everybody may see.
    let in_all =
        |survey: &Value| segments(survey, "/libc.so.6", "text").iter().map(|text| number(&text["in_all"])).sum::<u64>();
    assert_eq!(in_all(&theirs), in_all(&ours));
    assert!(in_all(&theirs) > 0);
    assert_eq!(theirs["totals"]["resident"], ours["totals"]["resident"]);
    assert!(theirs["notes"].to_string().contains("Root would also see frame numbers"));
    assert!(!ours["notes"].to_string().contains("Root would also see"));

    let foreign = as_nobody(&["share", "--pid", &std::process::id().to_string()]);
    let complaint = crate::workshop::complaint(&foreign);
    assert!(complaint.contains("no right to look into process") && complaint.contains("sudo"), "{complaint}");
    let all = json(&as_nobody(&["share", "--all", "--json"]), 0);
    assert!(all["notes"].to_string().contains("by root only"), "{}", all["notes"]);
}
