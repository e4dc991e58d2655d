//! `--list-tunables`, `--list-diagnostics` and `--help`: what a start on this machine would find, without a program.
//!
//! They speak for the libc that the search finds for `libc.so.6`, or for the newest proven table where none fits; the lines
//! are those of its release (*glibc elf/dl-tunables.c, __tunables_print; elf/dl-diagnostics.c, _dl_print_diagnostics;
//! sysdeps/x86/dl-diagnostics-cpu.c*).

use core::ffi::CStr;
use core::fmt::{self, Write};

use folio_elf::Lossy;
use folio_glibc::cpu::{Dump, Extent, Levels, Summary, preferred_names};
use folio_glibc::layout::{CpuFeatures, Layout, Offset, TunableKind, Version};
use folio_glibc::tunables::{Value, Values};
use folio_link::search;
use folio_runtime::output::Output;
use folio_runtime::stack::Stack;
use folio_runtime::syscall::exit_group;
use linux_raw_sys::auxvec::{AT_BASE_PLATFORM, AT_EXECFN, AT_HWCAP2, AT_PAGESZ, AT_PLATFORM};

use crate::abi::globals::_rtld_global_ro;
use crate::abi::record::Record;
use crate::abi::{libc, publish};
use crate::image::files::Disk;
use crate::processor;
use crate::start::discover;
use crate::start::environment::Environment;
use crate::start::machine::Machine;
use crate::start::options::{HELP, Options, Task};
use crate::start::read_tunables;

/// Prints what `options` ask for, and ends the process.
#[cold]
#[inline(never)]
pub fn print(stack: &Stack, environment: &Environment, options: &Options) -> ! {
    let machine = Machine::new(environment, false, options);
    let mut search = discover::new_search(stack, environment, false, b"", options, machine);
    let libc = discover::libc(&mut search, &mut Disk::new(), None);
    let layout = libc.and_then(|libc| libc::layout(&libc).ok()).unwrap_or_else(libc::any_layout);
    let ro = _rtld_global_ro.record();
    publish::kernel_facts(layout, ro, stack);
    let mut tunables = read_tunables(stack, environment, false, layout);
    let mut memo = machine.memo.borrow_mut();
    let summary = processor::fill_cpu_features(stack, layout, ro, &mut memo, &mut tunables, Extent::Whole);
    let mut output = Output::stdout();
    let _ = match options.task {
        Task::ListTunables => list_tunables(&mut output, layout, &tunables),
        Task::Help => help(&mut output, options, summary.levels),
        _ => Diagnostics { output: &mut output, stack, layout, ro, summary }.print(),
    };
    output.flush();
    exit_group(0)
}

/// How to use Folio, and which subdirectories of `glibc-hwcaps` are searched on this machine, as people learn from here what
/// their processor can do (*glibc elf/dl-usage.c, print_hwcaps_subdirectories*).
fn help(output: &mut Output, options: &Options, levels: Levels) -> fmt::Result {
    output.write_str(HELP)?;
    output.write_str("\nSubdirectories of glibc-hwcaps directories, in priority order:\n")?;
    for name in options.prepended_hwcaps() {
        writeln!(output, "  {} (searched)", Lossy(name))?;
    }
    for name in Levels::BEST_FIRST {
        let is_allowed = options.allows_hwcaps(name.as_bytes());
        let what = match (levels.directories().contains(&name), is_allowed) {
            (true, true) => " (supported, searched)",
            (true, false) => " (supported, masked)",
            (false, true) => "",
            (false, false) => " (masked)",
        };
        writeln!(output, "  {name}{what}")?;
    }
    Ok(())
}

fn list_tunables(output: &mut Output, layout: &Layout, tunables: &Values) -> fmt::Result {
    for (id, tunable) in layout.tunables.iter().enumerate() {
        let (min, max) = tunables.bounds(id).unwrap_or_default();
        match (tunables.by_id(id), tunable.kind) {
            (Some(Value::Number(value)), TunableKind::Int32) => {
                writeln!(output, "{}: {} (min: {}, max: {})", &*tunable.name, value as i32, min as i32, max as i32)?
            }
            (Some(Value::Number(value)), _) => {
                writeln!(output, "{}: {value:#x} (min: {min:#x}, max: {max:#x})", &*tunable.name)?;
            }
            (Some(Value::String(Some(text))), _) => writeln!(output, "{}: {}", &*tunable.name, Lossy(text))?,
            (Some(Value::String(None)) | None, _) => writeln!(output, "{}:", &*tunable.name)?,
        }
    }
    Ok(())
}

/// Bytes between quotation marks, those that are not printable as octal numbers.
struct Quoted<'a>(&'a [u8]);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_char('"')?;
        for &byte in self.0 {
            match byte {
                b'"' | b'\\' => write!(f, "\\{}", char::from(byte))?,
                b' '..=b'~' => f.write_char(char::from(byte))?,
                _ => write!(f, "\\{byte:03o}")?,
            }
        }
        f.write_char('"')
    }
}

/// Environment variables whose values are shown, beside those that begin with `LC_`, `LD_` or `MALLOC_`.
const SHOWN: &str = "\
    DATEMSK GCONV_PATH GETCONF_DIR GLIBC_TUNABLES GMON_OUTPUT_PREFIX HESIOD_CONFIG HES_DOMAIN HOSTALIASES I18NPATH \
    IFS LANG LOCALDOMAIN LOCPATH MSGVERB NIS_DEFAULTS NIS_GROUP NIS_PATH NLSPATH PATH POSIXLY_CORRECT \
    RESOLV_HOST_CONF RES_OPTIONS SEV_LEVEL TMPDIR TZ TZDIR";

/// The last release whose loader knows the old hwcaps directories and prints what became of them.
const OLD_HWCAPS: Version = Version { major: 2, minor: 36 };
/// The first release that prints the size of the state that a TLS descriptor call saves.
const TLSDESC_STATE: Version = Version { major: 2, minor: 40 };
/// The first release that prints all that CPUID answers.
const CPUID_DUMP: Version = Version { major: 2, minor: 41 };
/// The first release without a folder of its own for profiles.
const NO_PROFILE: Version = Version { major: 2, minor: 43 };

struct Diagnostics<'d> {
    output: &'d mut Output,
    stack: &'d Stack,
    layout: &'d Layout,
    ro: Record,
    summary: Summary,
}

impl Diagnostics<'_> {
    fn print(&mut self) -> fmt::Result {
        self.loader()?;
        self.environment()?;
        self.paths()?;
        self.kernel()?;
        self.processor()
    }

    fn value(&mut self, label: &str, value: u64) -> fmt::Result {
        writeln!(self.output, "{label}={value:#x}")
    }

    fn string(&mut self, label: &str, value: &[u8]) -> fmt::Result {
        writeln!(self.output, "{label}={}", Quoted(value))
    }

    fn auxiliary(&self, kind: u32) -> u64 {
        self.stack.auxiliary_value(kind) as u64
    }

    fn loader(&mut self) -> fmt::Result {
        let r = &self.layout.global_ro;
        let is_old = self.layout.version <= OLD_HWCAPS;
        self.string("dl_dst_lib", search::DEBIAN_AMD64_LIB)?;
        self.value("dl_hwcap", self.summary.hwcap)?;
        if is_old {
            self.value("dl_hwcap_important", 6)?;
        }
        self.value("dl_hwcap2", self.auxiliary(AT_HWCAP2))?;
        for (label, offset) in [("dl_hwcap3", r.hwcap3), ("dl_hwcap4", r.hwcap4)] {
            if let Some(offset) = offset {
                self.value(label, self.ro.get(offset))?;
            }
        }
        self.string("dl_hwcaps_subdirs", b"x86-64-v4:x86-64-v3:x86-64-v2")?;
        // One bit a directory, best first, without those above the processor's level.
        let usable = self.summary.levels.directories().len();
        self.value("dl_hwcaps_subdirs_active", (0b111 << (3 - usable.min(3))) & 0b111)?;
        self.value("dl_pagesize", self.auxiliary(AT_PAGESZ))?;
        let kernels = self.stack.auxiliary_string(AT_PLATFORM).map(CStr::to_bytes);
        let platform = self.summary.platform.map(str::as_bytes).or(kernels);
        match platform {
            Some(platform) => self.string("dl_platform", platform)?,
            None => self.value("dl_platform", 0)?,
        }
        match self.layout.version >= NO_PROFILE {
            true => self.value("dl_profile_output", 0)?,
            false => self.string("dl_profile_output", b"/var/tmp")?,
        }
        if is_old {
            // Places in a list that begins with the bits of 32-bit processors (glibc sysdeps/x86/dl-procinfo.h,
            // _DL_FIRST_PLATFORM).
            let known = match platform {
                Some(b"haswell") => 48 + 2,
                Some(b"xeon_phi") => 48 + 3,
                _ => u64::MAX,
            };
            self.value("dl_string_platform", known)?;
        }
        self.string("dso.ld", b"ld-linux-x86-64.so.2")?;
        self.string("dso.libc", b"libc.so.6")
    }

    fn environment(&mut self) -> fmt::Result {
        for (index, variable) in self.stack.environment().map(CStr::to_bytes).enumerate() {
            let name = variable.split(|&byte| byte == b'=').next().unwrap_or_default();
            let is_shown = name.len() == variable.len()
                || [&b"LC_"[..], b"LD_", b"MALLOC_"].iter().any(|prefix| name.starts_with(prefix))
                || SHOWN.split(' ').any(|shown| shown.as_bytes() == name);
            let (filtered, text) = if is_shown { ("", variable) } else { ("_filtered", name) };
            writeln!(self.output, "env{filtered}[{index:#x}]={}", Quoted(text))?;
        }
        Ok(())
    }

    fn paths(&mut self) -> fmt::Result {
        self.string("path.prefix", b"/usr")?;
        let own = self.stack.auxiliary_string(AT_EXECFN);
        self.string("path.rtld", own.unwrap_or_default().to_bytes())?;
        self.string("path.sysconfdir", b"/etc")?;
        for (index, directory) in search::DEBIAN_AMD64.iter().enumerate() {
            let directory = [directory, &b"/"[..]].concat();
            writeln!(self.output, "path.system_dirs[{index:#x}]={}", Quoted(&directory))?;
        }
        let version = self.layout.version;
        self.string("version.release", b"stable")?;
        writeln!(self.output, "version.version=\"{}.{}\"", version.major, version.minor)
    }

    fn kernel(&mut self) -> fmt::Result {
        let suffix = if self.layout.version <= OLD_HWCAPS { "" } else { "_string" };
        for (index, (kind, value)) in self.stack.auxiliary().enumerate() {
            writeln!(self.output, "auxv[{index:#x}].a_type={kind:#x}")?;
            let is_text = [AT_EXECFN, AT_PLATFORM, AT_BASE_PLATFORM].contains(&(kind as u32));
            match Some(kind as u32).filter(|_| is_text).and_then(|kind| self.stack.auxiliary_string(kind)) {
                Some(text) => writeln!(self.output, "auxv[{index:#x}].a_val{suffix}={}", Quoted(text.to_bytes()))?,
                None => writeln!(self.output, "auxv[{index:#x}].a_val={value:#x}")?,
            }
        }
        let uname = rustix::system::uname();
        let fields = [
            ("uname.sysname", uname.sysname()),
            ("uname.nodename", uname.nodename()),
            ("uname.release", uname.release()),
            ("uname.version", uname.version()),
            ("uname.machine", uname.machine()),
            ("uname.domainname", uname.domainname()),
        ];
        fields.into_iter().try_for_each(|(label, text)| self.string(label, text.to_bytes()))
    }

    fn processor(&mut self) -> fmt::Result {
        let cpu: &CpuFeatures = &self.layout.cpu;
        let (ro, at) = (self.ro, self.layout.global_ro.cpu_features);
        let word = |offset: Offset| u64::from(ro.get::<u32>(at + offset));
        for (index, field) in ["kind", "max_cpuid", "family", "model", "stepping"].iter().enumerate() {
            writeln!(self.output, "x86.cpu_features.basic.{field}={:#x}", word(4 * index as Offset))?;
        }
        for leaf in 0..u16::from(cpu.leaves) {
            for register in 0..8 {
                let kind = if register < 4 { "cpuid" } else { "active" };
                let value = word(cpu.features + 32 * leaf + 4 * register);
                let register = register % 4;
                writeln!(self.output, "x86.cpu_features.features[{leaf:#x}].{kind}[{register:#x}]={value:#x}")?;
            }
        }
        let preferred = word(cpu.preferred);
        for (bit, name) in preferred_names(self.layout.version).enumerate() {
            writeln!(self.output, "x86.cpu_features.preferred.{name}={:#x}", preferred >> bit & 1)?;
        }
        let tlsdesc = (self.layout.version >= TLSDESC_STATE).then_some(self.summary.tlsdesc_state_size);
        let long = |offset: Offset| ro.get::<u64>(at + offset);
        let fields = [
            ("isa_1", Some(word(cpu.isa_1))),
            ("xsave_state_size", Some(long(cpu.xsave_state_size))),
            ("xsave_state_full_size", Some(word(cpu.xsave_state_full_size))),
            ("tlsdesc_state_full_size", tlsdesc),
            ("data_cache_size", Some(long(cpu.data_cache_size))),
            ("shared_cache_size", Some(long(cpu.shared_cache_size))),
            ("non_temporal_threshold", Some(long(cpu.non_temporal_threshold))),
            ("memset_non_temporal_threshold", cpu.memset_non_temporal_threshold.map(long)),
            ("rep_movsb_threshold", Some(long(cpu.rep_movsb_threshold))),
            ("rep_movsb_stop_threshold", Some(long(cpu.rep_movsb_stop_threshold))),
            ("rep_stosb_threshold", Some(long(cpu.rep_stosb_threshold))),
            ("level1_icache_size", Some(long(cpu.level1_icache_size))),
            ("level1_icache_linesize", Some(long(cpu.level1_icache_linesize))),
            ("level1_dcache_size", Some(long(cpu.level1_dcache_size))),
            ("level1_dcache_assoc", Some(long(cpu.level1_dcache_assoc))),
            ("level1_dcache_linesize", Some(long(cpu.level1_dcache_linesize))),
            ("level2_cache_size", Some(long(cpu.level2_cache_size))),
            ("level2_cache_assoc", Some(long(cpu.level2_cache_assoc))),
            ("level2_cache_linesize", Some(long(cpu.level2_cache_linesize))),
            ("level3_cache_size", Some(long(cpu.level3_cache_size))),
            ("level3_cache_assoc", Some(long(cpu.level3_cache_assoc))),
            ("level3_cache_linesize", Some(long(cpu.level3_cache_linesize))),
            ("level4_cache_size", Some(long(cpu.level4_cache_size))),
            ("cachesize_non_temporal_divisor", cpu.cachesize_non_temporal_divisor.map(long)),
        ];
        let known = fields.into_iter().filter_map(|(name, value)| Some((name, value?)));
        known.into_iter().try_for_each(|(name, value)| writeln!(self.output, "x86.cpu_features.{name}={value:#x}"))?;
        if self.layout.version < CPUID_DUMP {
            return Ok(());
        }
        let mut last = Dump::default();
        processor::dump_each(|place, dump| {
            dump.report(self.output, place, &last)?;
            last = dump;
            Ok(())
        })
    }
}
