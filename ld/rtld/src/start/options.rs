//! The command line of a direct start: `ld-folio.so.1 [OPTION]... PROGRAM [ARGUMENT]...`, with glibc's options.

use core::ffi::CStr;
use core::fmt::Write;

use folio_runtime::output::Output;
use folio_runtime::stack::Stack;
use folio_runtime::syscall::exit_group;

use crate::report;

/// What a direct start asks for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    pub task: Task,
    pub ld_library_path: Option<&'static [u8]>,
    pub preload: Option<&'static [u8]>,
    pub audit: Option<&'static [u8]>,
    pub argv0: Option<&'static CStr>,
    /// `glibc-hwcaps` subdirectories to search first, and those that the processor's may be; colons between them.
    pub hwcaps_prepend: Option<&'static [u8]>,
    pub hwcaps_mask: Option<&'static [u8]>,
    pub inhibit_cache: bool,
    pub inhibit_rpath: Option<&'static [u8]>,
    /// The program's file.
    pub program: &'static CStr,
    /// Words that were Folio's own, its name among them.
    pub consumed: usize,
}

/// What to do with the program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Task {
    #[default]
    Run,
    List,
    Verify,
    ListTunables,
    ListDiagnostics,
    Help,
}

/// What `--help` prints first.
pub const HELP: &str = "\
Usage: ld-folio.so.1 [OPTION]... PROGRAM [ARGUMENT]...
Start PROGRAM with its shared libraries, as its own interpreter would.

  --list                list all libraries that PROGRAM would be started with
  --verify              say by the exit status whether PROGRAM can be started: 0 yes,
                        1 not an object with dynamic section, 2 it names no interpreter
  --inhibit-cache       do not use /etc/ld.so.cache
  --library-path PATH   use PATH in place of LD_LIBRARY_PATH
  --inhibit-rpath LIST  ignore DT_RPATH and DT_RUNPATH of the objects in LIST
  --preload LIST        load the objects in LIST first
  --audit LIST          let the objects in LIST watch the start, as LD_AUDIT does
  --glibc-hwcaps-prepend LIST
                        search these glibc-hwcaps subdirectories first
  --glibc-hwcaps-mask LIST
                        search only these of the processor's subdirectories
  --argv0 STRING        give PROGRAM this argv[0]
  --list-tunables       list all tunables with their values and bounds
  --list-diagnostics    list what a start on this machine would find
  --help                print this and exit
  --version             print the version and exit

Examples:
  ld-folio.so.1 /bin/ls -l
  ld-folio.so.1 --list /bin/bash
  ld-folio.so.1 --library-path /opt/lib --preload libmine.so /bin/true

To start a program so by its name alone, set its interpreter:
  patchelf --set-interpreter /lib64/ld-folio.so.1 ./program
";

impl Task {
    /// It is about the machine, and is done before any program is looked at.
    pub fn needs_no_program(self) -> bool {
        matches!(self, Task::ListTunables | Task::ListDiagnostics | Task::Help)
    }
}

impl Options {
    /// Reads the command line; on a mistake, or when only asked something, ends the process.
    pub fn read(stack: &Stack) -> Options {
        let mut options = Options::default();
        let mut words = stack.arguments().enumerate().skip(1);
        let own_name = stack.arguments().next().unwrap_or(c"ld-folio.so.1").to_bytes();
        while let Some((index, word)) = words.next() {
            let mut value = || match words.next() {
                Some((_, value)) => value,
                None => report::refuse(own_name, &format_args!("missing value of option; try '--help'")),
            };
            match word.to_bytes() {
                b"--list" => options.task = Task::List,
                b"--verify" => options.task = Task::Verify,
                b"--list-tunables" => options.task = Task::ListTunables,
                b"--list-diagnostics" => options.task = Task::ListDiagnostics,
                b"--inhibit-cache" => options.inhibit_cache = true,
                b"--library-path" => options.ld_library_path = Some(value().to_bytes()),
                b"--inhibit-rpath" => options.inhibit_rpath = Some(value().to_bytes()),
                b"--audit" => options.audit = Some(value().to_bytes()),
                b"--preload" => options.preload = Some(value().to_bytes()),
                b"--argv0" => options.argv0 = Some(value()),
                b"--glibc-hwcaps-prepend" => options.hwcaps_prepend = Some(value().to_bytes()),
                b"--glibc-hwcaps-mask" => options.hwcaps_mask = Some(value().to_bytes()),
                b"--help" => options.task = Task::Help,
                b"--version" => print(concat!("ld-folio.so.1 (Folio) ", env!("CARGO_PKG_VERSION"), "\n")),
                option if option.starts_with(b"-") => report::refuse(
                    own_name,
                    &format_args!("unrecognized option '{}'; try '--help'", folio_elf::Lossy(option)),
                ),
                _ => {
                    options.program = word;
                    options.consumed = index;
                    return options;
                }
            }
        }
        if options.task.needs_no_program() {
            return options;
        }
        report::refuse(own_name, &"missing program name; try '--help'")
    }

    /// Whether they say anything of `glibc-hwcaps` subdirectories.
    pub fn name_hwcaps(&self) -> bool {
        self.hwcaps_prepend.is_some() || self.hwcaps_mask.is_some()
    }

    /// The subdirectories of `--glibc-hwcaps-prepend`.
    pub fn prepended_hwcaps(&self) -> impl Iterator<Item = &'static [u8]> + use<> {
        names(self.hwcaps_prepend.unwrap_or_default())
    }

    /// Whether `--glibc-hwcaps-mask` leaves a subdirectory in.
    pub fn allows_hwcaps(&self, name: &[u8]) -> bool {
        self.hwcaps_mask.is_none_or(|mask| names(mask).any(|allowed| allowed == name))
    }
}

/// The names in a list with colons between them.
fn names(list: &'static [u8]) -> impl Iterator<Item = &'static [u8]> {
    list.split(|&byte| byte == b':').filter(|name| !name.is_empty())
}

#[cold]
#[inline(never)]
fn print(text: &str) -> ! {
    let mut output = Output::stdout();
    let _ = output.write_str(text);
    output.flush();
    exit_group(0)
}
