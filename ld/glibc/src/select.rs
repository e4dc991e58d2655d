//! Which layout table fits the libc at hand.
//!
//! A version number does not say: distributions ship point releases whose structures differ (2.39 as first released has
//! another `rtld_global_ro` than the tip of its branch). So the libc that was just mapped is measured, before any code
//! of it runs. A build id that a table was made from decides alone. Any other libc must agree with a table in every
//! [`Fingerprint`], and one that cannot be measured counts as disagreement: a table is never guessed.

mod decode;
mod decoded;
#[cfg(test)]
pub(crate) mod file;
#[cfg(test)]
mod tests;

use core::fmt;

use crate::layout::{BuildId, Layout, Version};
use crate::tables;

pub use decoded::Decoded;

/// A libc.so.6 as mapped or as a file. Symbols are meant in any version of theirs.
pub trait Libc {
    /// Description of the `NT_GNU_BUILD_ID` note.
    fn build_id(&self) -> Option<&[u8]>;
    /// At most `max` bytes at the definition of an exported symbol.
    fn bytes_at(&self, symbol: &str, max: usize) -> Option<&[u8]>;
    /// Whether the dynamic symbol table defines the symbol.
    fn exports(&self, symbol: &str) -> bool;
    /// Whether the dynamic symbol table has the symbol undefined.
    fn imports(&self, symbol: &str) -> bool;
}

/// Finds the table for a libc.
#[expect(clippy::result_large_err, reason = "rare, moved once, and there is no allocator here")]
pub fn select(libc: &impl Libc) -> Result<&'static Layout, Mismatch> {
    let build_id = libc.build_id();
    if let Some(id) = build_id
        && let Some(layout) = tables::ALL.iter().find(|layout| !layout.build_id.is_empty() && *layout.build_id == *id)
    {
        return Ok(layout);
    }
    let measured = Fingerprint::ALL.map(|fingerprint| fingerprint.measure(libc));
    let differences = |layout: &&Layout| Mismatch::between(layout, &measured).count();
    // Of equals the newest is the nearest: most unknown libcs are young.
    let nearest = tables::ALL.iter().rev().min_by_key(differences).unwrap_or(&tables::ALL[0]);
    if differences(&nearest) == 0 {
        return Ok(nearest);
    }
    let build_id = build_id.and_then(|id| id.try_into().ok()).map_or(BuildId::NONE, BuildId::new);
    Err(Mismatch { build_id, measured, nearest })
}

/// Something that a libc says of the structures that it shares with its loader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fingerprint {
    /// `__nptl_version`, as major * 1000 + minor.
    Version,
    LinkMapTlsModid,
    LinkMapTlsOffset,
    GlobalStackUsed,
    GlobalStackUser,
    GlobalSlotinfoList,
    PthreadSize,
    PthreadDtv,
    PthreadList,
    PthreadTid,
    PthreadCancelhandling,
    PthreadReportEvents,
    PthreadSchedpolicy,
    PthreadStartRoutine,
    PthreadSpecific,
    PthreadEventbuf,
    PthreadNextevent,
    SlotinfoListLen,
    SlotinfoListNext,
    SlotinfoListSlotinfo,
    SlotinfoSize,
    SlotinfoGen,
    SlotinfoMap,
    RoFindObject,
    RoDlfcnHook,
    RoMcount,
    /// Offset of the first CPUID leaf in `rtld_global_ro`.
    RoCpuidLeaves,
    CpuidLeafCount,
    ExportsCatchException,
    ImportsCatchException,
    ImportsTunableIsInitialized,
    ImportsRseqOffset,
    ImportsChangeStackPerm,
}

/// How a fingerprint is taken.
enum Source {
    Version,
    /// The last number of a `_thread_db_*` descriptor: an offset, or for `sizeof` the size
    /// (*glibc nptl_db/structs.def and db_info.c*).
    ThreadDb(&'static str),
    /// The member of `rtld_global_ro` that a function takes first.
    Member(&'static str),
    LeafCount,
    LeafStart,
    Exports(&'static str),
    Imports(&'static str),
}

impl Fingerprint {
    pub const ALL: [Self; 33] = {
        use Fingerprint::*;
        [
            Version,
            LinkMapTlsModid,
            LinkMapTlsOffset,
            GlobalStackUsed,
            GlobalStackUser,
            GlobalSlotinfoList,
            PthreadSize,
            PthreadDtv,
            PthreadList,
            PthreadTid,
            PthreadCancelhandling,
            PthreadReportEvents,
            PthreadSchedpolicy,
            PthreadStartRoutine,
            PthreadSpecific,
            PthreadEventbuf,
            PthreadNextevent,
            SlotinfoListLen,
            SlotinfoListNext,
            SlotinfoListSlotinfo,
            SlotinfoSize,
            SlotinfoGen,
            SlotinfoMap,
            RoFindObject,
            RoDlfcnHook,
            RoMcount,
            RoCpuidLeaves,
            CpuidLeafCount,
            ExportsCatchException,
            ImportsCatchException,
            ImportsTunableIsInitialized,
            ImportsRseqOffset,
            ImportsChangeStackPerm,
        ]
    };

    /// What is measured, and what a table must hold to agree.
    fn describe(self, table: &Layout) -> (Source, u32) {
        use Source::*;
        let (ro, global, map, thread, slots) =
            (&table.global_ro, &table.global, &table.link_map, &table.pthread, &table.slotinfo);
        let (source, expected) = match self {
            Self::Version => return (Version, number(table.version)),
            Self::LinkMapTlsModid => (ThreadDb("_thread_db_link_map_l_tls_modid"), map.tls_modid),
            Self::LinkMapTlsOffset => (ThreadDb("_thread_db_link_map_l_tls_offset"), map.tls_offset),
            Self::GlobalStackUsed => (ThreadDb("_thread_db_rtld_global__dl_stack_used"), global.stack_used),
            Self::GlobalStackUser => (ThreadDb("_thread_db_rtld_global__dl_stack_user"), global.stack_user),
            Self::GlobalSlotinfoList => {
                (ThreadDb("_thread_db_rtld_global__dl_tls_dtv_slotinfo_list"), global.tls_dtv_slotinfo_list)
            }
            Self::PthreadSize => (ThreadDb("_thread_db_sizeof_pthread"), thread.size),
            Self::PthreadDtv => (ThreadDb("_thread_db_pthread_dtvp"), thread.dtv),
            Self::PthreadList => (ThreadDb("_thread_db_pthread_list"), thread.list),
            Self::PthreadTid => (ThreadDb("_thread_db_pthread_tid"), thread.tid),
            Self::PthreadCancelhandling => (ThreadDb("_thread_db_pthread_cancelhandling"), thread.cancelhandling),
            Self::PthreadReportEvents => (ThreadDb("_thread_db_pthread_report_events"), thread.report_events),
            Self::PthreadSchedpolicy => (ThreadDb("_thread_db_pthread_schedpolicy"), thread.schedpolicy),
            Self::PthreadStartRoutine => (ThreadDb("_thread_db_pthread_start_routine"), thread.start_routine),
            Self::PthreadSpecific => (ThreadDb("_thread_db_pthread_specific"), thread.specific),
            Self::PthreadEventbuf => (ThreadDb("_thread_db_pthread_eventbuf"), thread.eventbuf),
            Self::PthreadNextevent => (ThreadDb("_thread_db_pthread_nextevent"), thread.nextevent),
            Self::SlotinfoListLen => (ThreadDb("_thread_db_dtv_slotinfo_list_len"), slots.list_len),
            Self::SlotinfoListNext => (ThreadDb("_thread_db_dtv_slotinfo_list_next"), slots.list_next),
            Self::SlotinfoListSlotinfo => (ThreadDb("_thread_db_dtv_slotinfo_list_slotinfo"), slots.list_slotinfo),
            Self::SlotinfoSize => (ThreadDb("_thread_db_sizeof_dtv_slotinfo"), slots.size),
            Self::SlotinfoGen => (ThreadDb("_thread_db_dtv_slotinfo_gen"), slots.gen_),
            Self::SlotinfoMap => (ThreadDb("_thread_db_dtv_slotinfo_map"), slots.map),
            Self::RoFindObject => (Member("_dl_find_object"), ro.find_object),
            Self::RoDlfcnHook => (Member("dlclose"), ro.dlfcn_hook),
            Self::RoMcount => (Member("_dl_mcount_wrapper"), ro.mcount),
            Self::RoCpuidLeaves => (LeafStart, ro.cpu_features + table.cpu.features),
            Self::CpuidLeafCount => (LeafCount, table.cpu.leaves.into()),
            Self::ExportsCatchException => {
                (Exports("_dl_catch_exception"), table.behaviour.libc_owns_exceptions.into())
            }
            Self::ImportsCatchException => {
                (Imports("_dl_catch_exception"), (!table.behaviour.libc_owns_exceptions).into())
            }
            Self::ImportsTunableIsInitialized => {
                (Imports("__tunable_is_initialized"), table.behaviour.tunable_strings_have_length.into())
            }
            Self::ImportsRseqOffset => (Imports("__rseq_offset"), table.behaviour.rseq_in_tls.into()),
            // The loader makes stacks executable for libc up to 2.40.
            Self::ImportsChangeStackPerm => {
                (Imports("__nptl_change_stack_perm"), (!table.behaviour.rseq_in_tls).into())
            }
        };
        (source, expected.into())
    }

    fn expected(self, table: &Layout) -> u32 {
        self.describe(table).1
    }

    fn source(self) -> Source {
        self.describe(&tables::ALL[0]).0
    }

    fn measure(self, libc: &impl Libc) -> Option<u32> {
        let leaf_function = || libc.bytes_at("__x86_get_cpuid_feature_leaf", decode::LEAF_FUNCTION);
        match self.source() {
            Source::Version => number_of_release(libc.bytes_at("__nptl_version", 16)?),
            Source::ThreadDb(symbol) => {
                // {element bits, count, byte offset}, or the size alone.
                let length = if symbol.starts_with("_thread_db_sizeof_") { 4 } else { 12 };
                let bytes = libc.bytes_at(symbol, length)?;
                (bytes.len() == length).then(|| bytes.last_chunk().copied().map(u32::from_le_bytes)).flatten()
            }
            Source::Member(function) => decode::first_member(libc.bytes_at(function, decode::MEMBER_FUNCTION)?),
            Source::LeafCount => decode::last_leaf(leaf_function()?)?.checked_add(1),
            Source::LeafStart => decode::leaf_start(leaf_function()?),
            Source::Exports(symbol) => Some(libc.exports(symbol).into()),
            Source::Imports(symbol) => Some(libc.imports(symbol).into()),
        }
    }
}

fn number(version: Version) -> u32 {
    u32::from(version.major) * 1000 + u32::from(version.minor)
}

/// `"2.36\0"`; a third number is a development version, whose layouts nobody promised.
fn number_of_release(bytes: &[u8]) -> Option<u32> {
    let text = bytes.split(|byte| *byte == 0).next()?;
    let (major, minor) = core::str::from_utf8(text).ok()?.split_once('.')?;
    let (major, minor) = (major.parse().ok()?, minor.parse().ok()?);
    (minor < 1000).then(|| number(Version { major, minor }))
}

/// No table fits.
#[derive(Debug)]
pub struct Mismatch {
    build_id: BuildId,
    /// In the order of [`Fingerprint::ALL`].
    measured: [Option<u32>; Fingerprint::ALL.len()],
    /// The table with the fewest differences.
    pub nearest: &'static Layout,
}

impl Mismatch {
    /// Each difference from the nearest table: what, what was measured, what the table has.
    pub fn differences(&self) -> impl Iterator<Item = (Fingerprint, Option<u32>, u32)> {
        Self::between(self.nearest, &self.measured)
    }

    fn between(
        layout: &Layout,
        measured: &[Option<u32>; Fingerprint::ALL.len()],
    ) -> impl Iterator<Item = (Fingerprint, Option<u32>, u32)> {
        let pairs = Fingerprint::ALL.into_iter().zip(measured);
        pairs
            .map(|(fingerprint, measured)| (fingerprint, *measured, fingerprint.expected(layout)))
            .filter(|(_, measured, expected)| *measured != Some(*expected))
    }
}

/// How many differences a [`Mismatch`] names.
const NAMED: usize = 4;

/// `libc 2.44 (build id 01ab…) fits no layout table; nearest 2.43 (Debian sid 2.43-7): version is 2.44, not 2.43; …`
impl fmt::Display for Mismatch {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        out.write_str("libc")?;
        if let Some(version) = self.measured[0] {
            write!(out, " {}", Value(Fingerprint::Version, version))?;
        }
        if !self.build_id.is_empty() {
            write!(out, " (build id {})", self.build_id)?;
        }
        write!(out, " fits no layout table; nearest {}:", self.nearest.label)?;
        // A libc of another age differs everywhere: a few differences tell as much.
        for (at, (fingerprint, measured, expected)) in self.differences().take(NAMED).enumerate() {
            write!(out, "{} {fingerprint} ", if at == 0 { "" } else { ";" })?;
            match measured {
                Some(measured) => write!(out, "is {}", Value(fingerprint, measured))?,
                None => out.write_str("cannot be measured")?,
            }
            write!(out, ", not {}", Value(fingerprint, expected))?;
        }
        match self.differences().count() {
            ..=NAMED => {}
            count => write!(out, "; and {} more", count - NAMED)?,
        }
        Ok(())
    }
}

/// The symbol or function that says it.
impl fmt::Display for Fingerprint {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        match self.source() {
            Source::Version => out.write_str("version"),
            Source::ThreadDb(symbol) => out.write_str(symbol),
            Source::Member(function) => write!(out, "the member that {function} takes"),
            Source::LeafCount => out.write_str("the number of CPUID leaves"),
            Source::LeafStart => out.write_str("the offset of the CPUID leaves"),
            Source::Exports(symbol) => write!(out, "exporting {symbol}"),
            Source::Imports(symbol) => write!(out, "importing {symbol}"),
        }
    }
}

/// A measured number as its fingerprint's reader wants it.
struct Value(Fingerprint, u32);

impl fmt::Display for Value {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        match self.0.source() {
            Source::Version => write!(out, "{}.{}", self.1 / 1000, self.1 % 1000),
            Source::Exports(_) | Source::Imports(_) => out.write_str(if self.1 == 0 { "no" } else { "yes" }),
            _ => write!(out, "{}", self.1),
        }
    }
}
