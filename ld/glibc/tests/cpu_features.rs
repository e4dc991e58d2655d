//! `cpu::fill` against glibc itself: the structure that a real process's loader filled on this machine, byte for byte,
//! and the tunables that it wrote back.
//!
//! The machine's own glibc is always compared. `FOLIO_GLIBC_ROOTS=/dir1:/dir2` adds unpacked `libc6` packages of other
//! releases, whose loaders run a program of this machine. `FOLIO_CPU_EMULATOR=qemu-x86_64` adds other processors.

use std::arch::asm;
use std::collections::BTreeMap;
use std::ffi::{CStr, c_char, c_void};
use std::fs;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::ptr;

use folio_glibc::cpu::record::{self, Auxiliary, Header, Record, Recorded};
use folio_glibc::cpu::{self, CpuidResult, Extent, Kernel, Memo, NoTunables, Processor, StateSave, Summary};
use folio_glibc::layout::{Layout, Version};
use folio_glibc::tables;
use folio_glibc::tunables::Values;

const LIBRARIES: &str = "usr/lib/x86_64-linux-gnu";
const LOADER: &str = "ld-linux-x86-64.so.2";

/// Settings of `GLIBC_TUNABLES`, each of which changes another part of the structure.
const SETTINGS: &[&str] = &[
    "",
    "glibc.cpu.hwcaps=-AVX512F,-AVX2",
    "glibc.cpu.hwcaps=-XSAVEC",
    "glibc.cpu.hwcaps=-XSAVE,-XSAVEC",
    "glibc.cpu.hwcaps=-OSXSAVE",
    "glibc.cpu.hwcaps=-AVX,Prefer_No_VZEROUPPER,Slow_BSF,Prefer_ERMS,-I586,nonsense,AVX512F,-Fast_Unaligned_Load",
    "glibc.cpu.hwcaps=Prefer_No_AVX512,Prefer_FSRM,-AVX_Fast_Unaligned_Load,Avoid_STOSB,Avoid_Non_Temporal_Memset",
    "glibc.cpu.hwcaps=Slow_SSE4_2,MathVec_Prefer_No_AVX512,Prefer_PMINUB_for_stringop,-ERMS,-SSE4_2,SHSTK",
    "glibc.cpu.x86_rep_movsb_threshold=4096",
    "glibc.cpu.x86_rep_movsb_threshold=256",
    "glibc.cpu.x86_rep_stosb_threshold=4096",
    "glibc.cpu.x86_non_temporal_threshold=0x100000",
    "glibc.cpu.x86_non_temporal_threshold=0x4040",
    "glibc.cpu.x86_memset_non_temporal_threshold=0x200000",
    "glibc.cpu.x86_data_cache_size=0x10000:glibc.cpu.x86_shared_cache_size=0x300000",
    "glibc.cpu.prefer_map_32bit_exec=1:glibc.cpu.x86_data_cache_size=0",
];

#[test]
fn every_byte_is_what_glibc_fills() {
    pin_to_one_processor();
    for root in roots() {
        let glibc = Glibc::at(&root);
        for setting in SETTINGS {
            glibc.compare(setting);
        }
        println!(
            "glibc {} in {}: {} settings, {} bytes each, no difference",
            minor(glibc.layout.version),
            root.display(),
            SETTINGS.len(),
            glibc.layout.cpu.size
        );
    }
}

/// This process's own loader filled a structure as well. Alone of these tests it starts nothing, so that an emulator can
/// run it on processors that the machine is not: `qemu-x86_64 -cpu Nehalem cpu_features-… this_process_too`.
#[test]
fn this_process_too() {
    // SAFETY: libc declares both so (gnu_get_libc_version(3), dlvsym(3)).
    unsafe extern "C" {
        safe fn gnu_get_libc_version() -> *const c_char;
        fn dlvsym(handle: *const c_void, symbol: *const c_char, version: *const c_char) -> *const c_void;
    }
    // SAFETY: glibc's own version string, which it never changes.
    let version = unsafe { CStr::from_ptr(gnu_get_libc_version()) }.to_str().unwrap();
    let (major, minor) = version.split_once('.').unwrap();
    let version = Version { major: major.parse().unwrap(), minor: minor.parse().unwrap() };
    let layout = tables::ALL.iter().find(|layout| layout.version == version).expect("a layout for this glibc");
    let (at, size) = (usize::from(layout.global_ro.cpu_features), usize::from(layout.cpu.size));
    // SAFETY: two strings that end, and the handle RTLD_DEFAULT.
    let global_ro = unsafe { dlvsym(ptr::null(), c"_rtld_global_ro".as_ptr(), c"GLIBC_PRIVATE".as_ptr()) }.cast::<u8>();
    assert!(!global_ro.is_null());
    // SAFETY: the layout says that the object is longer than that, and nobody writes it after start-up.
    let theirs = unsafe { std::slice::from_raw_parts(global_ro.add(at), size) };

    let setting = std::env::var("GLIBC_TUNABLES").unwrap_or_default();
    let tunables = tunables(layout, &setting);
    let mut ours = vec![0; size];
    cpu::fill(layout, &mut Memo::new(Hardware), &auxiliary_vector(), &tunables, Extent::Whole, &mut ours);
    let mut recorded = filled_by_record(layout, &tunables);
    // The top byte of leaf 1's `ebx` is the number of the processor that answered, another one at start-up perhaps.
    let number = usize::from(layout.cpu.features) + 7;
    (ours[number], recorded[number]) = (theirs[number], theirs[number]);
    assert_eq!(ours, recorded, "with a record");
    let different: Vec<_> = (0..size).filter(|&i| ours[i] != theirs[i]).collect();
    assert!(different.is_empty(), "bytes {different:?}\nglibc {theirs:02x?}\nFolio {ours:02x?}");
}

/// Processors for an emulator to pretend: each vendor, and the models that the rules tell apart.
const PROCESSORS: &[&str] = &[
    "Conroe",
    "Penryn",
    "Nehalem",
    "SandyBridge",
    "Haswell",
    "Skylake-Client",
    "Skylake-Server",
    "Icelake-Server",
    "Denverton",
    "Snowridge",
    "KnightsMill",
    "Opteron_G1",
    "Opteron_G5",
    "EPYC",
    "EPYC-Milan",
    "Dhyana",
    "max,vendor=GenuineIntel,family=6,model=54",
    "max,vendor=GenuineIntel,family=6,model=85,stepping=4",
    "max,vendor=GenuineIntel,family=15,model=6",
    "max,vendor=GenuineIntel,family=19,model=1",
    "max,vendor=AuthenticAMD,family=21,model=101",
    "max,vendor=HygonGenuine,family=24,model=7",
    "max,vendor=CentaurHauls,family=6,model=15",
    "max,vendor=CentaurHauls,family=7,model=59",
    "max,vendor=  Shanghai  ,family=7,model=91",
];

/// `this_process_too` on other processors, by `FOLIO_CPU_EMULATOR=qemu-x86_64`, on all the glibcs.
#[test]
fn other_processors() {
    let Some(emulator) = std::env::var_os("FOLIO_CPU_EMULATOR") else {
        println!("skipped: FOLIO_CPU_EMULATOR names no emulator (qemu-x86_64 of Debian's qemu-user)");
        return;
    };
    let roots: Vec<_> = roots().iter().map(|root| Glibc::at(root)).collect();
    for (glibc, processor) in roots.iter().flat_map(|glibc| PROCESSORS.iter().map(move |p| (glibc, p))) {
        let mut command = Command::new(&emulator);
        command.args(["-cpu", processor]);
        if !glibc.native {
            // The test itself needs libgcc_s, which comes from this machine.
            let path = format!("{}:/lib/x86_64-linux-gnu", glibc.libraries.display());
            command.arg(glibc.loader()).args(["--library-path", &path]);
        }
        let output = command
            .arg(std::env::current_exe().unwrap())
            .args(["this_process_too", "--exact"])
            .env_remove("GLIBC_TUNABLES")
            .output()
            .unwrap_or_else(|error| panic!("{}: {error}", emulator.display()));
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success() && said.contains("1 passed"),
            "{processor} with {}:\n{said}",
            glibc.libraries.display()
        );
    }
    println!("{} processors on {} glibcs, no difference", PROCESSORS.len(), roots.len());
}

#[test]
fn a_leaf_is_asked_once_by_both_users() {
    for layout in &tables::ALL {
        let mut memo = Memo::new(Once::default());
        let kernel = Kernel::default();
        let levels = cpu::isa_level(&mut memo, &NoTunables);
        let mut out = vec![0; usize::from(layout.cpu.size)];
        let summary = cpu::fill(layout, &mut memo, &kernel, &NoTunables, Extent::Whole, &mut out);
        assert_eq!(levels, summary.levels, "glibc 2.{}", layout.version.minor);
        println!("glibc 2.{}: {} CPUID instructions", layout.version.minor, memo.asked());
    }
}

/// This machine's own glibc, and those that the environment names.
fn roots() -> Vec<PathBuf> {
    let mut roots = vec![PathBuf::from("/")];
    if let Some(more) = std::env::var_os("FOLIO_GLIBC_ROOTS") {
        roots.extend(std::env::split_paths(&more));
    }
    roots
}

/// One glibc on this machine.
struct Glibc {
    libraries: PathBuf,
    /// The machine's own glibc starts programs by itself; another one's loader is run by name.
    native: bool,
    layout: &'static Layout,
}

impl Glibc {
    fn at(root: &Path) -> Glibc {
        let libraries = root.join(LIBRARIES);
        let version = release(&libraries.join("libc.so.6"));
        let layout = tables::ALL
            .iter()
            .find(|layout| layout.version == version)
            .unwrap_or_else(|| panic!("no layout for glibc {} of {}", minor(version), root.display()));
        Glibc { libraries, native: root == Path::new("/"), layout }
    }

    fn loader(&self) -> PathBuf {
        self.libraries.join(LOADER)
    }

    fn compare(&self, setting: &str) {
        let what = format!("glibc 2.{} with {setting:?}", self.layout.version.minor);
        let process = Echo::start(self, setting);
        let theirs = process.global_ro(&self.loader());
        let at = usize::from(self.layout.global_ro.cpu_features);
        let size = usize::from(self.layout.cpu.size);

        let tunables = tunables(self.layout, setting);
        let mut ours = vec![0; size];
        let summary =
            cpu::fill(self.layout, &mut Memo::new(Hardware), &auxiliary_vector(), &tunables, Extent::Whole, &mut ours);
        assert_eq!(ours, filled_by_record(self.layout, &tunables), "{what}: with a record");
        let differences: Vec<_> = (0..size)
            .filter(|&i| ours[i] != theirs[at + i])
            .map(|i| format!("byte {i}: glibc {:#04x}, Folio {:#04x}", theirs[at + i], ours[i]))
            .collect();
        assert!(differences.is_empty(), "{what}:\n{}", differences.join("\n"));

        let word = |offset: u16| {
            let offset = usize::from(offset);
            u64::from_ne_bytes(theirs[offset..offset + 8].try_into().unwrap())
        };
        assert_eq!(word(self.layout.global_ro.hwcap), summary.hwcap, "{what}: _dl_hwcap");
        assert_eq!(word(self.layout.global_ro.minsigstacksize), summary.minsigstacksize, "{what}: _dl_minsigstacksize");
        let platform = process.string(word(self.layout.global_ro.platform));
        assert_eq!(platform, summary.platform.unwrap_or("x86_64"), "{what}: _dl_platform");
        self.compare_tunables(setting, &summary, &what);
    }

    /// `ld.so --list-tunables` prints values and bounds as they are after the processor was measured.
    fn compare_tunables(&self, setting: &str, summary: &Summary, what: &str) {
        let output = Command::new(self.loader())
            .arg("--list-tunables")
            .env_clear()
            .env("GLIBC_TUNABLES", setting)
            .output()
            .unwrap();
        assert!(output.status.success(), "{what}: --list-tunables");
        let text = String::from_utf8(output.stdout).unwrap();
        let listed: BTreeMap<&str, &str> = text.lines().filter_map(|line| line.split_once(": ")).collect();
        let mut compared = 0;
        for update in summary.tunables.iter() {
            let ours = format!("{:#x} (min: {:#x}, max: {:#x})", update.value, update.min, update.max);
            let theirs = listed[update.tunable.name()].replace("min: 0x0,", "min: 0,");
            assert_eq!(theirs, ours.replace("min: 0x0,", "min: 0,"), "{what}: {}", update.tunable.name());
            compared += 1;
        }
        assert_eq!(
            compared,
            listed.keys().filter(|name| name.starts_with("glibc.cpu.x86_") && name.contains("_size")).count()
                + listed.keys().filter(|name| name.contains("_threshold") && name.contains(".x86_")).count(),
            "{what}: number of tunables written back"
        );
    }
}

/// A `cat` that answered once: its loader is done, and it waits for more.
struct Echo {
    child: Child,
}

impl Echo {
    fn start(glibc: &Glibc, setting: &str) -> Echo {
        let mut command = if glibc.native {
            Command::new("/bin/cat")
        } else {
            let mut command = Command::new(glibc.loader());
            command.arg("--library-path").arg(&glibc.libraries).arg("/bin/cat");
            command
        };
        command.env_clear().stdin(Stdio::piped()).stdout(Stdio::piped());
        if !setting.is_empty() {
            command.env("GLIBC_TUNABLES", setting);
        }
        let mut child = command.spawn().unwrap();
        child.stdin.as_mut().unwrap().write_all(b"ready\n").unwrap();
        let mut answer = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut answer).unwrap();
        assert_eq!(answer, "ready\n");
        Echo { child }
    }

    /// The bytes of `_rtld_global_ro`, which the loader exports.
    fn global_ro(&self, loader: &Path) -> Vec<u8> {
        let loader = fs::canonicalize(loader).unwrap();
        let maps = fs::read_to_string(format!("/proc/{}/maps", self.child.id())).unwrap();
        let base = maps
            .lines()
            .find(|line| line.ends_with(loader.to_str().unwrap()))
            .and_then(|line| u64::from_str_radix(line.split('-').next()?, 16).ok())
            .unwrap_or_else(|| panic!("{} is not mapped:\n{maps}", loader.display()));
        let (value, size) = dynamic_symbol(&fs::read(&loader).unwrap(), b"_rtld_global_ro");
        self.memory(base + value, size)
    }

    fn memory(&self, address: u64, size: usize) -> Vec<u8> {
        let mut memory = fs::File::open(format!("/proc/{}/mem", self.child.id())).unwrap();
        memory.seek(SeekFrom::Start(address)).unwrap();
        let mut bytes = vec![0; size];
        memory.read_exact(&mut bytes).unwrap();
        bytes
    }

    fn string(&self, address: u64) -> String {
        let bytes = (address..).map(|at| self.memory(at, 1)[0]).take_while(|&byte| byte != 0).collect();
        String::from_utf8(bytes).unwrap()
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// What a setting of `GLIBC_TUNABLES` says to the libc with that layout.
fn tunables<'a>(layout: &'static Layout, setting: &'a str) -> Values<'a> {
    Values::new(layout, Some(setting.as_bytes()), |_| None, false, |_| {})
}

/// The processor that the test runs on.
#[derive(Default)]
struct Hardware;

impl Processor for Hardware {
    fn cpuid(&mut self, leaf: u32, subleaf: u32) -> CpuidResult {
        std::arch::x86_64::__cpuid_count(leaf, subleaf).into()
    }

    fn xgetbv(&mut self) -> u64 {
        let (low, high): (u32, u32);
        // SAFETY: asked only where CPUID says that the system enabled it; it reads a register and nothing else.
        unsafe { asm!("xgetbv", in("ecx") 0, out("eax") low, out("edx") high, options(nomem, nostack)) };
        u64::from(high) << 32 | u64::from(low)
    }
}

/// A processor that nobody may ask, since all its answers are on record.
struct Silent;

impl Processor for Silent {
    fn cpuid(&mut self, leaf: u32, subleaf: u32) -> CpuidResult {
        panic!("{leaf:#x}.{subleaf:#x} is not on record");
    }

    fn xgetbv(&mut self) -> u64 {
        panic!("XCR0 is not on record");
    }
}

/// The whole structure by a record of this processor.
fn filled_by_record(layout: &Layout, tunables: &Values) -> Vec<u8> {
    let (answers, xcr0) = record::survey(Hardware);
    let header = Header { written: 0, boot: 0, auxiliary: Auxiliary::default(), xcr0 };
    let bytes = record::encode(&header, &answers);
    let record = Record::decode(&bytes).unwrap();
    let mut memo = Memo::new(Recorded::new(Some(record), Silent));
    let mut out = vec![0; usize::from(layout.cpu.size)];
    cpu::fill(layout, &mut memo, &auxiliary_vector(), tunables, Extent::Whole, &mut out);
    out
}

/// The processor that the test runs on, and a panic at any second question for one leaf.
#[derive(Default)]
struct Once {
    asked: Vec<(u32, u32)>,
}

impl Processor for Once {
    fn cpuid(&mut self, leaf: u32, subleaf: u32) -> CpuidResult {
        assert!(!self.asked.contains(&(leaf, subleaf)), "{leaf:#x}.{subleaf} was asked twice");
        self.asked.push((leaf, subleaf));
        Hardware.cpuid(leaf, subleaf)
    }

    fn xgetbv(&mut self) -> u64 {
        Hardware.xgetbv()
    }
}

#[test]
fn the_state_is_saved_as_the_processor_can() {
    let layout = tables::ALL.last().unwrap();
    let mut out = vec![0; usize::from(layout.cpu.size)];
    let with = |setting: &str, out: &mut [u8]| {
        out.fill(0);
        cpu::fill(layout, &mut Memo::new(Hardware), &auxiliary_vector(), &tunables(layout, setting), Extent::Whole, out)
    };
    let none = with("glibc.cpu.hwcaps=-OSXSAVE", &mut out);
    assert_eq!((none.state_save, none.xsave_state_size), (StateSave::Fxsave, 0));
    assert!(none.levels.highest() <= 2);
    let standard = with("glibc.cpu.hwcaps=-XSAVEC", &mut out);
    assert_ne!(standard.state_save, StateSave::Xsavec);
}

/// Leaf 1 holds the number of the processor that answers: this thread and its children stay on one.
fn pin_to_one_processor() {
    const SCHED_SETAFFINITY: i64 = 203;
    const SCHED_GETAFFINITY: i64 = 204;
    let mut allowed = [0u64; 16];
    let call = |number: i64, mask: &mut [u64; 16]| {
        let mut result = number;
        // SAFETY: sched_setaffinity and sched_getaffinity(2) of this thread, with a mask of the size that is given.
        unsafe {
            asm!("syscall", inout("rax") result, in("rdi") 0, in("rsi") size_of_val(mask), in("rdx") mask.as_mut_ptr(),
                out("rcx") _, out("r11") _, options(nostack));
        }
        assert!(result >= 0, "affinity: error {result}");
    };
    call(SCHED_GETAFFINITY, &mut allowed);
    let word = allowed.iter().position(|&bits| bits != 0).unwrap();
    let mut one = [0; 16];
    one[word] = 1 << allowed[word].trailing_zeros();
    call(SCHED_SETAFFINITY, &mut one);
}

fn auxiliary_vector() -> Kernel {
    const AT_HWCAP2: u64 = 26;
    const AT_MINSIGSTKSZ: u64 = 51;
    let bytes = fs::read("/proc/self/auxv").unwrap();
    let words: Vec<u64> = bytes.chunks_exact(8).map(|word| u64::from_ne_bytes(word.try_into().unwrap())).collect();
    let value = |tag| words.chunks_exact(2).find(|pair| pair[0] == tag).map_or(0, |pair| pair[1]);
    Kernel { hwcap2: value(AT_HWCAP2), minsigstksz: value(AT_MINSIGSTKSZ) }
}

/// The release that `libc.so.6` names in its banner.
fn release(libc: &Path) -> Version {
    const BANNER: &[u8] = b"GNU C Library ";
    const RELEASE: &[u8] = b"release version ";
    let bytes = fs::read(libc).unwrap_or_else(|error| panic!("{}: {error}", libc.display()));
    let after =
        |bytes: &'_ [u8], text: &[u8]| bytes.windows(text.len()).position(|w| w == text).map(|i| i + text.len());
    let banner = &bytes[after(&bytes, BANNER).expect("a banner")..];
    let number = &banner[after(banner, RELEASE).expect("a release")..];
    let number: String = number.iter().map(|&b| b as char).take_while(|c| c.is_ascii_digit() || *c == '.').collect();
    let (major, minor) = number.trim_end_matches('.').split_once('.').unwrap();
    Version { major: major.parse().unwrap(), minor: minor.parse().unwrap() }
}

fn minor(version: Version) -> String {
    format!("{}.{}", version.major, version.minor)
}

/// Value and size of a symbol of `.dynsym` (*gABI, Symbol Table*).
fn dynamic_symbol(file: &[u8], name: &[u8]) -> (u64, usize) {
    const SHT_DYNSYM: u32 = 11;
    let u16_at = |at: usize| usize::from(u16::from_le_bytes(file[at..at + 2].try_into().unwrap()));
    let u32_at = |at: usize| u32::from_le_bytes(file[at..at + 4].try_into().unwrap());
    let u64_at = |at: usize| u64::from_le_bytes(file[at..at + 8].try_into().unwrap());
    let section = |index: usize| u64_at(40) as usize + index * u16_at(58);
    let symbols = (0..u16_at(60)).map(section).find(|&header| u32_at(header + 4) == SHT_DYNSYM).expect(".dynsym");
    let strings = u64_at(section(u32_at(symbols + 40) as usize) + 24) as usize;
    let (start, size) = (u64_at(symbols + 24) as usize, u64_at(symbols + 32) as usize);
    (start..start + size)
        .step_by(24)
        .find(|&symbol| {
            let at = strings + u32_at(symbol) as usize;
            file[at..].starts_with(name) && file[at + name.len()] == 0
        })
        .map(|symbol| (u64_at(symbol + 8), u64_at(symbol + 16) as usize))
        .expect("the symbol")
}
