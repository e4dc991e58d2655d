//! What CPUID costs a start, and whether the record that saves it is right.

use std::arch::x86_64::__cpuid_count;
use std::path::Path;

use super::Fact;
use crate::cache::cpu::{Saving, differences};
use crate::cache::record;

pub fn facts() -> Vec<Fact> {
    match Saving::measure() {
        Ok(saving) => vec![cpuid(&saving), recorded(&saving)],
        Err(error) => vec![Fact::limited("CPUID", "unknown", format!("{error:#}"))],
    }
}

/// What one CPUID costs: in a virtual machine each is a trip to the hypervisor.
fn cpuid(saving: &Saving) -> Fact {
    const NAME: &str = "CPUID";
    let is_guest = __cpuid_count(1, 0).ecx >> 31 == 1;
    let value = format!("{} ns each{}", saving.each.as_nanos(), if is_guest { ", in a virtual machine" } else { "" });
    if !saving.pays() {
        return Fact::good(NAME, value);
    }
    Fact::limited(
        NAME,
        value,
        format!(
            "each use is a trip to the hypervisor; a start under Folio takes {}, and none with a record",
            saving.times
        ),
    )
}

/// The record that starts from here look for.
fn recorded(saving: &Saving) -> Fact {
    const NAME: &str = "CPU record";
    const ANEW: &str = "it is ignored (folio cache cpu writes a new one)";
    let Some(path) = record::looked_for() else {
        return Fact::good(NAME, format!("switched off by {}, which is empty", record::VARIABLE));
    };
    let shown = path.display();
    let finding = match record::find(&path) {
        Ok(Some(finding)) => finding,
        Ok(None) if saving.pays() => {
            return Fact::limited(NAME, format!("none, {shown} is not there"), absent(&path));
        }
        Ok(None) => return Fact::good(NAME, "none, and none is needed"),
        Err(error) => return Fact::limited(NAME, format!("{error:#}"), ANEW),
    };
    if let Some(refusal) = finding.refusal {
        return Fact::limited(NAME, format!("{shown}: {refusal}"), ANEW);
    }
    let differences = finding.record().map(|record| differences(&record));
    match differences {
        Some(Ok(differences)) if differences.is_empty() => {
            Fact::good(NAME, format!("{shown}, which says what the processor says"))
        }
        Some(Ok(differences)) => Fact::limited(
            NAME,
            format!("{shown}, stale: the processor gives {} other answers", differences.len()),
            "programs take this processor for another one (folio cache cpu --show says where; write it anew, or --remove)",
        ),
        Some(Err(error)) => Fact::limited(NAME, format!("{shown}, unchecked"), format!("{error:#}")),
        None => Fact::limited(NAME, shown.to_string(), ANEW),
    }
}

/// What to do where there is no record: perhaps there is one that nobody was told of.
fn absent(looked_for: &Path) -> String {
    match record::own() {
        Ok(own) if own != looked_for && matches!(record::find(&own), Ok(Some(_))) => {
            format!("{} is there, and {} does not name it", own.display(), record::VARIABLE)
        }
        _ => "folio cache cpu writes one: starts until the next boot then take no CPUID".to_owned(),
    }
}
