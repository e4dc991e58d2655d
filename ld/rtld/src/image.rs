//! Objects in memory: bring files in, make objects of what is there, and carry out what the plan says of them.

pub mod adopt;
pub mod binding;
pub mod execstack;
pub mod execute;
pub mod files;
pub mod initialise;
pub mod map;
pub mod origin;
pub mod own;
pub mod scope;
pub mod seal;
