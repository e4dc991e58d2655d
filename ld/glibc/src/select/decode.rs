//! What a few small functions of libc tell about `rtld_global_ro`, from their first instructions.
//!
//! Each loads the address of `_rtld_global_ro` from the GOT and then uses one member. Only the two or three encodings
//! that such code takes are known here (Intel SDM volume 2, chapter 2); whatever else stands between is skipped byte by
//! byte. A wrong reading is harmless, because a table must agree with all fingerprints at once.

/// How much of a function that takes a member is looked at.
pub const MEMBER_FUNCTION: usize = 48;
/// The whole of `__x86_get_cpuid_feature_leaf`, with room for a compiler's taste.
pub const LEAF_FUNCTION: usize = 64;

const REX_W: u8 = 0x48;
const REX_B: u8 = 0x41;

/// Displacement of the first `mov disp32(%base), %reg` or `jmp *disp32(%base)` after `mov slot(%rip), %base`.
pub fn first_member(code: &[u8]) -> Option<u32> {
    let (base, rest) = got_load(code)?;
    (0..rest.len()).find_map(|at| match *rest.get(at..)? {
        // mov disp32(%base), %reg: REX.W 8b, mod 2
        [rex, 0x8b, modrm, ..] if rex & !0b0100 == REX_W | base >> 3 && addresses(modrm, base) => {
            displacement(rest, at + 3)
        }
        // jmp *disp32(%base): ff /4, mod 2, with REX.B for the upper registers
        [0xff, modrm, ..] if base < 8 && addresses(modrm, base) && modrm >> 3 & 7 == 4 => displacement(rest, at + 2),
        [REX_B, 0xff, modrm, ..] if base >= 8 && addresses(modrm, base) && modrm >> 3 & 7 == 4 => {
            displacement(rest, at + 3)
        }
        _ => None,
    })
}

/// The bound in `cmp $imm8, %edi`: the highest leaf number.
pub fn last_leaf(code: &[u8]) -> Option<u32> {
    let at = code.windows(2).position(|bytes| bytes == [0x83, 0xff])?;
    code.get(at + 2).map(|bound| u32::from(*bound))
}

/// The displacement in `lea disp32(%base, %index), %rax`, or in an `add $imm32, %rax` in its place.
pub fn leaf_start(code: &[u8]) -> Option<u32> {
    let (_, rest) = got_load(code)?;
    (0..rest.len()).find_map(|at| match *rest.get(at..)? {
        // REX.W 8d, mod 2 with a SIB byte that does not scale
        [rex, 0x8d, 0x84, sib, ..] if rex & !0b0011 == REX_W && sib >> 6 == 0 => displacement(rest, at + 4),
        [REX_W, 0x05, ..] => displacement(rest, at + 2),
        _ => None,
    })
}

/// The register of the first 64-bit load relative to `%rip`, and the code after it.
fn got_load(code: &[u8]) -> Option<(u8, &[u8])> {
    (0..code.len()).find_map(|at| match *code.get(at..)? {
        [rex, 0x8b, modrm, ..] if rex & !0b0100 == REX_W && modrm & 0b1100_0111 == 0b0000_0101 => {
            Some(((rex & 0b0100) << 1 | modrm >> 3 & 7, code.get(at + 7..)?))
        }
        _ => None,
    })
}

/// Whether a ModRM byte means disp32(%base), without a SIB byte.
fn addresses(modrm: u8, base: u8) -> bool {
    modrm >> 6 == 2 && modrm & 7 == base & 7 && modrm & 7 != 4
}

fn displacement(code: &[u8], at: usize) -> Option<u32> {
    code.get(at..)?.first_chunk().copied().map(u32::from_le_bytes)
}
