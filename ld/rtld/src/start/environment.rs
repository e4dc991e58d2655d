//! The environment variables that Folio obeys (ld.so(8)), and those that a set-user-ID program must not see.

use core::ffi::CStr;

use folio_glibc::tunables::{Values, number};
use folio_runtime::allocator;
use folio_runtime::stack::Stack;

use crate::abi::libc;
use crate::debug::{self, Categories};
use crate::profile;

/// The settings of one start.
#[derive(Clone, Copy, Debug, Default)]
pub struct Environment {
    pub ld_library_path: &'static [u8],
    pub preload: &'static [u8],
    /// `LD_AUDIT`: names of auditors, with colons between.
    pub audit: &'static [u8],
    /// `LD_BIND_NOW`, set and not empty.
    pub bind_now: bool,
    /// `LD_TRACE_LOADED_OBJECTS`: list the libraries instead of running the program (ldd(1)).
    pub trace: bool,
    /// `LD_WARN`: with `trace`, bind everything and warn of what is missing.
    pub warn: bool,
    /// `LD_TRACE_LOADED_OBJECTS` is a number above 1: list the program itself too.
    pub trace_program: bool,
    /// `LD_VERBOSE`: with `trace`, list the versions that each object needs.
    pub verbose: bool,
    /// `LD_DEBUG` and `LD_DEBUG_OUTPUT`.
    pub debug: Categories,
    pub debug_output: Option<&'static [u8]>,
    /// `LD_SHOW_AUXV`: print the auxiliary vector first.
    pub show_auxv: bool,
    /// `LD_DYNAMIC_WEAK`, even if empty: weak definitions yield to global ones.
    pub dynamic_weak: bool,
    /// `LD_ORIGIN_PATH`: the program's `$ORIGIN` where proc(5) cannot tell it.
    pub origin_path: Option<&'static [u8]>,
    pub tunables: Option<&'static [u8]>,
    /// `LD_FOLIO_CPU`: the file that takes the place of the record of CPU facts for all; empty, there is none.
    pub cpu_record: Option<&'static [u8]>,
    /// Some variable that stands for a tunable is set.
    pub has_tunable_alias: bool,
}

/// Removed from the environment of a set-user-ID program: all that any supported glibc removes (*sysdeps/generic/unsecvars.h*,
/// and for `MALLOC_CHECK_` up to 2.38 *elf/dl-tunables.list*), and what is Folio's own. One text, for a list of texts would be
/// pointers, which each start had to relocate.
const UNSAFE: &str = "\
    GCONV_PATH GETCONF_DIR GLIBC_TUNABLES HOSTALIASES LD_AUDIT LD_BIND_NOT LD_BIND_NOW LD_DEBUG LD_DEBUG_OUTPUT \
    LD_DYNAMIC_WEAK LD_FOLIO_CPU LD_FOLIO_PROFILE LD_HWCAP_MASK LD_LIBRARY_PATH LD_ORIGIN_PATH LD_PREFER_MAP_32BIT_EXEC \
    LD_PRELOAD LD_PROFILE LD_PROFILE_OUTPUT LD_SHOW_AUXV LD_VERBOSE LD_WARN LOCALDOMAIN LOCPATH MALLOC_ARENA_MAX \
    MALLOC_ARENA_TEST MALLOC_CHECK_ MALLOC_MMAP_MAX_ MALLOC_MMAP_THRESHOLD_ MALLOC_PERTURB_ MALLOC_TOP_PAD_ \
    MALLOC_TRACE MALLOC_TRIM_THRESHOLD_ NIS_PATH NLSPATH RESOLV_HOST_CONF RES_OPTIONS TMPDIR TZDIR";

impl Environment {
    /// Reads the variables. In a secure start those that are unsafe are removed, and of them only lists of what to preload and
    /// of auditors count: their names without a slash, which root answers for with the set-user-ID bit of a file in the
    /// system's directories (*glibc elf/rtld.c, process_envvars_secure*).
    pub fn read(stack: &mut Stack, secure: bool) -> Environment {
        let mut environment = Environment::default();
        if secure {
            environment.take_unsafe(stack);
        }
        for variable in stack.environment() {
            let variable = variable.to_bytes();
            // Nothing that Folio reads begins otherwise: most variables are passed over by one look.
            if !matches!(variable.first(), Some(b'L' | b'G' | b'M')) {
                continue;
            }
            let Some(equals) = variable.iter().position(|&byte| byte == b'=') else { continue };
            let (name, value) = (&variable[..equals], &variable[equals + 1..]);
            match name {
                b"LD_LIBRARY_PATH" => environment.ld_library_path = value,
                b"LD_PRELOAD" => environment.preload = value,
                b"LD_AUDIT" => environment.audit = value,
                b"LD_BIND_NOW" => environment.bind_now = !value.is_empty(),
                // Folio looks up at once and keeps what it finds: LD_BIND_NOT asks for what cannot be seen.
                b"LD_BIND_NOT" => {}
                b"LD_TRACE_LOADED_OBJECTS" => {
                    environment.trace = true;
                    environment.trace_program = number::prefix(value).0 > 1;
                }
                b"LD_WARN" => environment.warn = !value.is_empty(),
                b"LD_VERBOSE" => environment.verbose = !value.is_empty(),
                b"LD_DEBUG" => environment.debug |= debug::parse(value),
                b"LD_DEBUG_OUTPUT" => environment.debug_output = Some(value),
                b"LD_SHOW_AUXV" => environment.show_auxv = true,
                b"LD_FOLIO_CPU" => environment.cpu_record = Some(value),
                b"LD_FOLIO_PROFILE" => profile::switch_on(value),
                b"LD_DYNAMIC_WEAK" => environment.dynamic_weak = true,
                b"LD_ORIGIN_PATH" => environment.origin_path = Some(value),
                b"GLIBC_TUNABLES" => environment.tunables = Some(value),
                b"LD_HWCAP_MASK" | b"LD_PREFER_MAP_32BIT_EXEC" => environment.has_tunable_alias = true,
                name if name.starts_with(b"MALLOC_") => environment.has_tunable_alias = true,
                _ => {}
            }
        }
        // Help is all there is to say then.
        if !environment.debug.contains(Categories::HELP) {
            debug::switch_on(environment.debug, environment.debug_output);
        }
        // Folio's memory is to be named from its first mapping on, and which libc there will be is not known yet.
        if let Some(text) = environment.tunables {
            name_mappings_if_asked(text, secure);
        }
        if environment.dynamic_weak {
            debug::let_weak_yield();
        }
        // Which direct dependencies are used shows only when all references are bound.
        environment.bind_now |= environment.debug.contains(Categories::UNUSED);
        environment
    }

    #[cold]
    fn take_unsafe(&mut self, stack: &mut Stack) {
        stack.retain_environment(|variable: &'static CStr| {
            let variable = variable.to_bytes();
            let equals = variable.iter().position(|&byte| byte == b'=').unwrap_or(variable.len());
            let (name, value) = (&variable[..equals], variable.get(equals + 1..).unwrap_or_default());
            match name {
                b"LD_PRELOAD" => self.preload = value,
                b"LD_AUDIT" => self.audit = value,
                _ => return !UNSAFE.split(' ').any(|unsafe_one| unsafe_one.as_bytes() == name),
            }
            false
        });
    }
}

#[cold]
#[inline(never)]
fn name_mappings_if_asked(tunables: &'static [u8], secure: bool) {
    let values = Values::new(libc::any_layout(), Some(tunables), |_| None, secure, |_| {});
    if values.number_if_set("glibc.mem.decorate_maps").is_some_and(|wanted| wanted != 0) {
        allocator::name_mappings();
    }
}
