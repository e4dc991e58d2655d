//! What came of the start of a damaged program.

use std::fmt;

use folio_tests::run::{Outcome, Status};
use folio_tests::trace::Traced;

/// The ways in which such a start ends. Up to [`Ending::Failed`] nothing is wrong with the loader.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ending {
    /// As the sound program does.
    Ran,
    /// The kernel does not start it.
    KernelRefused,
    /// A sentence, and status 127, or 1 where a version is missing.
    Refused,
    /// The program was entered, and then did something else, or crashed in its own code.
    Failed,
    /// An initializer or an IFUNC resolver whose address the file gives wrongly, or whose code it has spoilt.
    Misled,
    /// The program, spoilt as it is, calls the loader with nonsense.
    LoaderMisused,
    /// The loader ended the process without a word.
    Silent,
    LoaderFault,
    LoaderHangs,
    Panic,
    /// The loader changed mappings that are not its own.
    Wild,
}

impl Ending {
    pub const ALL: [Ending; 11] = [
        Ending::Ran,
        Ending::KernelRefused,
        Ending::Refused,
        Ending::Failed,
        Ending::Misled,
        Ending::LoaderMisused,
        Ending::Silent,
        Ending::LoaderFault,
        Ending::LoaderHangs,
        Ending::Panic,
        Ending::Wild,
    ];

    /// How a traced start ended, where `expected` is what the sound program does.
    pub fn of(traced: &Traced, expected: &Outcome) -> Ending {
        let Traced { outcome, started, ran, fault, wild } = traced;
        let said = String::from_utf8_lossy(&outcome.stderr);
        // Compiled code keeps the stack pointer a multiple of 8. Code in the middle of which a wrong address led, and which took
        // more from the stack than it had put there, returns with another.
        let is_off_stack = fault.is_some_and(|fault| !fault.stack_pointer.is_multiple_of(8));
        let in_loader = fault.is_some_and(|fault| fault.in_loader.is_some());
        if said.contains("internal error") || said.contains("panicked") {
            return Ending::Panic;
        }
        if !wild.is_empty() {
            return Ending::Wild;
        }
        if outcome == expected {
            return Ending::Ran;
        }
        match outcome.status {
            _ if !started => Ending::KernelRefused,
            Status::Timeout if in_loader => Ending::LoaderHangs,
            Status::Signal(_) if is_off_stack && !ran => Ending::Misled,
            Status::Signal(_) if in_loader && !ran => Ending::LoaderFault,
            Status::Signal(_) if in_loader => Ending::LoaderMisused,
            Status::Signal(_) | Status::Timeout if !ran => Ending::Misled,
            Status::Exit(127 | 1) if is_sentence(&said) => Ending::Refused,
            Status::Exit(_) if !ran => Ending::Silent,
            _ => Ending::Failed,
        }
    }

    pub fn is_wrong(self) -> bool {
        self > Ending::LoaderMisused
    }
}

/// Whether a message has the shape of a loader's refusal.
fn is_sentence(said: &str) -> bool {
    said.lines().any(|line| line.contains(": ") && line.len() > 10)
}

impl fmt::Display for Ending {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        out.pad(match self {
            Ending::Ran => "ran as if sound",
            Ending::KernelRefused => "the kernel does not start it",
            Ending::Refused => "refused with a sentence",
            Ending::Failed => "entered, then failed by itself",
            Ending::Misled => "crashed in an initializer or resolver",
            Ending::LoaderMisused => "the program calls the loader with nonsense",
            Ending::Silent => "ended by the loader without a word",
            Ending::LoaderFault => "fault inside the loader",
            Ending::LoaderHangs => "hangs inside the loader",
            Ending::Panic => "the loader says that it is wrong itself",
            Ending::Wild => "mapping outside what was reserved",
        })
    }
}
