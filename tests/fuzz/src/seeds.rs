//! What mutation starts from: small programs and libraries that this machine's compiler makes, their tables, and texts.

use std::path::Path;
use std::process::Command;
use std::sync::LazyLock;
use std::{env, fs, process};

use folio_elf::Vaddr;
use folio_glibc::cpu::CpuidResult;
use folio_glibc::cpu::record::{self, Answer, Auxiliary, Header};
use folio_link::{Kind, Object};

use crate::archive::Archive;
use crate::decoders;
use crate::elf_fields::{replace, table_at, value};
use crate::memory::Memory;

const LIBRARY_A: &str = r#"
__attribute__((visibility("default"))) int counter = 1;
static int resolved(void) { return 3; }
static void *resolve(void) { return resolved; }
int indirect(void) __attribute__((ifunc("resolve")));
__thread int of_thread = 4;
extern int from_b(int);
int exported(int x) { return from_b(x) + of_thread + indirect(); }
int exported_old(int x) { return x; }
__asm__(".symver exported_old, exported@V1");
void *table[] = { &counter, exported, exported_old, &table, &table[1], &table[2] };
static void __attribute__((constructor)) first(void) { counter++; }
static void __attribute__((destructor)) last(void) { counter--; }
"#;

const LIBRARY_B: &str = r#"
extern int exported(int), counter;
extern __thread int of_thread;
extern void optional(void) __attribute__((weak));
int from_b(int x) { if (optional) optional(); return x ? exported(x - 1) + of_thread : counter; }
__attribute__((visibility("protected"))) int guarded = 5;
int *pointer = &guarded;
__asm__(".data; .globl single; .type single, @gnu_unique_object; .size single, 4; single: .long 7; .text");
extern int single;
int *to_single = &single;
"#;

const PROGRAM: &str = r#"
extern int exported(int), from_b(int), counter;
int (*called)(int) = from_b;
void _start(void) { counter += exported(called(2)); }
"#;

/// A program, and libraries that need each other; every kind of table is in one of them.
struct Files {
    program: Vec<u8>,
    a: Vec<u8>,
    b: Vec<u8>,
}

static FILES: LazyLock<Files> = LazyLock::new(|| {
    let directory = env::temp_dir().join(format!("folio-fuzz-{}", process::id()));
    fs::create_dir_all(&directory).unwrap();
    let compile = |name: &str, source: &str, options: &[&str]| {
        fs::write(directory.join("source.c"), source).unwrap();
        let made = Command::new("cc")
            .current_dir(&directory)
            .args(["-O1", "-nostdlib", "-s", "-Wl,-z,max-page-size=4096,-z,noseparate-code", "-o", name, "source.c"])
            .args(options)
            .output()
            .unwrap();
        assert!(made.status.success(), "{name}: {}", String::from_utf8_lossy(&made.stderr));
        fs::read(directory.join(name)).unwrap()
    };
    let shared = ["-shared", "-fPIC", "-L.", "-Wl,--allow-shlib-undefined"];
    fs::write(directory.join("a.map"), "V1 { };\nV2 { exported; counter; of_thread; indirect; } V1;\n").unwrap();
    let with = |options: &[&'static str]| [&shared[..], options].concat();
    // They need each other: the first of them is made twice.
    compile("libb.so", LIBRARY_B, &with(&["-Wl,-soname,libb.so"]));
    let options_a = with(&[
        "-Wl,-soname,liba.so,--version-script=a.map,--hash-style=both,-z,pack-relative-relocs,--build-id=sha1",
        "-Wl,--enable-new-dtags,-rpath,$ORIGIN/lib:/opt",
        "-l:libb.so",
    ]);
    let a = compile("liba.so", LIBRARY_A, &options_a);
    let b = compile("libb.so", LIBRARY_B, &with(&["-Wl,-soname,libb.so,--hash-style=sysv,-z,now", "-l:liba.so"]));
    let program = compile(
        "program",
        PROGRAM,
        &[
            "-pie",
            "-fPIE",
            "-L.",
            "-Wl,--allow-shlib-undefined",
            "-Wl,--disable-new-dtags,-rpath,$ORIGIN/lib:${LIB}",
            "-l:liba.so",
            "-l:libb.so",
            "-Wl,--hash-style=gnu,-z,relro,--dynamic-linker=/lib64/ld-folio.so.1",
        ],
    );
    fs::remove_dir_all(&directory).unwrap();
    Files { program, a, b }
});

pub fn objects() -> Vec<Vec<u8>> {
    vec![FILES.program.clone(), FILES.a.clone(), FILES.b.clone()]
}

/// Bytes of each object from the address on that `place` names, no more than some.
fn parts(place: impl Fn(&Object) -> Option<Vaddr>) -> Vec<Vec<u8>> {
    let part = |file: Vec<u8>| {
        let memory = Memory::default();
        let placement = decoders::plan(&file)?;
        let image = memory.map(&placement, &file)?;
        let object = Object::decode(Kind::Library, b"", placement, image).ok()?;
        Some(image.table_to_end::<u8>(place(&object)?)?.truncated(1024).iter().collect::<Vec<u8>>())
    };
    let parts: Vec<_> = objects().into_iter().filter_map(part).collect();
    assert!(!parts.is_empty(), "some object has such a table");
    parts
}

pub fn dynamic_sections() -> Vec<Vec<u8>> {
    // An image that is nothing but the section: the string table is made to begin where the entries do.
    let mut sections = parts(|object| object.placement.dynamic.map(|extent| extent.at));
    for section in &mut sections {
        let size = section.len() as u64;
        for record in section.chunks_exact_mut(16) {
            let value = match record[0] {
                5 => 0,
                10 => size,
                1 | 14 | 15 | 29 => 8,
                _ => continue,
            };
            record[8..].copy_from_slice(&value.to_le_bytes());
        }
    }
    sections
}

pub fn gnu_hash_tables() -> Vec<Vec<u8>> {
    parts(|object| object.dynamic.as_ref()?.gnu_hash)
}

pub fn sysv_hash_tables() -> Vec<Vec<u8>> {
    parts(|object| object.dynamic.as_ref()?.hash)
}

pub fn version_tables() -> Vec<Vec<u8>> {
    let needs = parts(|object| object.dynamic.as_ref()?.verneed);
    [parts(|object| object.dynamic.as_ref()?.verdef), needs].concat()
}

pub fn relocation_tables() -> Vec<Vec<u8>> {
    let packed = parts(|object| {
        object.dynamic.as_ref().map(|dynamic| dynamic.relr).filter(|relr| !relr.is_empty()).map(|relr| relr.at)
    });
    [packed, parts(|object| Some(object.dynamic.as_ref()?.rela.at))].concat()
}

pub fn notes() -> Vec<Vec<u8>> {
    let property = b"\x04\0\0\0\x10\0\0\0\x05\0\0\0GNU\0\x02\x80\0\xc0\x04\0\0\0\x02\0\0\0\0\0\0\0";
    [parts(|object| object.placement.notes.first().map(|extent| extent.at)), vec![property.to_vec()]].concat()
}

/// Caches as ldconfig(8) writes them: the new format, the new one behind the old, the old one.
pub fn caches() -> Vec<Vec<u8>> {
    let names = [("libz.so.1", 0u64), ("libb.so", 0), ("libb.so", 1 << 62 | 1 << 32), ("liba.so", 0)];
    let new = |before: usize| {
        let count = names.len() as u32;
        let strings_at = 48 + 24 * names.len();
        let mut strings: Vec<u8> = Vec::new();
        let mut add = |text: String| {
            let at = (strings_at + strings.len()) as u32;
            strings.extend(text.as_bytes());
            strings.push(0);
            at
        };
        let mut entries = Vec::new();
        for (name, hwcap) in names {
            let directory =
                if hwcap == 0 { "/lib/x86_64-linux-gnu" } else { "/usr/lib/x86_64-linux-gnu/glibc-hwcaps/x86-64-v2" };
            let fields = [0x303, add(name.into()), add(format!("{directory}/{name}")), 0];
            entries.extend(fields.iter().flat_map(|field| field.to_le_bytes()));
            entries.extend(hwcap.to_le_bytes());
        }
        let hwcap_name = add("x86-64-v2".into());
        strings.resize(strings.len().next_multiple_of(4), 0);
        let extension = strings_at + strings.len() + before;
        let mut file = b"glibc-ld.so.cache1.1".to_vec();
        file.extend([count, strings.len() as u32].iter().flat_map(|word| word.to_le_bytes()));
        file.extend([2, 0, 0, 0]);
        file.extend((extension as u32).to_le_bytes());
        file.resize(48, 0);
        file.extend(entries);
        file.extend(strings);
        let words = [0xeaa4_2174u32, 1, 1, 0, (extension + 24) as u32, 4, hwcap_name + before as u32];
        file.extend(words.iter().flat_map(|word| word.to_le_bytes()));
        file
    };
    let mut old = b"ld.so-1.7.0\0".to_vec();
    old.extend([1u32, 0x303, 0, 8].iter().flat_map(|word| word.to_le_bytes()));
    let mut both = old.clone();
    both.resize(both.len().next_multiple_of(8), 0);
    both.extend(new(both.len()));
    old.extend(b"liba.so\0/lib/x86_64-linux-gnu/liba.so\0");
    vec![new(0), both, old]
}

/// Texts with NULs between them, behind a byte of settings.
pub fn path_lists() -> Vec<Vec<u8>> {
    let lists: &[&[u8]] = &[
        b"\0/usr/local/lib:$ORIGIN/../lib;relative\0/opt/app\0$ORIGIN/lib:/opt/${LIB}:\0/a:/b\0libz.so.1\0./x.so\0libc.so.6",
        b"\x50/x:/x//:$PLATFORM\0/opt/app\0$ORIGIN:$LIBRARY\0\0libz.so.1\0$ORIGIN/liba.so",
        b"\xd4/tmp\0/lib\0$ORIGIN/../../usr/lib\0${ORIGIN}x:/b\0libz.so.1\0/lib/$LIB/a.so",
        b"\x02:\0/opt/app/p:liba.so\0/opt\0::\0/b\0libz.so.1",
    ];
    lists.iter().map(|list| list.to_vec()).collect()
}

pub fn tunables() -> Vec<Vec<u8>> {
    let texts: &[&[u8]] = &[
        b"glibc.malloc.check=3:glibc.rtld.nns=4",
        b"glibc.cpu.hwcaps=-AVX2,XSAVE:glibc.malloc.tcache_count=0x10:glibc.malloc.tcache_count=-1",
        b"glibc.rtld.enable_secure=1:glibc.mem.decorate_maps= 077:x=y=z:",
        b"glibc.malloc.mxfast=glibc.malloc.mxfast=18446744073709551616",
    ];
    texts.iter().map(|text| text.to_vec()).collect()
}

/// Records of a processor of each vendor, as far as the rules have to look at them.
pub fn cpu_records() -> Vec<Vec<u8>> {
    let vendors = [b"GenuineIntel", b"AuthenticAMD", b"HygonGenuine", b"CentaurHauls"];
    let record = |name: &[u8; 12]| {
        let word = |at: usize| u32::from_le_bytes(std::array::from_fn(|byte| name[at + byte]));
        let answers = [
            (0, 0, [0x1c, word(0), word(8), word(4)]),
            (1, 0, [0x0080_0f11, 0x0010_0800, 0x7ed8_320b, 0x178b_fbff]),
            (2, 0, [0x7603_6301, 0x00f0_b5ff, 0, 0x00c3_0000]),
            (4, 0, [0x0000_4121, 0x01c0_003f, 63, 0]),
            (4, 1, [0x0000_4163, 0x03c0_003f, 8191, 2]),
            (7, 0, [1, 0x219c_91a9, 0x0040_0000, 0x10]),
            (0xb, 0, [1, 2, 0x100, 0]),
            (0xb, 1, [5, 20, 0x201, 0]),
            (0xd, 0, [7, 832, 832, 0]),
            (0xd, 1, [0xf, 832, 0, 0]),
            (0xd, 2, [256, 576, 0, 0]),
            (0x8000_0000, 0, [0x8000_0020, 0, 0, 0]),
            (0x8000_0001, 0, [0, 0, 0x35c2_33ff, 0x2fd3_fbff]),
            (0x8000_0006, 0, [0, 0, 512 << 16 | 0x6140, 0x0100_9140]),
            (0x8000_001d, 3, [0x0001_c163, 0x03c0_003f, 16383, 0]),
        ];
        let answers = answers.map(|(leaf, subleaf, [eax, ebx, ecx, edx])| Answer {
            leaf,
            subleaf,
            registers: CpuidResult { eax, ebx, ecx, edx },
        });
        let auxiliary = Auxiliary { hwcap: 0x178b_fbff, hwcap2: 2, minsigstksz: 3376 };
        record::encode(&Header { written: 1_800_000_000, boot: 1, auxiliary, xcr0: 7 }, &answers)
    };
    vendors.map(record).to_vec()
}

pub fn debug_options() -> Vec<Vec<u8>> {
    // The last has as many words as its size allows, none of which is a name.
    let words: [&[u8]; 3] =
        [b"libs,files:bindings versions", b"all,statistics,unused,help,nonsense", &b"x ".repeat(1 << 11)];
    words.map(<[u8]>::to_vec).to_vec()
}

pub fn preload_lists() -> Vec<Vec<u8>> {
    vec![b"/lib/liba.so libb.so:./x.so".to_vec(), b"# comment\nliba.so\tlibb.so # more\n\n:x".to_vec()]
}

/// Processes' worth of files: the program and its libraries, with various settings and lists.
pub fn programs() -> Vec<Vec<u8>> {
    let lists: [(u8, &[u8]); 5] = [
        (0, b"\0\0liba.so\0exported\0counter"),
        (0b0110_0010, b"/opt/app/lib:$ORIGIN/lib\0libb.so\0libb.so\0from_b\0single"),
        (0b0001_1000, b"/lib/$LIB\0\0libz.so\0of_thread"),
        (0b0000_0101, b"\0liba.so\0\0guarded"),
        // So many objects that their scope gets an index.
        (0b1000_0000, b"\0libc.so libd.so libe.so libf.so libg.so libh.so libi.so\0\0exported\0from_b\0single"),
    ];
    let program = |(settings, lists): (u8, &[u8])| {
        let mut files = objects();
        if settings & 0b10 != 0 {
            files.extend(caches().into_iter().take(1));
        }
        for _ in 0..if settings & 0b1000_0000 != 0 { 4 } else { 0 } {
            files.extend(objects().split_off(1));
        }
        files.push(lists.to_vec());
        Archive { settings: [settings, 0, 0, 0], files }.write()
    };
    lists.into_iter().map(program).chain([long_table()]).collect()
}

/// So many objects that their scope gets an index, one of which has so many relocations that a scout goes ahead of them; with
/// no more libraries than leave room for changes.
fn long_table() -> Vec<u8> {
    const RELA: u64 = 7;
    const RELASZ: u64 = 8;
    let mut files = objects();
    for _ in 0..2 {
        files.extend_from_within(1..3);
    }
    files.push(FILES.b.clone());
    let lengthen = |file: &mut Vec<u8>| {
        let records = table_at(file, RELA)?.get(..value(file, RELASZ)? as usize)?;
        let table = records.repeat(400_usize.div_ceil(records.len() / 24));
        replace(file, RELA, &table)
    };
    lengthen(&mut files[1]).expect("it has relocations");
    files.push(b"\0liba.so libb.so libc.so libd.so libe.so libf.so libg.so\0\0exported\0single".to_vec());
    Archive { settings: [0; 4], files }.write()
}

/// Writes each target's seeds to a folder of its name, for libFuzzer.
pub fn write(folder: &Path) -> std::io::Result<()> {
    for target in &crate::targets::ALL {
        let folder = folder.join(target.name);
        fs::create_dir_all(&folder)?;
        for (number, seed) in (target.seeds)().into_iter().enumerate() {
            fs::write(folder.join(format!("seed-{number}")), seed)?;
        }
    }
    Ok(())
}
