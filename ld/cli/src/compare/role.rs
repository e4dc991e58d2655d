//! What each system call of a starting program is for, in a reader's words.
//!
//! A call alone does not always tell: `mprotect(address, …)` means something only together with the mapping that lies
//! at that address. So the calls of a process are labelled in order, and the mappings that they make are remembered.

use std::collections::{HashMap, HashSet};

use serde::Serialize;

use super::strace::Call;

/// What a call does for the start of a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    Start,
    OpenIndex,
    MapIndex,
    Open,
    LookInVain,
    Folder,
    Origin,
    ReadHeader,
    Identify,
    Reserve,
    MapText,
    MapData,
    MapRest,
    MapZeroed,
    Close,
    Memory,
    Thread,
    Unprotect,
    Protect,
    GiveBack,
    Program,
    End,
}

impl Role {
    pub fn label(self) -> &'static str {
        match self {
            Self::Start => "start the program",
            Self::OpenIndex => "open the library index",
            Self::MapIndex => "map the library index",
            Self::Open => "open a library",
            Self::LookInVain => "look for a file: not there",
            Self::Folder => "look whether a folder is there",
            Self::Origin => "find the program's own folder",
            Self::ReadHeader => "read its header",
            Self::Identify => "identify the file",
            Self::Reserve => "reserve addresses",
            Self::MapText => "map text (code)",
            Self::MapData => "map data",
            Self::MapRest => "map the rest (read-only)",
            Self::MapZeroed => "map zeroed data",
            Self::Close => "close",
            Self::Memory => "get memory",
            Self::Thread => "set up the first thread",
            Self::Unprotect => "unprotect for relocation",
            Self::Protect => "protect (make read-only)",
            Self::GiveBack => "give back",
            Self::Program => "libc and the program itself",
            Self::End => "end",
        }
    }

    /// Why a start needs it, for people who see it for the first time.
    pub fn sentence(self) -> &'static str {
        match self {
            Self::Start => "The kernel maps the program and its dynamic linker, and starts the linker.",
            Self::OpenIndex => "/etc/ld.so.cache says in which folder each library of the system lies.",
            Self::MapIndex => "The index is read where it lies, without a copy.",
            Self::Open => "A library that the program or another library needs; each is opened once.",
            Self::LookInVain => "A place where a library could have been, by the search rules of ld.so(8).",
            Self::Folder => "When a folder is not there, no file in it has to be looked for.",
            Self::Origin => "$ORIGIN in search paths stands for it.",
            Self::ReadHeader => "The ELF header says which parts of the file go where in memory.",
            Self::Identify => "Device and inode tell whether this file is loaded already under another name.",
            Self::Reserve => "Room for all of a library's segments, which lie at fixed distances.",
            Self::MapText => "Readable and executable, never written: in memory once, however many processes map it.",
            Self::MapData => "Private and writable: a page is copied when it is first written.",
            Self::MapRest => "Constants, symbol names, relocations: in memory once, as text is.",
            Self::MapZeroed => "Data that begins as zeros (bss) has no bytes in the file.",
            Self::Close => "A mapping keeps the file, so its descriptor is not needed any more.",
            Self::Memory => "For the linker's own lists, and for thread-local variables.",
            Self::Thread => "Its descriptor, its thread-local variables, and what the kernel does when it ends.",
            Self::Unprotect => "Relocations in pages that are mapped read-only.",
            Self::Protect => "What was only written while linking is read-only from now on (RELRO).",
            Self::GiveBack => "Memory or mappings that are not needed after the start.",
            Self::Program => "The start is over, or libc's part of it runs.",
            Self::End => "The process gives back all that it has.",
        }
    }
}

/// A call with its meaning.
#[derive(Clone, Debug, Serialize)]
pub struct Labelled {
    pub role: Role,
    /// The file that it is about, without its folder; empty where it is about none.
    pub subject: String,
    /// The call in a few words.
    pub short: String,
    /// As strace wrote it.
    pub line: String,
}

/// Where ld.so keeps its index of libraries (ld.so(8), FILES).
const INDEX: &str = "ld.so.cache";

/// Labels the calls of one process, from its execve on.
pub fn label(calls: &[Call]) -> Vec<Labelled> {
    let mut mapped = Mapped::of(calls);
    calls
        .iter()
        .map(|call| {
            let (role, subject) = role(call, &mapped);
            mapped.follow(call);
            let subject = mapped.asked.get(&subject).cloned().unwrap_or(subject);
            Labelled { role, subject, short: short(call), line: call.line.clone() }
        })
        .collect()
}

fn role(call: &Call, mapped: &Mapped) -> (Role, String) {
    let file = call.descriptor(if call.name == "mmap" { 4 } else { 0 });
    let subject = file.map(base_name).unwrap_or_default();
    let object = file.is_some_and(|file| mapped.is_object(file));
    let index = subject == INDEX;
    let about = |role| (role, subject.clone());
    match call.name.as_str() {
        "execve" => (Role::Start, String::new()),
        "open" | "openat" | "openat2" => {
            let path = call.path(usize::from(call.name != "open")).unwrap_or_default();
            let asked = base_name(path);
            match call.opened().map(base_name) {
                Some(index) if index == INDEX => (Role::OpenIndex, index),
                Some(_) if call.opened().is_some_and(|file| mapped.is_object(file)) => (Role::Open, asked),
                None if is_searched(path) => (Role::LookInVain, asked),
                _ => (Role::Program, asked),
            }
        }
        "access" | "faccessat" | "faccessat2" | "stat" | "newfstatat" | "statx" if call.error().is_some() => {
            let at = usize::from(!matches!(call.name.as_str(), "access" | "stat"));
            let asked = call.path(at).unwrap_or_default();
            let searched = is_searched(asked) || mapped.is_folder(asked);
            (if searched { Role::LookInVain } else { Role::Program }, base_name(asked))
        }
        "stat" | "newfstatat" | "statx" if file.is_none() => {
            let path = call.path(usize::from(call.name != "stat")).unwrap_or_default();
            match path {
                _ if mapped.is_folder(path) => (Role::Folder, String::new()),
                _ if mapped.is_object(path) => (Role::Identify, base_name(path)),
                _ => (Role::Program, base_name(path)),
            }
        }
        "readlink" if call.path(0) == Some("/proc/self/exe") => (Role::Origin, String::new()),
        "readlinkat" if call.path(1) == Some("/proc/self/exe") => (Role::Origin, String::new()),
        "read" | "pread64" if object => about(Role::ReadHeader),
        "fstat" | "newfstatat" | "statx" if object || index => about(Role::Identify),
        "mmap" if index => about(Role::MapIndex),
        "mmap" if object => about(match call.argument(2) {
            protection if protection.contains("PROT_EXEC") => Role::MapText,
            protection if protection.contains("PROT_WRITE") => Role::MapData,
            "PROT_NONE" => Role::Reserve,
            _ => Role::MapRest,
        }),
        "mmap" if call.argument(2) == "PROT_NONE" => (Role::Reserve, String::new()),
        "mmap" if call.argument(3).contains("MAP_FIXED") => (Role::MapZeroed, mapped.at(call.argument(0))),
        "mmap" | "brk" | "mremap" if file.is_none() => (Role::Memory, String::new()),
        "close" if object || index => about(Role::Close),
        "arch_prctl" if call.argument(0) == "ARCH_SET_FS" => (Role::Thread, String::new()),
        "set_tid_address" | "set_robust_list" | "rseq" => (Role::Thread, String::new()),
        "mprotect" if call.argument(2).contains("PROT_WRITE") => (Role::Unprotect, mapped.at(call.argument(0))),
        "mprotect" => (Role::Protect, mapped.at(call.argument(0))),
        "munmap" => (Role::GiveBack, mapped.at(call.argument(0))),
        "exit_group" | "exit" => (Role::End, String::new()),
        _ => (Role::Program, subject),
    }
}

/// The call without addresses and without what is the same each time.
fn short(call: &Call) -> String {
    let detail = match call.name.as_str() {
        "mmap" => format!(" {} {}", pages(call.argument(1)), rights(call.argument(2))),
        "mprotect" => format!(" {} {}", pages(call.argument(1)), rights(call.argument(2))),
        "munmap" => format!(" {}", pages(call.argument(1))),
        "arch_prctl" => format!(" {}", call.argument(0)),
        "read" | "pread64" if call.error().is_none() => format!(" {} bytes", call.result),
        _ => String::new(),
    };
    let error = call.error().map(|error| format!(" {error}")).unwrap_or_default();
    format!("{}{detail}{error}", call.name)
}

/// A length as kibibytes, in whole pages as the kernel rounds it.
fn pages(length: &str) -> String {
    length.parse::<u64>().map_or_else(|_| length.to_owned(), |bytes| format!("{}K", bytes.div_ceil(4096) * 4))
}

fn rights(protection: &str) -> String {
    let letter = |name, letter| if protection.contains(name) { letter } else { '-' };
    [letter("PROT_READ", 'r'), letter("PROT_WRITE", 'w'), letter("PROT_EXEC", 'x')].iter().collect()
}

fn base_name(path: &str) -> String {
    crate::draw::base_name(path).to_owned()
}

/// The folder part of a path, without the slash.
fn folder(path: &str) -> Option<&str> {
    path.rsplit_once('/').map(|(folder, _)| folder.trim_end_matches('/'))
}

/// `libz.so.1`, `libz.so.1.2.13`, `_json.cpython-311-x86_64-linux-gnu.so`.
fn has_library_name(path: &str) -> bool {
    let name = base_name(path);
    (name.ends_with(".so") || name.contains(".so.")) && name != INDEX && name != "ld.so.preload"
}

/// Files and folders that a dynamic linker looks for (ld.so(8)).
fn is_searched(path: &str) -> bool {
    has_library_name(path)
        || path.ends_with(INDEX)
        || path.ends_with("/ld.so.preload")
        || path.contains("/glibc-hwcaps")
}

/// Which file lies at which address, as far as this process's calls made it so.
#[derive(Default)]
struct Mapped {
    /// Later entries lie over earlier ones.
    ranges: Vec<(u64, u64, String)>,
    /// Descriptors print the file's real name, users know it by its soname: the name it was opened by.
    asked: HashMap<String, String>,
    /// The program, and files of which a part is mapped executable at some time, whatever they are called.
    objects: HashSet<String>,
    /// Folders in which a library was looked for.
    folders: HashSet<String>,
}

impl Mapped {
    fn of(calls: &[Call]) -> Self {
        let text = calls.iter().filter(|call| call.name == "mmap" && call.argument(2).contains("PROT_EXEC"));
        let program = calls.iter().filter(|call| call.name == "execve").filter_map(|call| call.path(0));
        let objects = text.filter_map(|call| call.descriptor(4)).chain(program).map(str::to_owned).collect();
        let asked = calls.iter().filter(|call| call.name == "openat").filter_map(|call| call.path(1));
        let folders = asked.filter(|path| has_library_name(path)).filter_map(folder).map(str::to_owned).collect();
        Self { objects, folders, ..Self::default() }
    }

    fn is_folder(&self, path: &str) -> bool {
        self.folders.contains(path.trim_end_matches('/'))
    }

    fn is_object(&self, path: &str) -> bool {
        self.objects.contains(path) || has_library_name(path)
    }

    fn follow(&mut self, call: &Call) {
        if let (Some(real), Some(asked)) = (call.opened(), call.path(1)) {
            self.asked.insert(base_name(real), base_name(asked));
        }
        if call.name == "mmap"
            && let (Some(start), Some(file)) = (address(&call.result), call.descriptor(4))
            && let Ok(length) = call.argument(1).parse::<u64>()
        {
            self.ranges.push((start, start.saturating_add(length), base_name(file)));
        }
    }

    /// The file at an address; nothing where the kernel, not this process, mapped it.
    fn at(&self, text: &str) -> String {
        let Some(address) = address(text) else { return String::new() };
        let covering = self.ranges.iter().rev().find(|(start, end, _)| (*start..*end).contains(&address));
        covering.map(|(_, _, file)| file.clone()).unwrap_or_default()
    }
}

fn address(text: &str) -> Option<u64> {
    u64::from_str_radix(text.strip_prefix("0x")?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(name: &str, arguments: &[&str], result: &str) -> Call {
        let arguments: Vec<_> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        Call::new(name, arguments, result.to_owned())
    }

    #[test]
    fn one_library_from_open_to_protect() {
        let file = "3</usr/lib/libz.so.1.2.13>";
        let calls = [
            call("openat", &["AT_FDCWD", "\"/opt/libz.so.1\"", "O_RDONLY"], "-1 ENOENT (No such file or directory)"),
            call("newfstatat", &["AT_FDCWD", "\"/opt/\"", "{st_mode=S_IFDIR|0755, ...}", "0"], "0"),
            call("openat", &["AT_FDCWD", "\"/lib/libz.so.1\"", "O_RDONLY"], file),
            call("pread64", &[file, "\"\\177ELF\"...", "832", "0"], "832"),
            call("mmap", &["NULL", "123280", "PROT_READ", "MAP_PRIVATE", file, "0"], "0x7000000"),
            call(
                "mmap",
                &["0x7003000", "8192", "PROT_READ|PROT_EXEC", "MAP_PRIVATE|MAP_FIXED", file, "0"],
                "0x7003000",
            ),
            call(
                "mmap",
                &["0x7005000", "4096", "PROT_READ|PROT_WRITE", "MAP_PRIVATE|MAP_FIXED", file, "0"],
                "0x7005000",
            ),
            call(
                "mmap",
                &["0x7006000", "4096", "PROT_READ|PROT_WRITE", "MAP_FIXED|MAP_ANONYMOUS", "-1", "0"],
                "0x7006000",
            ),
            call("close", &[file], "0"),
            call("mprotect", &["0x7005000", "4096", "PROT_READ"], "0"),
            call("mprotect", &["0x9005000", "4096", "PROT_READ"], "0"),
            call("openat", &["AT_FDCWD", "\"/etc/passwd\"", "O_RDONLY"], "3</etc/passwd>"),
        ];
        let labelled = label(&calls);
        let roles: Vec<_> = labelled.iter().map(|call| call.role).collect();
        use Role::*;
        let expected = [
            LookInVain, Folder, Open, ReadHeader, MapRest, MapText, MapData, MapZeroed, Close, Protect, Protect,
            Program,
        ];
        assert_eq!(roles, expected);
        assert!(labelled[2..10].iter().all(|call| call.subject == "libz.so.1"), "{labelled:?}");
        assert_eq!(labelled[10].subject, "", "what the kernel mapped has no name here");
        assert_eq!(labelled[5].short, "mmap 8K r-x");
        assert_eq!(labelled[0].short, "openat ENOENT");
    }

    #[test]
    fn a_program_that_the_loader_opens_is_an_object() {
        let file = "3</usr/bin/true>";
        let calls = [
            call("openat", &["AT_FDCWD", "\"/usr/bin/true\"", "O_RDONLY"], file),
            call("mmap", &["NULL", "4096", "PROT_READ|PROT_EXEC", "MAP_PRIVATE", file, "0"], "0x7000000"),
        ];
        assert_eq!(label(&calls)[0].role, Role::Open);
    }
}
