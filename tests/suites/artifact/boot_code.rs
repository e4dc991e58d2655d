//! The code that runs before the interpreter has relocated itself: `_start` and the self-relocation function, with all
//! that they call, disassembled. Until relocations are applied, every slot that a relocation fills holds a link-time
//! address, so this code must not read one, must not go through the GOT, and must not call through memory.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use iced_x86::{Decoder, DecoderOptions, FlowControl, Formatter, Instruction, IntelFormatter, Mnemonic, OpKind};
use object::read::elf::{FileHeader, SectionHeader};
use object::{Object, ObjectSection, ObjectSymbol, SymbolKind};

use super::Elf;

/// The functions that run first, by what their names in the symbol table contain.
const FIRST: [&str; 2] = ["_start", "relocate_self"];

pub fn check(elf: &Elf) -> Result<Vec<String>> {
    let functions: BTreeMap<u64, (String, u64)> = elf
        .symbols()
        .filter(|symbol| symbol.kind() == SymbolKind::Text && symbol.size() > 0)
        .map(|symbol| (symbol.address(), (symbol.name().unwrap_or("?").to_owned(), symbol.size())))
        .collect();
    let filled = relocated_slots(elf)?;
    let mut findings = Vec::new();
    // Only what relocate_self calls runs before relocation; what _start calls after it does not.
    let mut pending = Vec::new();
    for first in FIRST {
        let (address, _) = functions
            .iter()
            .find(|(_, (name, _))| name == first || name.contains("relocate_self") && first == "relocate_self")
            .with_context(|| format!("no function {first} in .symtab"))?;
        pending.push((*address, first != "_start"));
    }
    let mut seen = BTreeSet::new();
    while let Some((address, follow)) = pending.pop() {
        if !seen.insert(address) {
            continue;
        }
        let Some((name, size)) = functions.get(&address) else {
            findings.push(format!("a call to {address:#x}, which is no function of the symbol table"));
            continue;
        };
        for instruction in disassemble(elf, address, *size)? {
            if let Some(problem) = problem(&instruction, &filled) {
                findings.push(format!("{name}: {:#x}: {}: {problem}", instruction.ip(), text(&instruction)));
            }
            let target = instruction.near_branch_target();
            let leaves = !(address..address + size).contains(&target);
            let branches = matches!(
                instruction.flow_control(),
                FlowControl::Call | FlowControl::UnconditionalBranch | FlowControl::ConditionalBranch
            );
            if follow && branches && leaves {
                pending.push((target, true));
            }
        }
    }
    Ok(findings)
}

/// The addresses of all eight-byte slots that relocations fill.
fn relocated_slots(elf: &Elf) -> Result<BTreeSet<u64>> {
    let (endian, data) = (elf.endian(), elf.data());
    let mut slots = BTreeSet::new();
    for section in elf.elf_header().section_headers(endian, data)? {
        if let Some(list) = section.relr(endian, data)? {
            slots.extend(list);
        }
    }
    anyhow::ensure!(!slots.is_empty(), "no word is relocated");
    Ok(slots)
}

fn disassemble(elf: &Elf, address: u64, size: u64) -> Result<Vec<Instruction>> {
    let code = elf
        .sections()
        .find_map(|section| section.data_range(address, size).ok().flatten())
        .with_context(|| format!("no code at {address:#x}"))?;
    Ok(Decoder::with_ip(64, code, address, DecoderOptions::NONE).into_iter().collect())
}

fn problem(instruction: &Instruction, filled: &BTreeSet<u64>) -> Option<&'static str> {
    let reads_memory =
        instruction.op_kinds().any(|kind| kind == OpKind::Memory) && instruction.mnemonic() != Mnemonic::Lea;
    if instruction.is_invalid() {
        return Some("not an instruction");
    }
    if matches!(instruction.flow_control(), FlowControl::IndirectCall | FlowControl::IndirectBranch) && reads_memory {
        return Some("calls or jumps through memory");
    }
    if reads_memory && instruction.is_ip_rel_memory_operand() {
        let address = instruction.ip_rel_memory_address();
        if filled.range(address.saturating_sub(7)..=address + 7).next().is_some() {
            return Some("touches a slot that is not relocated yet");
        }
    }
    None
}

fn text(instruction: &Instruction) -> String {
    let mut text = String::new();
    IntelFormatter::new().format(instruction, &mut text);
    text
}
