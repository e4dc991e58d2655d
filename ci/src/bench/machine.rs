//! The machine that measures, and the one processor that all runs share.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result};
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;
use serde::Serialize;

/// What a reader has to know to judge the figures.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Machine {
    /// Year, month and day, UTC.
    pub date: String,
    pub processor: String,
    pub kernel: String,
    pub system: String,
    pub pinned_to: usize,
    /// Whether the runs go before all other work of the machine.
    pub real_time: bool,
    /// Of the last minute, before and after the measurement.
    pub load_before: String,
    pub load_after: String,
}

impl Machine {
    /// Looks at the machine, and takes one of its processors for this process and all that it starts.
    pub fn claim() -> Result<Self> {
        let load_before = load()?;
        let (pinned_to, real_time) = (pin()?, hurry());
        let cpu = fs::read_to_string("/proc/cpuinfo")?;
        let field = |name: &str| {
            let mut values = cpu.lines().filter_map(|line| line.split_once(':'));
            values.find(|(key, _)| key.trim() == name).map_or("", |(_, value)| value.trim())
        };
        let guest = field("flags").split_whitespace().any(|flag| flag == "hypervisor");
        let processors = cpu.lines().filter(|line| line.starts_with("processor")).count();
        let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
        let system = release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME=")).unwrap_or("Linux");
        let date = Command::new("date").args(["--utc", "+%F"]).output().context("cannot start date")?;
        Ok(Self {
            date: String::from_utf8(date.stdout)?.trim().to_owned(),
            processor: format!(
                "{} ({processors} processors{})",
                field("model name"),
                if guest { ", virtual machine" } else { "" }
            ),
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease")?.trim().to_owned(),
            system: system.trim_matches('"').to_owned(),
            pinned_to,
            real_time,
            load_before,
            load_after: String::new(),
        })
    }

    /// Notes the load at the end.
    pub fn leave(&mut self) -> Result<()> {
        self.load_after = load()?;
        Ok(())
    }
}

fn load() -> Result<String> {
    let text = fs::read_to_string("/proc/loadavg")?;
    Ok(text.split_whitespace().next().unwrap_or("").to_owned())
}

/// Keeps this process, and all that it starts, on one processor: the last that it may use, since the kernel's own work gathers
/// on the first.
fn pin() -> Result<usize> {
    let own = Pid::from_raw(0);
    let allowed = sched_getaffinity(own)?;
    let last = (0..CpuSet::count()).rev().find(|cpu| allowed.is_set(*cpu).unwrap_or(false));
    let last = last.context("this process may use no processor")?;
    let mut set = CpuSet::new();
    set.set(last)?;
    sched_setaffinity(own, &set)?;
    Ok(last)
}

/// Lets this process, and all that it starts, go before ordinary work (sched(7), SCHED_RR), so that a neighbour's does not fall
/// into a run. Only root may; without, a busy machine shows in the control.
fn hurry() -> bool {
    let pid = std::process::id().to_string();
    let output = Command::new("chrt").args(["--rr", "--pid", "50", &pid]).output();
    output.is_ok_and(|output| output.status.success())
}
