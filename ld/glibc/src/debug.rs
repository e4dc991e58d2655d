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

/// The names of `LD_DEBUG`, what they switch on, and what `help` says of them. The texts are one each, for a list of texts
/// would be pointers, which each start had to relocate.
pub fn names() -> impl Iterator<Item = (&'static str, Categories, &'static str)> {
    const NAMES: &str = "libs reloc files symbols bindings versions scopes tls security all statistics unused help";
    const MEANT: [Categories; 13] = [
        C::LIBS.union(C::CALLS),
        C::RELOC.union(C::CALLS),
        C::FILES.union(C::CALLS),
        C::SYMBOLS.union(C::CALLS),
        C::BINDINGS.union(C::CALLS),
        C::VERSIONS.union(C::CALLS),
        C::SCOPES,
        C::TLS,
        C::SECURITY,
        ALL,
        C::STATISTICS,
        C::UNUSED,
        C::HELP,
    ];
    const SAID: &str = "\
        display library search paths\n\
        display relocation processing\n\
        display progress for input file\n\
        display symbol table processing\n\
        display information about symbol binding\n\
        display version dependencies\n\
        display scope information\n\
        display TLS structures processing\n\
        show security warnings for input files\n\
        all previous options combined\n\
        display relocation statistics\n\
        determined unused DSOs\n\
        display this help message and exit";
    let words = NAMES.split(' ').zip(SAID.split('\n'));
    words.zip(MEANT).map(|((name, said), meant)| (name, meant, said))
}

const ALL: Categories = C::all().difference(C::STATISTICS.union(C::UNUSED).union(C::HELP));

impl Categories {
    /// Reads the value of `LD_DEBUG`; names are separated by blanks, commas and colons, and `unknown` gets those that are none.
    pub fn parse<'v>(value: &'v [u8], mut unknown: impl FnMut(&'v [u8])) -> Categories {
        let mut categories = Categories::empty();
        for word in value.split(|byte| b" ,:".contains(byte)).filter(|word| !word.is_empty()) {
            match names().find(|(name, ..)| name.as_bytes() == word) {
                Some((_, meant, _)) => categories |= meant,
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
