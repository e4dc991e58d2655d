//! Discover and plan, held to their rules by objects that are built in memory.

mod builder;
mod error;
mod graph;
mod index;
mod object;
mod placement;
mod relocate;
mod resolve;
mod totality;
mod version;
mod watch;
