//! The categories of `LD_DEBUG`: their names, and their bits in `_dl_debug_mask`, which libc reads.
//!
//! Names and what `help` says of them are those of *glibc elf/rtld.c, process_dl_debug* (ld.so(8)).

use bitflags::bitflags;

bitflags! {
    /// What is said; the bits are those of `_dl_debug_mask`, which libc reads.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct Categories: u32 {
        const LIBS = 1;
        /// Calls of initializers and finalizers.
        const CALLS = 1 << 1;
        const BINDINGS = 1 << 2;
        const SYMBOLS = 1 << 3;
        const VERSIONS = 1 << 4;
        const RELOC = 1 << 5;
        const FILES = 1 << 6;
        const STATISTICS = 1 << 7;
        const UNUSED = 1 << 8;
        const SCOPES = 1 << 9;
        const HELP = 1 << 10;
        /// From 2.43: libc's stacks and blocks of thread-local storage.
        const TLS = 1 << 11;
        const SECURITY = 1 << 12;
    }
}

use Categories as C;

/// The names of `LD_DEBUG`, what they switch on, and what `help` says of them.
pub const NAMES: [(&str, Categories, &str); 13] = [
    ("libs", C::LIBS.union(C::CALLS), "display library search paths"),
    ("reloc", C::RELOC.union(C::CALLS), "display relocation processing"),
    ("files", C::FILES.union(C::CALLS), "display progress for input file"),
    ("symbols", C::SYMBOLS.union(C::CALLS), "display symbol table processing"),
    ("bindings", C::BINDINGS.union(C::CALLS), "display information about symbol binding"),
    ("versions", C::VERSIONS.union(C::CALLS), "display version dependencies"),
    ("scopes", C::SCOPES, "display scope information"),
    ("tls", C::TLS, "display TLS structures processing"),
    ("security", C::SECURITY, "show security warnings for input files"),
    ("all", ALL, "all previous options combined"),
    ("statistics", C::STATISTICS, "display relocation statistics"),
    ("unused", C::UNUSED, "determined unused DSOs"),
    ("help", C::HELP, "display this help message and exit"),
];

const ALL: Categories = C::all().difference(C::STATISTICS.union(C::UNUSED).union(C::HELP));

impl Categories {
    /// Reads the value of `LD_DEBUG`; names are separated by blanks, commas and colons, and `unknown` gets those that are none.
    pub fn parse<'v>(value: &'v [u8], mut unknown: impl FnMut(&'v [u8])) -> Categories {
        let mut categories = Categories::empty();
        for word in value.split(|byte| b" ,:".contains(byte)).filter(|word| !word.is_empty()) {
            match NAMES.iter().find(|(name, ..)| name.as_bytes() == word) {
                Some((_, meant, _)) => categories |= *meant,
                None => unknown(word),
            }
        }
        categories
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_add_up_and_others_are_told() {
        let mut unknown = Vec::new();
        let categories = Categories::parse(b"files:libs, nonsense,,Libs unused", |word| unknown.push(word));
        assert_eq!(categories, C::FILES | C::LIBS | C::CALLS | C::UNUSED);
        assert_eq!(unknown, [&b"nonsense"[..], b"Libs"]);
        assert!(Categories::parse(b" ,:", |_| panic!("there is no word")).is_empty());
    }

    #[test]
    fn all_are_those_that_say_what_is_done() {
        let all = Categories::parse(b"all", |_| panic!("it is known"));
        assert_eq!(all, !(C::STATISTICS | C::UNUSED | C::HELP));
    }
}
