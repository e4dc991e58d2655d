//! Programs and rights that the command uses.

use std::fs;

use super::Fact;
use crate::loader;

pub fn facts() -> Vec<Fact> {
    let tool = |name, what: &str| match loader::program(name) {
        Ok(path) => Fact::good(name, path.display().to_string()),
        Err(_) => Fact::limited(name, "not installed", what),
    };
    vec![
        tool("strace", "folio compare shows system calls by it (Debian package strace)"),
        tool(
            "patchelf",
            "folio patch needs it for paths that do not fit, folio lint --fix for search paths (Debian package patchelf)",
        ),
        ptrace(),
        mounts(),
    ]
}

/// The effective capabilities of this process (proc(5), `CapEff`).
fn capabilities() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    line.and_then(|digits| u64::from_str_radix(digits.trim(), 16).ok()).unwrap_or(0)
}

fn has(capability: u32) -> bool {
    capabilities() >> capability & 1 == 1
}

/// capabilities(7), by number.
const CAP_SYS_PTRACE: u32 = 19;
const CAP_SYS_ADMIN: u32 = 21;

/// Whether other processes can be looked into (ptrace(2), *Ptrace access mode checking*).
fn ptrace() -> Fact {
    const NAME: &str = "other processes";
    if has(CAP_SYS_PTRACE) {
        return Fact::good(NAME, "all can be looked into");
    }
    let scope = fs::read_to_string("/proc/sys/kernel/yama/ptrace_scope").unwrap_or_default();
    match scope.trim() {
        "" | "0" => Fact::limited(NAME, "your own", "those of other users take the rights of root"),
        "3" => Fact::limited(
            NAME,
            "none can be traced",
            "folio compare has no system calls to show (kernel.yama.ptrace_scope=3)",
        ),
        scope => Fact::limited(
            NAME,
            "your own, and traced only by whoever started them",
            format!("those of other users take the rights of root (kernel.yama.ptrace_scope={scope})"),
        ),
    }
}

fn mounts() -> Fact {
    const NAME: &str = "mount namespaces";
    if has(CAP_SYS_ADMIN) {
        return Fact::good(NAME, "folio run starts programs as the kernel does");
    }
    Fact::limited(
        NAME,
        "not allowed",
        "folio run hands the program to Folio as an argument, so /proc/self/exe names Folio; patch a copy where that matters",
    )
}
