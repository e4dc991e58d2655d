//! The end of a process in which Folio itself is wrong: the panic handler, and what the unwinder would call.

use crate::allocator;
use crate::output::Output;
use crate::syscall;
use core::fmt::Write;
use core::panic::PanicInfo;

#[panic_handler]
fn panic(info: &PanicInfo) -> ! {
    let mut output = Output::stderr();
    if allocator::has_failed() {
        // The request that could not be met was one that had to be.
        let _ = writeln!(output, "ld-folio.so.1: {}: cannot allocate memory", info.message());
        output.flush();
        syscall::exit_group(127)
    }
    let _ = match info.location() {
        Some(place) => {
            writeln!(output, "ld-folio.so.1: internal error: {} at {place} (please report)", info.message())
        }
        None => writeln!(output, "ld-folio.so.1: internal error: {} (please report)", info.message()),
    };
    output.flush();
    syscall::exit_group(127)
}

/// The unwind tables of the precompiled `core` and `alloc` name this function, and their landing pads the next one.
/// Panics abort, so that neither is called; should somebody unwind into a Rust frame nevertheless, going on would be
/// wrong.
#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() -> ! {
    syscall::exit_group(127)
}

#[unsafe(no_mangle)]
extern "C" fn _Unwind_Resume() -> ! {
    syscall::exit_group(127)
}
