//! What can go wrong while linking, and the sentence a user reads about it.
//!
//! Sentences have glibc's shape, `OBJECT: WHAT: STRERROR`, and glibc's words where it has words for the case: programs and
//! people search for them. The same `Display` feeds standard error, `dlerror` and tests.

use alloc::vec::Vec;
use core::fmt;

use folio_elf::relocation::R_X86_64_PC32;
use folio_elf::{HeaderError, Lossy};

use crate::errno::Errno;
use crate::placement::PlacementError;
use crate::tls;

/// What is wrong with a file or a reference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// The file cannot be opened, or no search found one.
    Open(Errno),
    Read(Errno),
    Status(Errno),
    /// Said without its error number, as glibc says it; it is kept for those who ask.
    Map(Errno),
    ZeroFill(Errno),
    Protect(Errno),
    Header(HeaderError),
    Placement(PlacementError),
    /// The dynamic section or its string table lies outside the object.
    Dynamic,
    /// A `DT_NEEDED` without a name, or another string that the string table does not hold.
    StringTable,
    /// A position-independent executable where a library is wanted.
    PieNotLibrary,
    /// `DF_1_NOOPEN`.
    NotForDlopen,
    EmptySubstitution,
    /// `$ORIGIN` and its like, where AT_SECURE forbids them.
    TokenInSecureProgram,
    Version {
        name: Vec<u8>,
        /// The object that needs it.
        requester: Vec<u8>,
    },
    /// The object that should define versions has none (*glibc elf/dl-version.c, match_symbol*); a warning.
    NoVersions {
        requester: Vec<u8>,
    },
    UndefinedSymbol {
        name: Vec<u8>,
        version: Option<Vec<u8>>,
    },
    /// A relocation type that dynamic objects may not have.
    RelocationType(u32),
    /// A relocation whose place or symbol is not in the object.
    RelocationPlace,
    /// An IFUNC resolver that is no code of the object which defines it.
    Resolver,
    /// An initializer or finalizer that is no object's code.
    Initializer,
    /// The program's entry point is not in its code.
    Entry,
    /// A TLS segment that no thread could have.
    Tls(tls::Error),
    /// The initialisation image of thread-local storage lies outside the object.
    TlsImage,
    /// A file that ends before its segments do, seen when its memory was read.
    Truncated,
    /// The program headers in memory do not describe the program that the kernel mapped.
    Headers,
    /// An `R_X86_64_32` or `PC32` that does not fit. glibc says the same, stores what fits, and goes on: the program then jumps
    /// or writes to an address that nobody meant. Here it is an error.
    Overflow {
        symbol: Vec<u8>,
        kind: u32,
    },
    StaticTls,
    /// The processor lacks what `GNU_PROPERTY_X86_ISA_1_NEEDED` names.
    IsaLevel,
    /// `PT_GNU_STACK` asks for an executable stack that cannot be had.
    ExecutableStack(Errno),
    NoMemory,
    /// dlopen(3) with neither `RTLD_LAZY` nor `RTLD_NOW`.
    OpenMode,
    NoMoreNamespaces,
    /// dlmopen(3) into a namespace that there is not.
    InvalidNamespace,
    /// A libc that works with another layout of the loader's structures than the process' first one.
    OtherLibc,
    /// dlclose(3) of an object that is not open.
    NotOpen,
    /// An auditor opens or closes objects while it is asked about one that is being loaded or bound.
    LoadUnderWay,
}

impl Problem {
    /// Whether the start or opening goes on all the same.
    pub fn is_warning(&self) -> bool {
        matches!(self, Problem::NoVersions { .. })
    }

    /// `errno` as `dlerror` would add it; 0 for none.
    pub fn errno(&self) -> Errno {
        match self {
            Problem::Open(errno)
            | Problem::Read(errno)
            | Problem::Status(errno)
            | Problem::ExecutableStack(errno)
            | Problem::ZeroFill(errno)
            | Problem::Protect(errno) => *errno,
            Problem::NoMemory => Errno::ENOMEM,
            Problem::OpenMode | Problem::NoMoreNamespaces | Problem::InvalidNamespace => Errno::EINVAL,
            _ => Errno(0),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Problem::Open(_) => f.write_str("cannot open shared object file"),
            Problem::Read(_) => f.write_str("cannot read file data"),
            Problem::Status(_) => f.write_str("cannot stat shared object"),
            Problem::Map(_) => f.write_str("failed to map segment from shared object"),
            Problem::ZeroFill(_) => f.write_str("cannot map zero-fill pages"),
            Problem::Protect(_) => f.write_str("cannot change memory protections"),
            Problem::Header(error) => error.fmt(f),
            Problem::Placement(error) => error.fmt(f),
            Problem::Dynamic => f.write_str("dynamic section lies outside the object"),
            Problem::StringTable => f.write_str("string table entry lies outside the object"),
            Problem::PieNotLibrary => f.write_str("cannot dynamically load position-independent executable"),
            Problem::NotForDlopen => f.write_str("shared object cannot be dlopen()ed"),
            Problem::EmptySubstitution => f.write_str("empty dynamic string token substitution"),
            Problem::TokenInSecureProgram => f.write_str("DST not allowed in SUID/SGID programs"),
            Problem::Version { name, requester } => {
                write!(f, "version `{}' not found (required by {})", Lossy(name), Lossy(requester))
            }
            Problem::NoVersions { requester } => {
                write!(f, "no version information available (required by {})", Lossy(requester))
            }
            Problem::UndefinedSymbol { name, version } => {
                write!(f, "undefined symbol: {}", Lossy(name))?;
                match version {
                    Some(version) => write!(f, ", version {}", Lossy(version)),
                    None => Ok(()),
                }
            }
            Problem::RelocationType(kind) => write!(f, "unexpected reloc type {kind:#04x}"),
            Problem::RelocationPlace => f.write_str("relocation lies outside the object"),
            Problem::Resolver => f.write_str("IFUNC resolver lies outside the object's code"),
            Problem::Initializer => f.write_str("initializer or finalizer lies outside all code"),
            Problem::Entry => f.write_str("entry point lies outside the program's code"),
            Problem::Tls(error) => error.fmt(f),
            Problem::TlsImage => f.write_str("TLS initialisation image lies outside the object"),
            Problem::Truncated => f.write_str("file was truncated, or cannot be read, while it was being loaded"),
            Problem::Headers => f.write_str("program headers do not describe the program in memory"),
            Problem::Overflow { symbol, kind } => {
                let kind = if *kind == R_X86_64_PC32 { "R_X86_64_PC32" } else { "R_X86_64_32" };
                write!(f, "Symbol `{}' causes overflow in {kind} relocation", Lossy(symbol))
            }
            Problem::ExecutableStack(_) => f.write_str("cannot enable executable stack as shared object requires"),
            Problem::IsaLevel => f.write_str("CPU ISA level is lower than required"),
            Problem::StaticTls => f.write_str("cannot allocate memory in static TLS block"),
            Problem::NoMemory => f.write_str("cannot allocate memory"),
            Problem::OpenMode => f.write_str("invalid mode for dlopen()"),
            Problem::NoMoreNamespaces => f.write_str("no more namespaces available for dlmopen()"),
            Problem::InvalidNamespace => f.write_str("invalid target namespace in dlmopen()"),
            Problem::OtherLibc => f.write_str("another release of libc than the one that the program started with"),
            Problem::NotOpen => f.write_str("shared object not open"),
            Problem::LoadUnderWay => f.write_str("cannot open or close objects while others are being loaded or bound"),
        }
    }
}

/// A problem, with the object that has it and the object that asked for that one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// Path or name of the object; empty for the program.
    pub object: Vec<u8>,
    pub problem: Problem,
    /// Who needed the object, where that helps and is not already in the sentence.
    pub requester: Option<Vec<u8>>,
}

impl Error {
    pub fn new(object: &[u8], problem: Problem) -> Error {
        Error { object: object.to_vec(), problem, requester: None }
    }

    pub fn required_by(mut self, requester: &[u8]) -> Error {
        self.requester = Some(requester.to_vec());
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        if !self.object.is_empty() {
            write!(f, "{}: ", Lossy(&self.object))?;
        }
        self.problem.fmt(f)?;
        let errno = self.problem.errno();
        if errno.0 != 0 {
            write!(f, ": {errno}")?;
        }
        if let Some(requester) = &self.requester {
            write!(f, " (required by {})", Lossy(requester))?;
        }
        Ok(())
    }
}
