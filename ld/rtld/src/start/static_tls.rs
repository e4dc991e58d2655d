//! The static TLS of a start: every module's id and place, and how much is kept for later ones.
//!
//! # Safety
//! Runs before there is a second thread, so the process' guarded fields are nobody else's.
#![allow(unsafe_code)]

use core::sync::atomic::Ordering;

use folio_link::tls::{self as plan, RseqArea, StaticLayout};
use folio_runtime::stack::Stack;
use linux_raw_sys::auxvec::{AT_RSEQ_ALIGN, AT_RSEQ_FEATURE_SIZE};

use crate::audit;
use crate::dl::tls;
use crate::process::Process;

/// How much more static TLS the main thread's block has than those of other threads.
///
/// Libraries with initial-exec variables (allocators, OpenMP and GL libraries) are told by glibc that there is no memory in
/// the static TLS block once 1664 bytes are spent. More cannot be kept in every thread: libc takes static TLS out of the
/// stack that a program asked for, and 16 KiB (`PTHREAD_STACK_MIN`), of which glibc leaves some 12, are asked for in
/// earnest; with 64 KiB of static TLS pthread_create(3) fails for them. But libc asks anew for each thread how much to take.
/// So the main thread's block is generous, which costs no memory as long as nobody touches it, and what is opened while
/// there is no other thread, as plug-ins and extension modules mostly are, takes what it needs of it; threads that are
/// made later get as much. Beside running threads glibc's surplus is all there is.
pub const RESERVE: u64 = 64 * 1024;

/// Gives every module of the start its id and its place; from 2.41 on, the rseq area too.
pub fn lay_out(process: &Process, stack: &Stack) -> Result<Option<(u64, u32)>, plan::Error> {
    let layout = process.layout;
    // SAFETY: one thread.
    let (objects, members, tunables) =
        unsafe { (process.objects.get(), process.base.members.get(), process.tunables.get()) };
    let mut plan = StaticLayout::default();
    for &id in members {
        let Some(segment) = &objects[id].placement.tls else { continue };
        let offset = plan.place(&segment.into())?;
        // SAFETY: one thread.
        let map = unsafe { process.state(id) }.map;
        tls::add_module(layout, map);
        tls::offset_of(layout, map).store(offset as usize, Ordering::Relaxed);
    }
    let mut rseq = None;
    if layout.behaviour.rseq_in_tls {
        let features = stack.auxiliary_value(AT_RSEQ_FEATURE_SIZE) as u64;
        let area = RseqArea::new(features, stack.auxiliary_value(AT_RSEQ_ALIGN) as u64).unwrap_or(RseqArea::MINIMAL);
        let offset = plan.place_rseq(area)?;
        rseq = Some((offset, if features == 0 { 20 } else { features as u32 }));
    }
    let number = |name, default| tunables.number(name).unwrap_or(default);
    let optional = number("glibc.rtld.optional_static_tls", 512);
    // Every auditor has a namespace of its own.
    let namespaces = number("glibc.rtld.nns", 4).saturating_add(audit::asked(process) as u64);
    let surplus = plan::surplus(namespaces, optional)?;
    let block = plan.finish(surplus, optional)?;

    tls::set_largest_block((block.size() + RESERVE) as usize);
    let (ro, r, g) = (process.ro, &layout.global_ro, &layout.global);
    ro.put(r.tls_static_size, block.size() + u64::from(layout.pthread.size));
    ro.put(r.tls_static_align, block.align());
    ro.put(r.tls_static_surplus, surplus);
    process.global_record.put(g.tls_static_used, block.used());
    process.global_record.put(g.tls_static_optional, block.optional());
    // SAFETY: one thread.
    *unsafe { process.tls.get_mut() } = block;
    tls::publish_generation(process);
    Ok(rseq)
}
