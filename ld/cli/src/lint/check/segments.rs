//! Rules about segments: what may be written, what may be executed, and how they lie.

use folio_elf::relocation::R_X86_64_JUMP_SLOT;
use folio_link::placement::{PAGE, PF_W, PF_X};

use super::{Finding, Where};
use crate::lint::library::Library;
use crate::lint::rule::Rule;

/// What one page of page tables covers.
const TABLE: u64 = 2 << 20;

pub fn writable_code(library: &Library) -> Option<Finding> {
    let cause = "a segment is writable and executable".to_owned();
    library.has_segment(PF_W | PF_X).then(|| Finding::new(Rule::WritableCode, cause))
}

pub fn executable_stack(library: &Library) -> Option<Finding> {
    let cause = match library.object.placement.stack_flags {
        None => "there is no PT_GNU_STACK, which counts as a wish for one",
        Some(flags) if flags & PF_X != 0 => "PT_GNU_STACK asks for one",
        Some(_) => return None,
    };
    Some(Finding::new(Rule::ExecutableStack, cause.to_owned()))
}

pub fn no_relro(library: &Library) -> Option<Finding> {
    if library.object.placement.relro.is_some() || library.weight.relocated_data == 0 {
        return None;
    }
    let pages = library.weight.relocated_data;
    let cause = format!("{pages} pages of relocated data stay writable for the life of the process");
    Some(Finding::new(Rule::NoRelro, cause))
}

pub fn partial_relro(library: &Library) -> Option<Finding> {
    library.object.placement.relro?;
    let is_open =
        |place: &crate::lint::library::Place| place.kind == R_X86_64_JUMP_SLOT && !library.is_sealed(place.at / PAGE);
    let slots = library.places.iter().filter(|place| is_open(place)).count();
    if slots == 0 {
        return None;
    }
    let pages = library.by_page(is_open).len();
    let cause = format!("{slots} pointers to functions on {pages} pages stay writable");
    Some(Finding::new(Rule::PartialRelro, cause))
}

pub fn no_gnu_hash(library: &Library) -> Option<Finding> {
    let symbols = library.object.symbols.as_ref()?;
    let count = symbols.count();
    let is_old = symbols.gnu_hash.is_none() && symbols.sysv_hash.is_some() && count > 1;
    is_old.then(|| Finding::new(Rule::NoGnuHash, format!("{count} symbols, and DT_HASH alone to find them")))
}

/// Pages of the file that two segments map, one of them executable. Constants and data on one page of the file are the
/// rule, and cost nothing.
pub fn mixed_pages(library: &Library) -> Option<Finding> {
    let pairs = library.segments().windows(2).filter(|pair| {
        let file_end = pair[0].offset + (pair[0].data_end.0 - pair[0].start.0);
        let is_mixed = (pair[0].flags | pair[1].flags) & PF_X != 0 && pair[0].flags != pair[1].flags;
        is_mixed && pair.iter().all(|segment| segment.has_file_part()) && file_end > pair[1].offset
    });
    let writable = pairs.clone().filter(|pair| (pair[0].flags | pair[1].flags) & PF_W != 0).count() as u64;
    let count = pairs.count() as u64;
    if count == 0 {
        return None;
    }
    let cause =
        format!("{count} pages of the file are mapped as code and again as something else, {writable} of them as data");
    Some(Finding::new(Rule::MixedPages, cause).kib(count * PAGE))
}

pub fn oversized_alignment(library: &Library) -> Option<Finding> {
    let placement = &library.object.placement;
    let holes: u64 = library.segments().windows(2).map(|pair| pair[1].start.0 - pair[0].pages_end().0).sum();
    if placement.align <= PAGE || holes < TABLE / 2 {
        return None;
    }
    let mut tables: Vec<u64> = library
        .segments()
        .iter()
        .flat_map(|segment| segment.start.0 / TABLE..=(segment.pages_end().0 - 1) / TABLE)
        .collect();
    tables.dedup();
    let needed = (placement.span() - holes).div_ceil(TABLE);
    let more = (tables.len() as u64).saturating_sub(needed);
    let cause = format!(
        "segments are aligned to {} KiB: {} KiB of holes, and up to {more} more pages of page tables in each process",
        placement.align / 1024,
        holes / 1024,
    );
    let places = library.segments().windows(2).filter(|pair| pair[1].start.0 - pair[0].pages_end().0 >= TABLE / 2);
    let places = places.map(|pair| Where {
        name: format!("before address {:#x}", pair[1].start.0),
        count: (pair[1].start.0 - pair[0].pages_end().0) / 1024,
        unit: "KiB",
    });
    let places = places.collect();
    Some(Finding::new(Rule::OversizedAlignment, cause).kib(holes).at(places))
}
