//! The command line: subcommands, their options, and the help that goes into the manual pages too.

use clap::{CommandFactory, Parser, Subcommand};

use crate::{cache, compare, doctor, explain, lint, patch, profile, run, share};

/// See what programs share in memory, and why: the companion of Folio, a dynamic linker.
#[derive(Parser)]
#[command(name = "folio", version, max_term_width = 120)]
pub struct Folio {
    #[command(subcommand)]
    pub command: Command,
}

/// The whole command, for manual pages and completions.
pub fn command() -> clap::Command {
    Folio::command()
}

#[derive(Subcommand)]
pub enum Command {
    /// Start a program under Folio, without changing its file
    ///
    /// The interpreter is the ld-folio.so.1 beside this command, or else /lib64/ld-folio.so.1.
    ///
    /// With the right to mount (root), the program is started as ever, by the kernel, in a mount namespace of its own in
    /// which Folio lies over the interpreter that the program names. argv[0], /proc/self/exe, the auxiliary vector and
    /// $ORIGIN are those of a plain start, and programs that it starts run under Folio too. What it mounts, others do not
    /// see.
    ///
    /// Without that right, Folio is started with the program as its argument. argv[0] and $ORIGIN are those of a plain
    /// start, and programs that it starts run under the interpreter that they name; but /proc/self/exe names Folio, since
    /// that is what the kernel started. Where this matters, patch a copy: folio patch PROGRAM -o COPY.
    ///
    /// The exit status is the program's.
    #[command(
        after_help = "Examples:\n  folio run ls -l /usr\n  folio run -- /usr/bin/python3 -c 'print(6 * 7)'\n  folio run --how direct bash -c 'readlink /proc/$$/exe'"
    )]
    Run(run::Arguments),

    /// Make a program name Folio as its interpreter, so that the kernel starts Folio from now on
    ///
    /// Where the interpreter's path fits into the place of the old one, as that of an installed Folio does, only these bytes
    /// change, and --undo brings the file back byte for byte. Else patchelf rewrites the file, which goes to OUT.
    ///
    /// Refused, with the reason, are files that would no longer start or that would lose something: statically linked
    /// programs, programs for another machine or another C library, signed ones, programs that run with the rights of
    /// others unless the interpreter is root's alone, and interpreters that are not there.
    #[command(
        after_help = "Examples:\n  folio patch /usr/local/bin/server\n  folio patch --undo /usr/local/bin/server\n  folio patch /usr/bin/git -o ./git.folio"
    )]
    Patch(patch::Arguments),

    /// Show which pages several processes have in memory once, which each has for itself, and why
    ///
    /// Starts several processes of a program and looks at them once they wait for input or end, or looks at processes that
    /// run. For each file and segment: the frames that all of these processes have, those that some have, those that they
    /// share with others, and those that each has for itself, with the cause. The figures are those of smaps, to the page.
    ///
    /// An ordinary user may look at his own processes. Root also sees the numbers of frames, and who else has a page.
    #[command(after_help = "Examples:\n  \
        folio share python3                                 four processes that wait for input\n  \
        folio share -n 2 --under folio git log              held in the moment they end\n  \
        folio share --html bash.html bash                   a map of every page, for a browser\n  \
        folio share --pid $(pidof nginx | tr ' ' ,)         processes that run\n  \
        folio share --all --files                           the whole machine, one line a file\n  \
        folio share --pages --json --pid 4711               every private page with its cause")]
    Share(share::Arguments),

    /// Compare a program's start under glibc's dynamic linker and under Folio: system calls, memory, time
    ///
    /// Both linkers are started directly, with the program as their argument. It runs many times, with no input, and has to
    /// end by itself. System calls are followed by strace, or by ptrace where strace is not installed; times are taken in
    /// pairs of runs that nobody follows.
    #[command(after_help = "Examples:\n  \
        folio compare true\n  \
        folio compare --pairs 0 git --version              system calls and memory, no times\n  \
        folio compare --html gdb.html gdb --version        for a browser")]
    Compare(compare::Arguments),

    /// Show where the time of a program's start goes: by what is done, and for which library
    ///
    /// The program is started under Folio several times, up to its entry: initializers of its libraries run, and none of its
    /// own code does. The linker takes the times; shown is the fastest start: search and mapping of files, each
    /// kind of relocation, lookups with what they asked, IFUNC resolvers, initializers, with page faults, by part and by
    /// library. The parts add up to the whole.
    ///
    /// Measuring takes time too, some 20 ns for each lookup and part, so the whole is a little longer than that of an ordinary
    /// start, which folio compare tells.
    #[command(after_help = "Examples:\n  \
        folio profile git\n  \
        folio profile --flame gdb.svg gdb                  a flame graph, for a browser\n  \
        folio profile --trace python3.json python3         for ui.perfetto.dev or chrome://tracing\n  \
        folio profile --runs 101 --json curl")]
    Profile(profile::Arguments),

    /// Show what a start of a program would load, bind and initialise, and why; the program is not started
    ///
    /// The plan is made by the code that the interpreter runs. Without a question, it shows every file in the order in which
    /// symbols are looked up, which rule of ld.so(8) found it, what was tried in vain, who needs it, and the order of
    /// initializers with what forces it. All that is missing is named at once, with the nearest thing there is.
    ///
    /// LD_LIBRARY_PATH and LD_PRELOAD count as they are set. The exit status is 1 if the program would not start.
    #[command(
        after_help = "Examples:\n  folio explain git\n  folio explain python3 --symbol malloc\n  folio explain curl --library libssl\n  folio explain ./server --with LD_PRELOAD=libjemalloc.so.2\n  folio explain --json --bindings bash"
    )]
    Explain(explain::Arguments),

    /// Show what keeps a library's pages from being shared between processes, and what to do about it
    ///
    /// For each library: how many pages every process that uses it shares, how many it has for itself as soon as the library
    /// is relocated, and each rule that it breaks, with the cause, the cost in pages or KiB, and the remedy. Folders are
    /// searched for shared libraries; the worst of them stand in a table.
    ///
    /// The exit status is 1 if a rule is broken that --deny names, 2 if a file cannot be read.
    #[command(
        after_help = "Examples:\n  folio lint ./libfoo.so\n  folio lint --worst 10 /usr/lib\n  folio lint --deny text-relocations --deny executable-stack build/\n  folio lint --fix relr -o libfoo.packed.so libfoo.so\n  folio lint --list-rules"
    )]
    Lint(lint::Arguments),

    /// Keep facts of this machine between starts, so that no start has to find them again
    #[command(subcommand)]
    Cache(cache::Cache),

    /// Show what of this machine matters to Folio: what works, what falls back, and why
    ///
    /// The exit status is 1 if programs cannot run under Folio here.
    #[command(after_help = "Examples:\n  folio doctor\n  folio doctor --json")]
    Doctor(doctor::Arguments),
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_command_line_is_consistent() {
        super::command().debug_assert();
    }
}
