//! Filters of system calls: lists of what may be called, and what becomes of all other calls.

use anyhow::{Result, ensure};
use folio_tests::compare;
use folio_tests::run::{Run, Status};
use folio_tests::suite::Verdict;

use crate::Pair;

/// A filter, as its users write it.
pub struct Filter {
    pub name: &'static str,
    list: &'static str,
    /// What all other calls do, as the launcher's compiler is told.
    otherwise: &'static str,
}

/// `SystemCallFilter=@system-service` of systemd.exec(5), which kills unless `SystemCallErrorNumber=` names an error; and the
/// profile that Docker gives to containers that ask for none.
pub const ALL: [Filter; 3] = [
    Filter {
        name: "systemd_kill",
        list: include_str!("system_service.txt"),
        otherwise: "-DOTHERWISE=SECCOMP_RET_KILL_PROCESS",
    },
    Filter {
        name: "systemd_eperm",
        list: include_str!("system_service.txt"),
        otherwise: "-DOTHERWISE=(SECCOMP_RET_ERRNO|EPERM)",
    },
    Filter {
        name: "docker",
        list: include_str!("docker.txt"),
        otherwise: "-DOTHERWISE=(SECCOMP_RET_ERRNO|EPERM) -DCLONE3=(SECCOMP_RET_ERRNO|ENOSYS)",
    },
];

/// Sets the filter and becomes the program; with the word `break` it makes a call first that no list has.
const LAUNCHER: &str = r#"
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>
static const int allowed[] = {
#include "list.h"
};
int main(int argc, char **argv) {
    static struct sock_filter code[4 * sizeof allowed / sizeof *allowed + 16];
    unsigned short n = 0;
    code[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch));
    code[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 1, 0);
    code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
    code[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
#ifdef CLONE3
    code[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone3, 0, 1);
    code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, CLONE3);
#endif
    for (unsigned i = 0; i < sizeof allowed / sizeof *allowed; i++) {
        code[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, allowed[i], 0, 1);
        code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    }
    code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, OTHERWISE);
    struct sock_fprog program = {n, code};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program)) return 120;
    if (!strcmp(argv[1], "break")) return syscall(SYS_kexec_load, 0, 0, 0, 0) < 0 && errno == EPERM ? 121 : 122;
    execv(argv[1], argv + 1);
    return 123;
}
"#;

impl Filter {
    pub fn test(&self, pair: &Pair) -> Result<Verdict> {
        let folder = &pair.folder;
        let names = self.list.lines().filter(|line| !line.starts_with('#')).flat_map(str::split_whitespace);
        let list: String = names.map(|name| format!("#ifdef SYS_{name}\nSYS_{name},\n#endif\n")).collect();
        std::fs::write(folder.join("list.h"), list)?;
        std::fs::write(folder.join("launcher.c"), LAUNCHER)?;
        let words = ["-O1", "-o", "launcher", "launcher.c"].into_iter().chain(self.otherwise.split(' '));
        let made = Run::new("/usr/bin/gcc").args(words).in_folder(folder).outcome()?;
        ensure!(made.status == Status::Exit(0), "{}", String::from_utf8_lossy(&made.stderr));
        let launcher = folder.join("launcher");
        // A filter that filters nothing would let everything pass.
        let broken = Run::new(&launcher).args(["break"]).outcome()?.status;
        ensure!([Status::Exit(121), Status::Signal(31)].contains(&broken), "a forbidden call: {broken}");
        let expected = pair.launch(&launcher, &[], &pair.native).outcome()?;
        let actual = pair.launch(&launcher, &[], &pair.adopted).outcome()?;
        let mut findings = Vec::new();
        if expected.status != Status::Exit(0) || expected.stdout.is_empty() {
            let said = String::from_utf8_lossy(&expected.stderr);
            findings.push(format!("under glibc: {}\n{said}", expected.status));
        }
        findings.extend(compare::difference(&expected, &actual));
        Ok(Verdict::from_findings(findings))
    }
}
