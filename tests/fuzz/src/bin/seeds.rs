//! Writes the seeds of each target into a folder of its name, for libFuzzer to start from.

use std::path::PathBuf;

folio_fuzz::count_steps!();

fn main() -> std::io::Result<()> {
    let folder = std::env::args_os().nth(1).map_or_else(|| PathBuf::from("corpus"), PathBuf::from);
    folio_fuzz::seeds::write(&folder)
}
