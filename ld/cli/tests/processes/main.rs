//! The commands that look at processes: `share`, `compare` and `profile`, as people call them, on processes whose pages are known and
//! on programs made for the purpose.

mod causes;
mod compare;
mod pagemap;
mod picture;
mod profile;
mod refusals;
mod share;
#[path = "../files/workshop.rs"]
#[allow(dead_code, reason = "the tests of the commands that look into files use the rest of it")]
mod workshop;
