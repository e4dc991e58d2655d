//! The commands that look into files: `patch`, `explain`, `lint` and `doctor`, as people call them, on files that are made
//! for the purpose and on damaged ones.

mod doctor;
mod explain;
mod lint;
mod patch;
mod refusals;
mod workshop;
