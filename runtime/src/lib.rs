//! The floor under the dynamic linker: what a program needs before, and instead of, a C library.
//!
//! Entry and self-relocation, raw system calls, the initial stack, memory functions, an allocator, the assembly that
//! other objects enter from outside, non-local exit, output and the panic handler. Nothing here knows what an object,
//! a symbol or a library is, and nothing here depends on another Folio crate.
//!
//! # What the binary defines
//!
//! The assembly below calls these by name. Each is `#[unsafe(no_mangle)]` in the binary and local to it
//! (`exports.map` hides whatever it does not list):
//!
//! | item | called by |
//! |---|---|
//! | `extern "C" fn folio_start(stack: *mut usize) -> Start` | [`start`], once, after self-relocation |
//! | `extern "C" fn folio_tls_get_addr_slow(index: *mut TlsIndex) -> *mut u8` | [`tls`], when the dtv has no answer |
//! | `static FOLIO_TLS_GENERATION: AtomicUsize` | [`tls`], compared with `dtv[0].counter` |
//! | `extern "C" fn folio_missing_function(index: usize) -> *const u8` | [`missing_function`], at each call |
//! | `extern "C" fn folio_audited_call(...)`, `folio_audited_return(...)` | [`audited_call`], around each call |
//! | `static FOLIO_VECTOR_WIDTH: AtomicU32` | [`audited_call`]: bytes of a vector register to show |
//! | `static FOLIO_XSAVE_SIZE: AtomicUsize` | [`vector_state`]: bytes of the save area; 0: `fxsave` |
//! | `static FOLIO_XSAVE_MASK: AtomicU64` | [`vector_state`]: components; bit 63 set: `xsavec`, clear: `xsave` |
//!
//! The binary also names its `#[global_allocator]`: `static ARENA: Arena = Arena::new();`, and begins it.
//!
//! # What this crate defines by name
//!
//! `_start`, `__tls_get_addr` (exported), `memcpy memmove memset memcmp bcmp strlen`, `rust_eh_personality`,
//! `_Unwind_Resume` and the panic handler. In host tests these keep Rust's own mangled names, so that they stand beside libc's.
#![cfg_attr(not(test), no_std)]

pub mod allocator;
pub mod audited_call;
pub mod catch;
pub mod memory;
pub mod missing_function;
pub mod output;
#[cfg(not(test))]
mod panic;
mod relocate_self;
pub mod signal;
pub mod stack;
pub mod start;
pub mod syscall;
pub mod tls;
pub mod vector_state;
