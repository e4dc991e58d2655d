//! `LD_DEBUG=libs`, `files` and `versions`: where libraries are looked for, which files are mapped, which versions they need.

use core::fmt::Write;

use folio_elf::Lossy;
use folio_elf::version::Need;
use folio_glibc::layout::Version;
use folio_link::object::{Object, ObjectId, Objects};
use folio_link::search::{Listing, Observe, Redirect, Reference, Refusal, Rule};

use crate::audit::Auditing;
use crate::profile::{Kind as Profiled, Span};

use super::{Categories as C, Lines, is_on, say};

/// The first release that says of each attempt of a search what became of it.
pub const REMARKS: Version = Version { major: 2, minor: 43 };

/// The eyes on searches for objects of one namespace.
pub struct Searches<'p> {
    pub program: &'p [u8],
    pub namespace: usize,
    /// The namespace of who opens the first of them; `None` if that has no say in where it is looked for.
    pub from: Option<usize>,
    /// The path list that takes the place of `LD_LIBRARY_PATH` came with `--library-path`.
    pub by_option: bool,
    /// What became of each attempt is said, too.
    pub remarks: bool,
    /// Auditors that have a say in them.
    pub auditing: Option<Auditing<'p>>,
    /// The search under way, for the profile.
    pub under_way: Span,
}

impl Searches<'_> {
    /// One line of directories, and where they come from.
    #[cold]
    #[inline(never)]
    fn show_list(&self, rule: Rule, owner: &[u8], directories: &Listing<'_>) {
        let mut line = Lines::new();
        line.push(b" search path=");
        for (index, path) in directories.paths().enumerate() {
            line.push(if index == 0 { b"" } else { b":" });
            line.push(&path);
        }
        let owner = Lossy(if owner.is_empty() { self.program } else { owner });
        let _ = match rule {
            Rule::Rpath => writeln!(line, "\t\t(RPATH from file {owner})"),
            Rule::Runpath => writeln!(line, "\t\t(RUNPATH from file {owner})"),
            Rule::LibraryPath if self.by_option => writeln!(line, "\t\t(--library-path)"),
            Rule::LibraryPath => writeln!(line, "\t\t(LD_LIBRARY_PATH)"),
            Rule::Direct | Rule::Cache | Rule::Default => writeln!(line, "\t\t(system search path)"),
        };
    }
}

impl Observe for Searches<'_> {
    fn wanted(&mut self, objects: &Objects, asked: &[u8], id: ObjectId, reference: Reference) -> Redirect {
        let requester = &objects[id];
        let (how, from) = match (reference, self.from) {
            (Reference::Opened, Some(from)) => ("dynamically loaded", from),
            (Reference::Opened, None) => return Redirect::Keep,
            _ => ("needed", self.namespace),
        };
        let (name, namespace) = (Lossy(asked), self.namespace);
        let requester = Lossy(requester.display_name(self.program));
        say(C::FILES, format_args!("\nfile={name} [{namespace}];  {how} by {requester} [{from}]\n"));
        self.auditing.as_mut().map(|auditing| auditing.wanted(id, asked)).unwrap_or_default()
    }

    fn added(&mut self, objects: &Objects, id: ObjectId) {
        if let Some(auditing) = &mut self.auditing {
            auditing.added(objects, id);
        }
    }

    fn mapped(&mut self, name: &[u8], object: &Object) {
        if !is_on(C::FILES) {
            return;
        }
        let placement = &object.placement;
        let dynamic = placement.dynamic.map_or(0, |extent| object.address(extent.at).0);
        let headers = placement.headers.map_or(0, |at| object.address(at).0);
        let end = placement.segments.last().map_or(0, |segment| segment.end.0);
        let size = end.wrapping_sub(placement.start().0);
        let (base, entry) = (object.image.bias().0, object.address(placement.entry).0);
        say(
            C::FILES,
            format_args!(
                "file={} [{}];  generating link map\n  \
                 dynamic: {dynamic:#018x}  base: {base:#018x}   size: {size:#018x}\n    \
                 entry: {entry:#018x}  phdr: {headers:#018x}  phnum:   {:16}\n\n",
                Lossy(name),
                self.namespace,
                placement.header_count,
            ),
        );
    }

    fn find(&mut self, name: &[u8]) {
        self.under_way = Span::about(Profiled::Search, || name);
        say(C::LIBS, format_args!("find library={} [{}]; searching\n", Lossy(name), self.namespace));
    }

    fn list(&mut self, rule: Rule, owner: &[u8], directories: &Listing<'_>) {
        if is_on(C::LIBS) {
            self.show_list(rule, owner, directories);
        }
    }

    fn cache(&mut self) {
        say(C::LIBS, format_args!(" search cache=/etc/ld.so.cache\n"));
    }

    fn trying(&mut self, path: &[u8], rule: Rule) -> Redirect {
        if rule != Rule::Direct {
            say(C::LIBS, format_args!("  trying file={}\n", Lossy(path)));
        }
        self.auditing.as_mut().map(|auditing| auditing.trying(path, rule)).unwrap_or_default()
    }

    fn refused(&mut self, _path: &[u8], _rule: Rule, reason: Refusal) {
        let remark = match reason {
            Refusal::Absent(_) => "no such file",
            Refusal::OtherClass => "incompatible ELF class",
            Refusal::OtherMachine => "incompatible ELF machine",
            _ => return,
        };
        if self.remarks {
            say(C::LIBS, format_args!("    ({remark})\n"));
        }
    }

    fn done(&mut self, _rule: Option<Rule>) {
        self.under_way = Span::NONE;
        say(C::LIBS, format_args!("\n"));
    }
}

/// A version is looked for that `requester` needs.
pub fn version_wanted(need: &Need, provider: &Object, requester: &Object, program: &[u8], namespace: usize) {
    say(
        C::VERSIONS,
        format_args!(
            "checking for version `{}' in file {} [{namespace}] required by file {} [{namespace}]\n",
            Lossy(need.name),
            Lossy(provider.display_name(program)),
            Lossy(requester.display_name(program)),
        ),
    );
}
