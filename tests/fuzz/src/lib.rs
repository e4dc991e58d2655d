//! Fuzz targets: each decoder of Folio, and discover and plan as a whole, over bytes that nobody vouches for.
//!
//! What must hold of every input: an error or a well-formed answer, no panic, no access outside the image, and no more
//! steps and memory than the target's [`Bound`] allows for an input of that size. `cargo xtask test` runs each target for a
//! moment with a deterministic mutator. With libFuzzer and AddressSanitizer, in this folder, for as long as one likes:
//!
//! ```sh
//! cargo install cargo-fuzz
//! cargo run --release --no-default-features --bin seeds corpus
//! export RUSTFLAGS="-Cllvm-args=-sanitizer-coverage-trace-pc -Clink-arg=-Wl,-z,muldefs"
//! cargo +nightly fuzz run --fuzz-dir . link -- -max_len=65536
//! ```

pub mod archive;
pub mod decoders;
pub mod elf_fields;
pub mod hostile;
pub mod link;
pub mod memory;
pub mod meter;
pub mod mutate;
pub mod processors;
pub mod seeds;
pub mod texts;

use meter::Cost;

/// What an input of some size may cost: so much for each of its bytes, and so much in any case.
#[derive(Clone, Copy, Debug)]
pub struct Bound {
    pub steps: [u64; 2],
    pub memory: [u64; 2],
}

/// Bytes of the table of versions that an object may have, however few they are: their indices have 15 bits.
const VERSIONS: u64 = 2 << 20;

impl Bound {
    /// For decoders that answer with views of their input.
    const VIEW: Bound = Bound { steps: [100, 20_000], memory: [16, 4096] };

    /// For decoders of records that name strings: each may be as long as a path, whatever the size of its record.
    const NAMES: Bound = Bound { steps: [8000, 50_000], memory: [16, 4096] };

    fn allows(&self, size: usize, cost: &Cost) -> bool {
        let limit = |[each, any]: [u64; 2]| each * size as u64 + any;
        cost.steps <= limit(self.steps) && cost.memory <= limit(self.memory)
    }
}

/// How an input is changed: by fields where their places are known, else byte by byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    Bytes,
    /// One ELF file.
    Object,
    /// Several files ([`archive`]).
    Archive,
}

/// One fuzz target.
pub struct Target {
    pub name: &'static str,
    run: fn(&[u8]),
    pub seeds: fn() -> Vec<Vec<u8>>,
    pub shape: Shape,
    pub bound: Bound,
}

impl Target {
    /// Runs the target on an input, and panics if an answer or its cost is not as it must be.
    pub fn check(&self, input: &[u8]) -> Cost {
        let cost = meter::measure(|| (self.run)(input));
        assert!(
            self.bound.allows(input.len(), &cost),
            "{} bytes cost {cost:?}, allowed is {:?}",
            input.len(),
            self.bound
        );
        cost
    }
}

/// Every target, by the name of its program in `fuzz_targets`.
#[allow(non_upper_case_globals, reason = "named as their programs")]
pub mod targets {
    use super::*;

    const fn target(name: &'static str, run: fn(&[u8]), seeds: fn() -> Vec<Vec<u8>>) -> Target {
        Target { name, run, seeds, shape: Shape::Bytes, bound: Bound::VIEW }
    }

    pub const header: Target = Target { shape: Shape::Object, ..target("header", decoders::header, seeds::objects) };
    pub const placement: Target =
        Target { shape: Shape::Object, ..target("placement", decoders::placement, seeds::objects) };
    pub const dynamic: Target =
        Target { bound: Bound::NAMES, ..target("dynamic", decoders::dynamic, seeds::dynamic_sections) };
    pub const gnu_hash: Target = target("gnu_hash", decoders::gnu_hash, seeds::gnu_hash_tables);
    pub const sysv_hash: Target = target("sysv_hash", decoders::sysv_hash, seeds::sysv_hash_tables);
    pub const versions: Target =
        Target { bound: Bound::NAMES, ..target("versions", decoders::versions, seeds::version_tables) };
    pub const relocations: Target = target("relocations", decoders::relocations, seeds::relocation_tables);
    pub const notes: Target = target("notes", decoders::notes, seeds::notes);
    pub const object: Target = Target {
        shape: Shape::Object,
        bound: Bound { steps: [8000, 50_000], memory: [100, 100_000 + memory::Memory::LARGEST + VERSIONS] },
        ..target("object", decoders::object, seeds::objects)
    };
    pub const cache: Target = Target { bound: Bound::NAMES, ..target("cache", texts::cache, seeds::caches) };
    pub const search: Target = Target {
        bound: Bound { steps: [2000, 100_000], memory: [1000, 100_000] },
        ..target("search", texts::search, seeds::path_lists)
    };
    pub const tunables: Target = Target {
        // Each of nine releases has some forty tunables.
        bound: Bound { steps: [1000, 100_000], memory: [16, 4096] },
        ..target("tunables", texts::tunables, seeds::tunables)
    };
    pub const cpu_record: Target = Target {
        // The rules of nine releases ask some hundred questions each, and an answer is looked for among all.
        bound: Bound { steps: [1000, 1_000_000], memory: [16, 20_000] },
        ..target("cpu_record", processors::cpu_record, seeds::cpu_records)
    };
    pub const debug: Target = Target {
        // Each word is looked for in a text of all names.
        bound: Bound { steps: [500, 20_000], ..Bound::VIEW },
        ..target("debug", texts::debug, seeds::debug_options)
    };
    pub const preload: Target = target("preload", texts::preload, seeds::preload_lists);
    pub const link: Target = Target {
        shape: Shape::Archive,
        bound: Bound { steps: [4000, 1_000_000], memory: [500, 4 * memory::Memory::LARGEST + 12 * VERSIONS] },
        ..target("link", link::link, seeds::programs)
    };

    pub const ALL: [Target; 16] = [
        header,
        placement,
        dynamic,
        gnu_hash,
        sysv_hash,
        versions,
        relocations,
        notes,
        object,
        cache,
        search,
        tunables,
        cpu_record,
        debug,
        preload,
        link,
    ];
}

/// Makes a fuzz target's program.
#[cfg(feature = "libfuzzer")]
#[macro_export]
macro_rules! fuzz {
    ($target:ident) => {
        $crate::count_steps!();

        libfuzzer_sys::fuzz_target!(|input: &[u8]| {
            $crate::targets::$target.check(input);
        });

        libfuzzer_sys::fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
            $crate::mutate::in_place(
                &$crate::targets::$target,
                data,
                size,
                max_size,
                seed,
                libfuzzer_sys::fuzzer_mutate,
            )
        });
    };
}
