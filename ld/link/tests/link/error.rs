//! The sentences that people search for, in glibc's words.

use folio_link::placement::PlacementError;
use folio_link::{Errno, Error, Problem};

fn sentence(problem: Problem) -> String {
    Error::new(b"libx.so.1", problem).to_string()
}

#[test]
fn sentences_are_those_of_glibc() {
    let enoent = "No such file or directory";
    let name = || b"f".to_vec();
    let cases = [
        (Problem::Open(Errno::ENOENT), format!("cannot open shared object file: {enoent}")),
        (Problem::Open(Errno::EACCES), "cannot open shared object file: Permission denied".into()),
        (Problem::Read(Errno(5)), "cannot read file data: Input/output error".into()),
        (Problem::Read(Errno(0)), "cannot read file data".into()),
        (Problem::Status(Errno::ENOENT), format!("cannot stat shared object: {enoent}")),
        (Problem::ZeroFill(Errno::ENOMEM), "cannot map zero-fill pages: Cannot allocate memory".into()),
        (Problem::Protect(Errno::EACCES), "cannot change memory protections: Permission denied".into()),
        (Problem::Header(folio_elf::HeaderError::NotElf), "invalid ELF header".into()),
        (Problem::Placement(PlacementError::NoSegments), "object file has no loadable segments".into()),
        (Problem::Placement(PlacementError::NoDynamicSection), "object file has no dynamic section".into()),
        (Problem::Placement(PlacementError::Executable), "cannot dynamically load executable".into()),
        (Problem::PieNotLibrary, "cannot dynamically load position-independent executable".into()),
        (Problem::NotForDlopen, "shared object cannot be dlopen()ed".into()),
        (Problem::EmptySubstitution, "empty dynamic string token substitution".into()),
        (
            Problem::Version { name: b"V1".to_vec(), requester: b"./a".to_vec() },
            "version `V1' not found (required by ./a)".into(),
        ),
        (
            Problem::NoVersions { requester: b"./a".to_vec() },
            "no version information available (required by ./a)".into(),
        ),
        (Problem::UndefinedSymbol { name: name(), version: None }, "undefined symbol: f".into()),
        (
            Problem::UndefinedSymbol { name: name(), version: Some(b"V1".to_vec()) },
            "undefined symbol: f, version V1".into(),
        ),
        (Problem::RelocationType(0x0a), "unexpected reloc type 0x0a".into()),
        (
            Problem::Overflow { symbol: name(), kind: 2 },
            "Symbol `f' causes overflow in R_X86_64_PC32 relocation".into(),
        ),
        (Problem::Overflow { symbol: name(), kind: 10 }, "Symbol `f' causes overflow in R_X86_64_32 relocation".into()),
        (Problem::StaticTls, "cannot allocate memory in static TLS block".into()),
    ];
    for (problem, text) in cases {
        assert_eq!(sentence(problem), format!("libx.so.1: {text}"));
    }
}

#[test]
fn object_and_requester_are_named_where_there_are_any() {
    let error = Error::new(b"libx.so.1", Problem::Open(Errno::ENOENT)).required_by(b"/lib/liby.so");
    let expected = "libx.so.1: cannot open shared object file: No such file or directory (required by /lib/liby.so)";
    assert_eq!(error.to_string(), expected);
    assert_eq!(Error::new(b"", Problem::PieNotLibrary).to_string(), Problem::PieNotLibrary.to_string());
    let bytes = Error::new(b"lib\xffx\xfe", Problem::PieNotLibrary).to_string();
    assert!(bytes.starts_with("lib\u{fffd}x\u{fffd}: "));
}

#[test]
fn texts_of_error_numbers_are_those_of_libc() {
    // SAFETY: libc declares it so, and takes any number (strerror(3)).
    unsafe extern "C" {
        safe fn strerror(number: core::ffi::c_int) -> *const core::ffi::c_char;
    }
    for number in 1..200 {
        // SAFETY: strerror(3) gives a string that stays until its next call in this thread.
        let text = unsafe { core::ffi::CStr::from_ptr(strerror(number)) };
        assert_eq!(Errno(number).to_string(), text.to_str().unwrap(), "{number}");
    }
}
