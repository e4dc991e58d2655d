//! Page tables, read once more and by other means than the command's, to judge what it says.

use std::collections::HashSet;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::FileExt;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

/// A process that waits for its input; it ends with the test.
pub struct Waiting(Child);

impl Waiting {
    /// Starts a command that says a line when it is ready, and then waits.
    pub fn start(command: &mut Command) -> Self {
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
        let mut waiting = Self(child.unwrap());
        let mut said = [0];
        waiting.0.stdout.as_mut().unwrap().read_exact(&mut said).unwrap();
        waiting
    }

    /// cat(1), which has answered once and so has done all that it does.
    pub fn cat(user: Option<u32>) -> Self {
        let mut command = Command::new("cat");
        if let Some(user) = user {
            command.uid(user).gid(user);
        }
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut waiting = Self(child.unwrap());
        waiting.0.stdin.as_mut().unwrap().write_all(b"x").unwrap();
        waiting.0.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
        waiting
    }

    pub fn pid(&self) -> u32 {
        self.0.id()
    }

    /// Ends the process without asking for its status: it stays as a zombie.
    pub fn kill(&mut self) {
        self.0.kill().unwrap();
        let zombie = || fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap().contains(") Z ");
        while !zombie() {
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// `--pid` with all of them.
pub fn pids(processes: &[Waiting]) -> String {
    let pids: Vec<String> = processes.iter().map(|process| process.pid().to_string()).collect();
    format!("--pid={}", pids.join(","))
}

/// Lines of `/proc/PID/maps` with these words in their permissions and at their end: first and last address.
pub fn ranges(pid: u32, permissions: &str, name: &str) -> Vec<(u64, u64)> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let lines = maps.lines().filter(|line| line.contains(permissions) && line.ends_with(name));
    lines
        .map(|line| {
            let (start, end) = line.split(' ').next().unwrap().split_once('-').unwrap();
            (u64::from_str_radix(start, 16).unwrap(), u64::from_str_radix(end, 16).unwrap())
        })
        .collect()
}

/// The frames of a range, by page; `None` where there is none, or where the kernel hides it.
pub fn frames(pid: u32, (start, end): (u64, u64)) -> Vec<Option<u64>> {
    let pagemap = fs::File::open(format!("/proc/{pid}/pagemap")).unwrap();
    let frame = |address: u64| {
        let mut word = [0; 8];
        pagemap.read_exact_at(&mut word, address / 4096 * 8).unwrap();
        let word = u64::from_le_bytes(word);
        let frame = word & ((1 << 55) - 1);
        (word >> 63 == 1 && frame != 0).then_some(frame)
    };
    (start..end).step_by(4096).map(frame).collect()
}

/// The frames of the ranges that all these processes have.
pub fn common(processes: &[Waiting], permissions: &str, name: &str) -> HashSet<u64> {
    let of = |process: &Waiting| -> HashSet<u64> {
        let ranges = ranges(process.pid(), permissions, name);
        ranges.into_iter().flat_map(|range| frames(process.pid(), range)).flatten().collect()
    };
    processes.iter().map(of).reduce(|a, b| &a & &b).unwrap()
}

/// A figure of `/proc/PID/smaps_rollup`, in KiB.
pub fn rollup(pid: u32, name: &str) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
    let line = text.lines().find(|line| line.starts_with(name)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
