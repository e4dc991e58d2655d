//! What the kernel offers.

use std::fs;

use super::Fact;
use crate::process::{self, Pagemap};

pub fn facts() -> Vec<Fact> {
    vec![release(), mseal(), page_tables(), huge_pages(), map_count()]
}

fn version() -> Option<(u32, u32)> {
    let uname = rustix::system::uname();
    let release = uname.release().to_str().ok()?;
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

fn release() -> Fact {
    let uname = rustix::system::uname();
    let value = format!(
        "{} {} {}",
        uname.sysname().to_string_lossy(),
        uname.release().to_string_lossy(),
        uname.machine().to_string_lossy()
    );
    Fact::good("kernel", value)
}

fn mseal() -> Fact {
    const NAME: &str = "mseal(2)";
    /// The release that brought it.
    const SINCE: (u32, u32) = (6, 10);
    match version() {
        Some(version) if version >= SINCE => Fact::good(NAME, "objects linked with -z memory-seal are sealed"),
        _ => Fact::limited(
            NAME,
            "not before Linux 6.10",
            "the mark of -z memory-seal has no effect: what is read-only can be made writable again",
        ),
    }
}

/// Whether frame numbers are shown: asked of a page that this process surely has.
fn page_tables() -> Fact {
    const NAME: &str = "pagemap";
    static HERE: u8 = 1;
    let address = &raw const HERE as u64;
    let page = Pagemap::open(std::process::id()).and_then(|pagemap| pagemap.page(address));
    match page {
        Ok(Some(process::Page { frame: Some(_), .. })) => Fact::good(NAME, "shows frame numbers"),
        Ok(_) => Fact::limited(
            NAME,
            "hides frame numbers",
            "folio share shows the kernel's sums of shared and private memory; root sees which frames are shared",
        ),
        Err(error) => Fact::limited(NAME, "cannot be read", format!("{error:#}: folio share cannot look at pages")),
    }
}

/// The word in brackets of a choice in sysfs.
fn chosen(path: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let (_, rest) = text.split_once('[')?;
    Some(rest.split_once(']')?.0.to_owned())
}

fn huge_pages() -> Fact {
    const NAME: &str = "huge pages";
    match chosen("/sys/kernel/mm/transparent_hugepage/enabled") {
        Some(mode) if mode == "never" => Fact::limited(NAME, "never", "large tables and heaps are mapped page by page"),
        Some(mode) => Fact::good(NAME, format!("transparent: {mode}")),
        None => Fact::limited(NAME, "the kernel has none", "large tables and heaps are mapped page by page"),
    }
}

fn map_count() -> Fact {
    const NAME: &str = "mappings";
    /// What a library takes at most: text, constants, sealed data, data, zeros.
    const EACH: u64 = 5;
    let limit = fs::read_to_string("/proc/sys/vm/max_map_count").ok().and_then(|text| text.trim().parse::<u64>().ok());
    match limit {
        Some(limit) => Fact::good(NAME, format!("up to {limit} in a process, enough for {} libraries", limit / EACH)),
        None => Fact::limited(NAME, "the limit cannot be read", "a program with many libraries may reach it unseen"),
    }
}
