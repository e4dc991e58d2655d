//! Who a process is and how it does: `/proc/PID/stat` and its neighbours (proc(5)); and what to tell when it cannot be
//! looked into.

use std::fs;
use std::io;

use anyhow::{Context, Result, anyhow};

/// Figures of `/proc/PID/stat`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// `R` running, `S` sleeping, `Z` ended, and more.
    pub state: u8,
    pub minor_faults: u64,
    pub major_faults: u64,
    /// Processor time in clock ticks.
    pub ticks: u64,
}

pub fn status(pid: u32) -> Result<Status> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).map_err(|error| explain(pid, error))?;
    parse(&text).with_context(|| format!("/proc/{pid}/stat is not in the form that proc(5) describes"))
}

fn parse(text: &str) -> Option<Status> {
    // The second field is the name in parentheses, and may itself hold blanks and parentheses.
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
    Some(Status {
        state: *fields.first()?.as_bytes().first()?,
        minor_faults: number(10)?,
        major_faults: number(12)?,
        ticks: number(14)?.checked_add(number(15)?)?,
    })
}

/// The name under which ps(1) lists it.
pub fn name(pid: u32) -> Option<String> {
    Some(fs::read_to_string(format!("/proc/{pid}/comm")).ok()?.trim_end().to_owned())
}

/// All processes of the machine, in the order of their numbers.
pub fn all() -> Result<Vec<u32>> {
    let entries = fs::read_dir("/proc").context("cannot list /proc")?;
    let mut pids: Vec<u32> = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect();
    pids.sort_unstable();
    Ok(pids)
}

/// Why a file of `/proc/PID` could not be read, in words that say what to do.
pub fn explain(pid: u32, error: io::Error) -> anyhow::Error {
    // ESRCH: it ended after the file was opened.
    if error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(3) {
        return anyhow!("there is no process {pid}, or it has ended (pgrep NAME lists what is running)");
    }
    if error.kind() == io::ErrorKind::PermissionDenied {
        return anyhow!(
            "no right to look into process {pid}: only its owner and root may (try sudo; a set-user-ID program's memory is \
             closed even to its owner)"
        );
    }
    anyhow!(error).context(format!("cannot look into process {pid}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_look_like_fields() {
        let text = "42 (a) R 1 (b) S 1 42 42 0 -1 4194560 165 9 3 8 7 5 0 0 20 0 1 0 1 2 3\n";
        let expected = Status { state: b'S', minor_faults: 165, major_faults: 3, ticks: 12 };
        assert_eq!(parse(text), Some(expected));
        assert_eq!(parse("42 (a"), None);
        assert_eq!(parse("42 (a) S 1"), None);
    }

    #[test]
    fn this_process_is_among_all() {
        let own = std::process::id();
        assert!(all().unwrap().contains(&own));
        assert!(status(own).unwrap().minor_faults > 0);
        assert!(status(u32::MAX).unwrap_err().to_string().contains("there is no process 4294967295"));
    }
}
