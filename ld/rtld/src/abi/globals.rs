//! The data that Folio exports: `_rtld_global`, `_rtld_global_ro` and the small variables of the loader's ABI.
//!
//! libc reaches the two structures through its GOT, so nobody checks their size: they are as large as the largest of any
//! glibc, and written through the layout table of the one at hand.
//!
//! What glibc declares `attribute_relro` lies in Folio's own `PT_GNU_RELRO`: [`crate::image::own`].
//!
//! # Safety
//! Nothing here runs; the attributes that export a name count as unsafe because two definitions of one would clash.
#![allow(non_upper_case_globals)]

use core::cell::UnsafeCell;
use core::ffi::c_char;
use core::sync::atomic::{AtomicI32, AtomicI64, AtomicPtr, AtomicU8, AtomicU32};

use crate::abi::record::Record;

/// Zeroed memory that is written through [`crate::abi::record::Record`]s.
#[repr(C, align(64))]
pub struct Block<const SIZE: usize>(UnsafeCell<[u8; SIZE]>);

/// Shared: its words are accessed atomically.
// SAFETY: all access goes through `Record`, by atomic words.
#[allow(unsafe_code)]
unsafe impl<const SIZE: usize> Sync for Block<SIZE> {}

impl<const SIZE: usize> Block<SIZE> {
    const fn zeroed() -> Self {
        Block(UnsafeCell::new([0; SIZE]))
    }

    /// The whole block, to be read and written by words.
    pub const fn record(&'static self) -> Record {
        // SAFETY: static memory of this size, aligned to 64, which nothing but records accesses.
        #[allow(unsafe_code)]
        unsafe {
            Record::new(self.0.get().cast(), SIZE)
        }
    }
}

/// `struct rtld_global`: 4336 bytes in 2.36, the largest.
#[allow(unsafe_code)]
#[unsafe(no_mangle)]
pub static _rtld_global: Block<4608> = Block::zeroed();

/// `struct rtld_global_ro`: 976 bytes in 2.39, the largest.
#[allow(unsafe_code)]
#[unsafe(no_mangle)]
#[unsafe(link_section = ".data.rel.ro.after_start")]
pub static _rtld_global_ro: Block<1024> = Block::zeroed();

/// `struct r_debug_extended` of the namespaces from number 1 on, up to 15, for glibcs that have them outside `_dl_ns`.
pub static R_DEBUG_ARRAY: Block<768> = Block::zeroed();

/// The initial stack pointer, the address of `argc`.
#[allow(unsafe_code)]
#[unsafe(no_mangle)]
#[unsafe(link_section = ".data.rel.ro.after_start")]
pub static __libc_stack_end: AtomicPtr<usize> = AtomicPtr::new(core::ptr::null_mut());

/// `AT_SECURE`.
#[allow(unsafe_code)]
#[unsafe(no_mangle)]
#[unsafe(link_section = ".data.rel.ro.after_start")]
pub static __libc_enable_secure: AtomicI32 = AtomicI32::new(0);

/// `argv`, after the loader's own words were taken off.
#[allow(unsafe_code)]
#[unsafe(no_mangle)]
#[unsafe(link_section = ".data.rel.ro.after_start")]
pub static _dl_argv: AtomicPtr<*mut c_char> = AtomicPtr::new(core::ptr::null_mut());

/// Size of the registered rseq area that is in use; 0: not registered (rseq(2), *glibc manual, Restartable Sequences*).
#[allow(unsafe_code)]
#[unsafe(no_mangle)]
#[unsafe(link_section = ".data.rel.ro.after_start")]
pub static __rseq_size: AtomicU32 = AtomicU32::new(0);

#[allow(unsafe_code)]
#[unsafe(no_mangle)]
#[unsafe(link_section = ".data.rel.ro.after_start")]
pub static __rseq_flags: AtomicU32 = AtomicU32::new(0);

/// The rseq area's offset from the thread pointer.
#[allow(unsafe_code)]
#[unsafe(no_mangle)]
#[unsafe(link_section = ".data.rel.ro.after_start")]
pub static __rseq_offset: AtomicI64 = AtomicI64::new(0);

/// libthread_db writes 1 before the program starts when it wants thread events.
#[allow(unsafe_code)]
#[unsafe(no_mangle)]
pub static __nptl_initial_report_events: AtomicU8 = AtomicU8::new(0);
