//! A layout table from a distribution's packages: libc.so.6 and its loader, and their debug files by build id.
//!
//! What the stripped files say of themselves (symbol sizes, `_thread_db_*`) must agree with the debug information, else
//! there is no table.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use object::elf::{self, FileHeader64};
use object::read::elf::{ElfFile64, FileHeader, Sym};
use object::{LittleEndian, Object, ObjectSegment, ObjectSymbol};

use super::dwarf::Debug;
use super::table::{Import, InfoIndex, Struct, Table, Tunable};

const LIBC: &str = "libc.so.6";
const LOADER: &str = "ld-linux-x86-64.so.2";

/// Where distributions keep the two, from the root of their packages.
const FOLDERS: &[&str] = &["usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu", "usr/lib64", "lib64", "usr/lib", "lib"];

/// Data objects of the loader whose size a table records.
const LOADER_OBJECTS: &[&str] = &[
    "_rtld_global",
    "_rtld_global_ro",
    "_r_debug",
    "__rseq_offset",
    "__rseq_size",
    "__rseq_flags",
    "__libc_stack_end",
    "_dl_argv",
    "__libc_enable_secure",
    "__nptl_initial_report_events",
];

/// Makes the table of the glibc whose packages are unpacked under `root`.
pub fn read(root: &Path) -> Result<Table> {
    let (libc_bytes, loader_bytes) = (read_library(root, LIBC)?, read_library(root, LOADER)?);
    let libc = Elf::parse(&libc_bytes).context(LIBC)?;
    let loader = Elf::parse(&loader_bytes).context(LOADER)?;

    // The loader's debug information first: its view of rtld_global is the whole one.
    let (mut structs, mut enums) = (BTreeMap::new(), BTreeMap::new());
    let loader_debug_bytes = read_debug(root, &loader.build_id)?;
    let loader_debug = object::File::parse(&*loader_debug_bytes)?;
    Debug::read(&loader_debug)?.collect(&mut structs, &mut enums)?;
    let (mut more_structs, mut more_enums) = (BTreeMap::new(), BTreeMap::new());
    let libc_debug_bytes = read_debug(root, &libc.build_id)?;
    Debug::read(&object::File::parse(&*libc_debug_bytes)?)?.collect(&mut more_structs, &mut more_enums)?;
    for (name, more) in more_structs {
        structs.entry(name).or_insert(more);
    }
    for (name, more) in more_enums {
        enums.entry(name).or_insert(more);
    }

    let exports = loader.exports();
    let tunables = match loader_debug.symbols().find(|symbol| symbol.name() == Ok("tunable_list")) {
        Some(list) => {
            let data = loader.bytes(list.address(), list.size()).context("tunable_list has no data")?;
            tunables(data, &structs, &enums)?
        }
        None => bail!("the loader's debug information has no symbol tunable_list"),
    };
    let info = structs.get("link_map").and_then(|map: &Struct| map.fields.get("l_info")?.count);
    let table = Table {
        glibc: banner(&libc_bytes, "stable release version ", b".,")?.trim_end_matches('.').to_string(),
        package: banner(&libc_bytes, "GNU C Library (", b")").ok(),
        label: None,
        proven: false,
        build_id: Some(BTreeMap::from([
            (LIBC.to_string(), libc.build_id.clone()),
            (LOADER.to_string(), loader.build_id.clone()),
        ])),
        loader_objects: exports
            .iter()
            .filter(|(name, _)| LOADER_OBJECTS.contains(&name.as_str()))
            .map(|(name, (_, size))| (name.clone(), *size))
            .collect(),
        loader_exports: exports.keys().filter(|name| !name.starts_with("GLIBC_")).cloned().collect(),
        libc_imports: libc.imports_from(LOADER)?,
        l_info: InfoIndex::new(info.context("no l_info in struct link_map")?),
        structs,
        enums,
        tunables,
        thread_db: thread_db(&libc)?,
    };
    check(&table)?;
    Ok(table)
}

fn read_library(root: &Path, name: &str) -> Result<Vec<u8>> {
    let path = FOLDERS.iter().map(|folder| root.join(folder).join(name)).find(|path| path.exists());
    let path = path.with_context(|| format!("no {name} under {}", root.display()))?;
    std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))
}

fn read_debug(root: &Path, build_id: &str) -> Result<Vec<u8>> {
    let (first, rest) = build_id.split_at_checked(2).context("a build id too short")?;
    let path: PathBuf = root.join(format!("usr/lib/debug/.build-id/{first}/{rest}.debug"));
    std::fs::read(&path).with_context(|| format!("cannot read {} (package libc6-dbg)", path.display()))
}

/// The text between `start` and the next of `ends`, in libc's banner.
fn banner(libc: &[u8], start: &str, ends: &[u8]) -> Result<String> {
    let at = libc.windows(start.len()).position(|window| window == start.as_bytes());
    let text = &libc[at.with_context(|| format!("no `{start}` in libc.so.6"))? + start.len()..];
    // A dot inside the version number is followed by a digit.
    let end = text
        .iter()
        .enumerate()
        .position(|(at, byte)| ends.contains(byte) && !text.get(at + 1).is_some_and(u8::is_ascii_digit));
    Ok(String::from_utf8(text[..end.context("a banner without an end")?].to_vec())?)
}

/// One of the two stripped files.
struct Elf<'data> {
    file: ElfFile64<'data, LittleEndian>,
    build_id: String,
}

impl<'data> Elf<'data> {
    fn parse(data: &'data [u8]) -> Result<Self> {
        let file = ElfFile64::parse(data)?;
        let build_id = file.build_id()?.context("no build id")?;
        let build_id = build_id.iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Elf { file, build_id })
    }

    fn bytes(&self, address: u64, size: u64) -> Option<&'data [u8]> {
        self.file.segments().find_map(|segment| segment.data_range(address, size).ok().flatten())
    }

    /// Address and size of each exported symbol.
    fn exports(&self) -> BTreeMap<String, (u64, u64)> {
        let symbols = self.file.dynamic_symbols().filter(|symbol| !symbol.is_undefined());
        symbols
            .filter_map(|symbol| Some((symbol.name().ok()?.to_string(), (symbol.address(), symbol.size()))))
            .collect()
    }

    /// The symbols taken from the library `from`, by the version that names it.
    fn imports_from(&self, from: &str) -> Result<Vec<Import>> {
        let (endian, data) = (LittleEndian, self.file.data());
        let header: &FileHeader64<LittleEndian> = self.file.elf_header();
        let sections = header.sections(endian, data)?;
        let symbols = sections.symbols(endian, data, elf::SHT_DYNSYM)?;
        let versions = sections.versions(endian, data)?.context("no symbol versions")?;
        // The file that each version index is needed from.
        let mut files = BTreeMap::new();
        let (mut needs, link) = sections.gnu_verneed(endian, data)?.context("no needed versions")?;
        let strings = sections.strings(endian, data, link)?;
        while let Some((need, mut versions)) = needs.next()? {
            while let Some(version) = versions.next()? {
                files.insert(version.vna_other.get(endian), String::from_utf8_lossy(need.file(endian, strings)?));
            }
        }
        let mut imports = Vec::new();
        for (index, symbol) in symbols.enumerate() {
            let version = versions.version_index(endian, index);
            let file = files.get(&version.index()).map_or("", |file| file);
            if !symbol.is_undefined(endian) || file != from {
                continue;
            }
            let version = versions.version(version.index())?.context("a version without a name")?;
            imports.push(Import {
                name: String::from_utf8_lossy(symbols.symbol_name(endian, symbol)?).into_owned(),
                version: String::from_utf8_lossy(version.name()).into_owned(),
                file: file.to_string(),
                kind: match symbol.st_type() {
                    elf::STT_OBJECT => "OBJECT",
                    elf::STT_FUNC => "FUNC",
                    elf::STT_TLS => "TLS",
                    _ => "NOTYPE",
                }
                .to_string(),
                bind: if symbol.st_bind() == elf::STB_WEAK { "WEAK" } else { "GLOBAL" }.to_string(),
            });
        }
        imports.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(imports)
    }
}

/// Decodes the loader's static `tunable_list`.
fn tunables(
    data: &[u8],
    structs: &BTreeMap<String, Struct>,
    enums: &BTreeMap<String, BTreeMap<String, i64>>,
) -> Result<Vec<Tunable>> {
    let shape = structs.get("tunable_t").context("no tunable_t")?;
    let ids = enums.get("tunable_id_t").context("no tunable_id_t")?;
    let text = |row: &[u8], path: &str| -> Option<String> {
        let field = shape.fields.get(path)?;
        let bytes = row.get(field.offset as usize..(field.offset + field.size) as usize)?;
        Some(String::from_utf8_lossy(bytes.split(|byte| *byte == 0).next()?).into_owned())
    };
    let number = |row: &[u8], path: &str| -> Option<i64> {
        let field = shape.fields.get(path)?;
        let bytes = row.get(field.offset as usize..)?;
        match field.size {
            4 => Some(i32::from_le_bytes(*bytes.first_chunk()?).into()),
            8 => Some(i64::from_le_bytes(*bytes.first_chunk()?)),
            _ => None,
        }
    };
    let rows = data.chunks_exact(shape.size.max(1) as usize);
    rows.enumerate()
        .map(|(id, row)| {
            let (enumerator, _) = ids.iter().find(|(_, value)| **value == id as i64).context("an id without a name")?;
            Ok(Tunable {
                id: id as u64,
                enumerator: enumerator.clone(),
                name: text(row, "name").context("a tunable without a name")?,
                kind: match number(row, "type.type_code") {
                    Some(0) => "int32",
                    Some(1) => "uint64",
                    Some(2) => "size_t",
                    Some(3) => "string",
                    other => bail!("a tunable of unknown type {other:?}"),
                }
                .to_string(),
                min: number(row, "type.min").context("no type.min")?,
                max: number(row, "type.max").context("no type.max")?,
                // The value is the default as long as the program has not run.
                default: number(row, "val.numval").context("no val.numval")?,
                env_alias: text(row, "env_alias").filter(|alias| !alias.is_empty()),
                security_level: number(row, "security_level").map(|level| level as u32),
            })
        })
        .collect()
}

/// What libc.so.6 says of itself to debuggers (*glibc nptl_db/structs.def*).
fn thread_db(libc: &Elf) -> Result<BTreeMap<String, Vec<i32>>> {
    let mut table = BTreeMap::new();
    for (name, (address, size)) in libc.exports() {
        if let (Some(name), 4 | 12) = (name.strip_prefix("_thread_db_"), size) {
            let data = libc.bytes(address, size).with_context(|| format!("_thread_db_{name} has no data"))?;
            let numbers = data.chunks_exact(4).filter_map(|word| Some(i32::from_le_bytes(*word.first_chunk()?)));
            table.insert(name.to_string(), numbers.collect());
        }
    }
    Ok(table)
}

/// Compares the debug information with what the stripped files say.
fn check(table: &Table) -> Result<()> {
    for (symbol, name) in [("_rtld_global", "rtld_global"), ("_rtld_global_ro", "rtld_global_ro")] {
        let size = table.structs.get(name).map(|shape| shape.size);
        ensure!(
            table.loader_objects.get(symbol).copied() == size,
            "{symbol} is not as large as struct {name}: {size:?}"
        );
    }
    for (name, numbers) in &table.thread_db {
        if let (Some(name), [size]) = (name.strip_prefix("sizeof_"), numbers.as_slice()) {
            if let Some(shape) = table.structs.get(name) {
                ensure!(
                    shape.size == *size as u64,
                    "libc says that struct {name} has {size} bytes, not {}",
                    shape.size
                );
            }
            continue;
        }
        // STRUCT_FIELD, where both may hold underscores; rtld_global__dl_stack_used has two between.
        for (structure, shape) in &table.structs {
            let field = name.strip_prefix(structure.as_str()).and_then(|rest| rest.strip_prefix('_'));
            if let (Some(field), [_, _, offset]) = (field.and_then(|field| shape.fields.get(field)), numbers.as_slice())
            {
                ensure!(field.offset == *offset as u64, "libc says {name} is at {offset}, not {}", field.offset);
            }
        }
    }
    Ok(())
}
