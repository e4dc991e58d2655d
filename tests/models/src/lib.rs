//! Models of what threads do to each other in the dynamic linker, for a model checker (loom).
//!
//! The protocol files of `ld/rtld` are built here a second time, as they are: they name nothing of the loader's but
//! `crate::sync`, which is loom's atomics here. Each model is a few threads that use them as the loader does; the checker runs
//! it in every order of their steps, and with every value that the memory model lets a load see.
//!
//! That a model would notice a fault is shown by making one: see [`mutant`].

extern crate alloc;

pub mod changes;
mod dl;
pub mod modules;
pub mod mutant;
pub mod ranges;
pub mod sync;

/// A model: its name, and one execution of it.
pub struct Model {
    pub name: &'static str,
    pub execution: fn(),
}

pub const ALL: &[Model] = &[
    Model { name: "an object is loaded below", execution: ranges::load_below },
    Model { name: "an object goes", execution: ranges::unload_below },
    Model { name: "a table is outgrown", execution: ranges::outgrow },
    Model { name: "ids are used again", execution: modules::use_ids_again },
    Model { name: "a module is placed in use", execution: modules::place_in_use },
    Model { name: "a thread is made meanwhile", execution: modules::make_thread },
    Model { name: "lock word", execution: changes::exclude_each_other },
    Model { name: "fork waits for a change", execution: changes::fork_waits },
    Model { name: "fork waits for foreign code", execution: changes::fork_waits_for_foreign },
    Model { name: "foreign code waits for fork", execution: changes::foreign_waits_for_fork },
    Model { name: "a resolver forks", execution: changes::fork_in_change },
    Model { name: "a child begins", execution: changes::begin_child },
];

/// Models that do the right things in a wrong order, and have to fail.
pub const WRONG: &[Model] = &[
    Model { name: "a block is filled after the decision for it", execution: modules::fill_too_late },
    Model { name: "a generation is published before its modules", execution: modules::publish_too_early },
];

/// How often a thread is stopped where it could go on. Hardly any fault that was ever found takes more (Musuvathi and Qadeer,
/// "Iterative Context Bounding for Systematic Testing of Multithreaded Programs").
pub const PREEMPTIONS: usize = 2;

/// Runs a model in every way with so many preemptions; gives how many there were. Panics if one goes wrong.
pub fn explore(model: &Model, preemptions: usize) -> u64 {
    use std::sync::atomic::{AtomicU64, Ordering};
    static EXECUTIONS: AtomicU64 = AtomicU64::new(0);
    let before = EXECUTIONS.load(Ordering::Relaxed);
    let execution = model.execution;
    let mut builder = loom::model::Builder::new();
    builder.max_branches = 4000;
    builder.preemption_bound = Some(preemptions);
    builder.check(move || {
        EXECUTIONS.fetch_add(1, Ordering::Relaxed);
        sync::begin_execution();
        execution();
    });
    EXECUTIONS.load(Ordering::Relaxed) - before
}
