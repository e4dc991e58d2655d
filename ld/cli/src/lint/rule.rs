//! The rules: their names, which stay as they are for the sake of scripts, and what each of them is about.

use serde::{Serialize, Serializer};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rule {
    TextRelocations,
    StaleTextrel,
    WritableCode,
    ExecutableStack,
    NoRelro,
    PartialRelro,
    RelocatedTables,
    WritableConstants,
    SelfLookups,
    NoRelr,
    NoGnuHash,
    MixedPages,
    OversizedAlignment,
    WastefulRpath,
}

/// How much it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    Error,
    Warning,
    Note,
}

impl Rule {
    pub const ALL: [Rule; 14] = [
        Rule::TextRelocations,
        Rule::StaleTextrel,
        Rule::WritableCode,
        Rule::ExecutableStack,
        Rule::NoRelro,
        Rule::PartialRelro,
        Rule::RelocatedTables,
        Rule::WritableConstants,
        Rule::SelfLookups,
        Rule::NoRelr,
        Rule::NoGnuHash,
        Rule::MixedPages,
        Rule::OversizedAlignment,
        Rule::WastefulRpath,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Rule::TextRelocations => "text-relocations",
            Rule::StaleTextrel => "stale-textrel",
            Rule::WritableCode => "writable-code",
            Rule::ExecutableStack => "executable-stack",
            Rule::NoRelro => "no-relro",
            Rule::PartialRelro => "partial-relro",
            Rule::RelocatedTables => "relocated-tables",
            Rule::WritableConstants => "writable-constants",
            Rule::SelfLookups => "self-lookups",
            Rule::NoRelr => "no-relr",
            Rule::NoGnuHash => "no-gnu-hash",
            Rule::MixedPages => "mixed-pages",
            Rule::OversizedAlignment => "oversized-alignment",
            Rule::WastefulRpath => "wasteful-rpath",
        }
    }

    pub fn level(self) -> Level {
        match self {
            Rule::TextRelocations | Rule::WritableCode => Level::Error,
            Rule::StaleTextrel | Rule::ExecutableStack | Rule::NoRelro => Level::Warning,
            _ => Level::Note,
        }
    }

    /// What breaks it.
    pub fn summary(self) -> &'static str {
        match self {
            Rule::TextRelocations => {
                "code or constants are changed when the library is loaded, so each process has its own"
            }
            Rule::StaleTextrel => {
                "DT_TEXTREL is set, and no relocation needs it: the loader makes text writable for nothing"
            }
            Rule::WritableCode => "a segment may be written and executed: no page of it stays shared for sure",
            Rule::ExecutableStack => "every thread of a process that loads it gets an executable stack",
            Rule::NoRelro => "relocated data stays writable: there is no PT_GNU_RELRO",
            Rule::PartialRelro => "the table of called functions stays writable: it is bound lazily",
            Rule::RelocatedTables => "tables of pointers are made private to each process by relative relocations",
            Rule::WritableConstants => "tables of pointers lie in .data, though they might be const",
            Rule::SelfLookups => "it looks up its own symbols by name, so that others may replace them",
            Rule::NoRelr => "relative relocations take 24 bytes each, where DT_RELR takes a few bits",
            Rule::NoGnuHash => "symbols are looked up by the old DT_HASH, without a Bloom filter",
            Rule::MixedPages => "a page of the file holds code and something else, and is mapped twice",
            Rule::OversizedAlignment => "segments lie far apart in the address space, each with page tables of its own",
            Rule::WastefulRpath => "folders in DT_RPATH or DT_RUNPATH are searched in vain at every start",
        }
    }

    /// What to do about it.
    pub fn remedy(self) -> &'static str {
        match self {
            Rule::TextRelocations => {
                "compile everything in it with -fPIC, and link with -z text to have the link editor insist"
            }
            Rule::StaleTextrel => "link again without -z notext",
            Rule::WritableCode => "link without -N or --omagic, and keep what is written out of executable sections",
            Rule::ExecutableStack => {
                "mark the assembly files with .section .note.GNU-stack,\"\",@progbits, avoid nested functions, link with -z noexecstack"
            }
            Rule::NoRelro => "link with -z relro -z now",
            Rule::PartialRelro => "link with -z now",
            Rule::RelocatedTables => {
                "let tables hold offsets or fixed-size strings instead of pointers; what stays in .data.rel.ro is at least protected"
            }
            Rule::WritableConstants => {
                "declare them const where nothing writes to them (const char *const names[]): they move to .data.rel.ro"
            }
            Rule::SelfLookups => {
                "link with -Bsymbolic-functions (or -Bsymbolic-non-weak-functions), hide what nobody else uses by a version script or -fvisibility=hidden, compile with -fno-plt and protected visibility what is public"
            }
            Rule::NoRelr => "link with -z pack-relative-relocs (glibc 2.36 and later)",
            Rule::NoGnuHash => "link with --hash-style=gnu or both",
            Rule::MixedPages => "link with -z separate-code",
            Rule::OversizedAlignment => "link with -z max-page-size=4096, unless huge pages are meant for its text",
            Rule::WastefulRpath => "drop the folders that are named, or use one $ORIGIN-relative folder",
        }
    }

    /// Whether `--fix` can apply the remedy to a copy.
    pub fn is_fixable(self) -> bool {
        matches!(self, Rule::ExecutableStack | Rule::NoRelr | Rule::WastefulRpath)
    }

    pub fn named(name: &str) -> Option<Rule> {
        Rule::ALL.into_iter().find(|rule| rule.name() == name)
    }
}

impl Serialize for Rule {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}
