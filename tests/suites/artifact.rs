//! The built interpreter as a file: what it must not contain, what it must export, and how its first instructions work.

#[path = "artifact/boot_code.rs"]
mod boot_code;
#[path = "artifact/probes.rs"]
mod probes;
#[path = "artifact/version_script.rs"]
mod version_script;

use std::collections::BTreeSet;
use std::process::ExitCode;

use anyhow::{Context, Result};
use folio_tests::interpreter::Interpreter;
use folio_tests::suite::{self, Verdict};
use folio_tests::workspace;
use libtest_mimic::Trial;
use object::elf::{
    DT_NEEDED, DT_TEXTREL, PF_W, PF_X, PT_GNU_STACK, PT_INTERP, PT_LOAD, PT_TLS, SHN_UNDEF, SHT_REL, SHT_RELA,
};
use object::read::elf::{Dyn, ElfFile64, FileHeader, ProgramHeader, SectionHeader, Sym};
use object::{Endianness, Object, ObjectSymbol};

type Elf<'data> = ElfFile64<'data, Endianness>;
type Check = fn(&Elf) -> Result<Vec<String>>;

fn main() -> ExitCode {
    suite::run_or_explain(tests())
}

fn tests() -> Result<Vec<Trial>> {
    let checks: [(&str, Check); 8] = [
        ("segments", segments),
        ("dynamic_section", dynamic_section),
        ("only_packed_relocations", only_packed_relocations),
        ("exports", exports),
        ("imports_nothing", imports_nothing),
        ("symbols_for_debuggers", symbols_for_debuggers),
        ("probes", probes::check),
        ("boot_code", boot_code::check),
    ];
    let interpreter = Interpreter::under_test()?;
    Ok(checks
        .into_iter()
        .map(|(name, check)| {
            let interpreter = interpreter.clone();
            suite::test(format!("artifact::{name}"), move || {
                if interpreter.is_stand_in() {
                    return Ok(Verdict::Skip("glibc's own loader is a different file".to_owned()));
                }
                let data = std::fs::read(interpreter.path())?;
                Ok(Verdict::from_findings(check(&Elf::parse(&*data)?)?))
            })
        })
        .collect())
}

/// No interpreter, no thread-local storage, no segment that is writable and executable, no executable stack.
fn segments(elf: &Elf) -> Result<Vec<String>> {
    let endian = elf.endian();
    let mut findings = Vec::new();
    for segment in elf.elf_program_headers() {
        let (kind, flags) = (segment.p_type(endian), segment.p_flags(endian));
        if kind == PT_INTERP {
            findings.push("PT_INTERP: an interpreter has no interpreter".to_owned());
        }
        if kind == PT_TLS {
            findings.push("PT_TLS: thread-local storage would need a loader".to_owned());
        }
        let (writable, executable) = (flags.0 & PF_W.0 != 0, flags.0 & PF_X.0 != 0);
        if executable && (kind == PT_GNU_STACK || kind == PT_LOAD && writable) {
            findings.push(format!("segment of type {:#x} with flags {:#x}", kind.0, flags.0));
        }
    }
    if !elf.elf_program_headers().iter().any(|segment| segment.p_type(endian) == PT_GNU_STACK) {
        findings.push("without PT_GNU_STACK the kernel makes the stack executable".to_owned());
    }
    Ok(findings)
}

/// No needed library, no relocation in text, and the soname that programs link against.
fn dynamic_section(elf: &Elf) -> Result<Vec<String>> {
    let (endian, data) = (elf.endian(), elf.data());
    let entries = elf
        .elf_header()
        .section_headers(endian, data)?
        .iter()
        .find_map(|section| section.dynamic(endian, data).transpose())
        .context("no dynamic section")??;
    let mut findings = Vec::new();
    for entry in entries.0 {
        let tag = entry.d_tag(endian);
        if tag == DT_NEEDED || tag == DT_TEXTREL {
            findings.push(format!("dynamic entry {tag:?}"));
        }
    }
    Ok(findings)
}

/// The start code applies packed relative relocations and nothing else.
fn only_packed_relocations(elf: &Elf) -> Result<Vec<String>> {
    let (endian, data) = (elf.endian(), elf.data());
    let mut findings = Vec::new();
    for section in elf.elf_header().section_headers(endian, data)? {
        let kind = section.sh_type(endian);
        if matches!(kind, SHT_REL | SHT_RELA) && section.sh_size(endian) > 0 {
            findings.push("a section of relocations that are not packed".to_owned());
        }
    }
    Ok(findings)
}

/// Exactly the names and versions of `linker-scripts/exports.map`, and each of its versions defined.
fn exports(elf: &Elf) -> Result<Vec<String>> {
    let script = std::fs::read_to_string(workspace::root().join("linker-scripts/exports.map"))?;
    let wanted = version_script::parse(&script)?;
    let (endian, data) = (elf.endian(), elf.data());
    let sections = elf.elf_header().sections(endian, data)?;
    let versions = sections.versions(endian, data)?.context("no symbol versions")?;
    let symbols = sections.symbols(endian, data, object::elf::SHT_DYNSYM)?;
    let mut found = BTreeSet::new();
    for (index, symbol) in symbols.enumerate() {
        if symbol.st_shndx(endian) == SHN_UNDEF || symbol.st_name(endian) == 0 {
            continue;
        }
        let name = String::from_utf8_lossy(symbols.symbol_name(endian, symbol)?).into_owned();
        let version = versions.version(versions.version_index(endian, index).index())?;
        let version = version.map(|version| String::from_utf8_lossy(version.name()).into_owned()).unwrap_or_default();
        // A version is itself an absolute symbol of its own name.
        if name != version {
            found.insert((version, name));
        }
    }
    let wanted_symbols: BTreeSet<_> = wanted.iter().flat_map(|version| version.exports()).collect();
    let mut findings: Vec<String> = Vec::new();
    findings.extend(wanted_symbols.difference(&found).map(|(version, name)| format!("missing: {name}@{version}")));
    findings.extend(found.difference(&wanted_symbols).map(|(version, name)| format!("surplus: {name}@{version}")));
    let mut defined = BTreeSet::new();
    let definitions = elf
        .elf_header()
        .section_headers(endian, data)?
        .iter()
        .find_map(|section| section.gnu_verdef(endian, data).transpose())
        .context("no version definitions")??;
    let mut definitions = definitions.0;
    let strings = symbols.strings();
    while let Some((definition, mut names)) = definitions.next()? {
        let base = definition.vd_flags.get(endian).0 & object::elf::VER_FLG_BASE.0 != 0;
        let Some(name) = names.next()?.filter(|_| !base) else { continue };
        defined.insert(String::from_utf8_lossy(name.name(endian, strings)?).into_owned());
    }
    let wanted_versions: BTreeSet<String> = wanted.into_iter().map(|version| version.name).collect();
    findings.extend(wanted_versions.symmetric_difference(&defined).map(|name| format!("version {name} in one only")));
    Ok(findings)
}

/// No undefined symbol: there is nobody to define it.
fn imports_nothing(elf: &Elf) -> Result<Vec<String>> {
    Ok(elf
        .dynamic_symbols()
        .filter(|symbol| symbol.is_undefined())
        .map(|symbol| format!("undefined: {}", symbol.name().unwrap_or("?")))
        .collect())
}

/// valgrind starts only with a `strlen` in the interpreter's symbol table; debuggers look for the breakpoint function.
fn symbols_for_debuggers(elf: &Elf) -> Result<Vec<String>> {
    let names: BTreeSet<&str> = elf.symbols().filter_map(|symbol| symbol.name().ok()).collect();
    Ok(["strlen", "_dl_debug_state", "_r_debug", "_start"]
        .into_iter()
        .filter(|name| !names.contains(name))
        .map(|name| format!("{name} is not in .symtab"))
        .collect())
}
