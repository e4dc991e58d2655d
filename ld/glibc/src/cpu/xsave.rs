//! How many bytes the processor's extended state takes when it is saved: for trampolines and for signal stacks.

use super::features::{Features, feature};
use super::processor::{Identity, Memo, Processor};
use super::rules::Rules;

/// The leaf that describes the extended state (*Intel SDM volume 1, 13.2*).
const STATE_LEAF: u32 = 0xd;

/// Room for the integer registers that a trampoline keeps below the state, and three more for a TLS descriptor call
/// (*glibc sysdeps/x86/sysdep.h, STATE_SAVE_OFFSET and TLSDESC_CALL_REGISTER_SAVE_AREA*).
const STATE_SAVE_OFFSET: u32 = 8 * 7 + 8;
const TLSDESC_SAVE_AREA: u32 = STATE_SAVE_OFFSET + 24;

/// State components behind the legacy region that a trampoline saves: AVX, bounds, and the three of AVX-512.
const SAVED: u32 = 1 << 2 | 1 << 3 | 1 << 5 | 1 << 6 | 1 << 7;
const TILECFG: u32 = 17;
const TILEDATA: u32 = 18;
const APX: u32 = 19;
/// And what a TLS descriptor call may have in use besides, where the release knows it.
const SAVED_BY_TLSDESC: u32 = SAVED | 1 << TILECFG | 1 << TILEDATA | 1 << APX;

/// The least signal stack of the ABI, `MINSIGSTKSZ`.
const MINSIGSTKSZ: u64 = 2048;

/// The instruction that saves the vector state in a trampoline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StateSave {
    Fxsave,
    Xsave,
    Xsavec,
}

impl StateSave {
    pub(super) fn of(area: &XsaveArea, features: &Features) -> StateSave {
        match area.state_size {
            0 => StateSave::Fxsave,
            _ if features.active(feature::XSAVEC) => StateSave::Xsavec,
            _ => StateSave::Xsave,
        }
    }
}

/// `xsave_state_size` and its companions, in bytes; zero without XSAVE.
#[derive(Default)]
pub(super) struct XsaveArea {
    pub state_size: u64,
    pub full_size: u32,
    pub tlsdesc_size: u64,
    /// Room for all that any release saves, for trampolines that are not glibc's.
    pub whole_size: u64,
}

impl XsaveArea {
    /// *glibc sysdeps/x86/cpu-features.c, update_active*: the standard form's size, or with XSAVEC the compacted
    /// size of the components that matter.
    pub fn measure<P: Processor>(
        memo: &mut Memo<P>,
        identity: &Identity,
        features: &Features,
        rules: &Rules,
    ) -> XsaveArea {
        if !features.present(feature::OSXSAVE) || identity.max_leaf < STATE_LEAF {
            return XsaveArea::default();
        }
        let standard = memo.cpuid(STATE_LEAF, 0).ebx;
        if standard == 0 {
            return XsaveArea::default();
        }
        let registers = if rules.tlsdesc_save_area { TLSDESC_SAVE_AREA } else { STATE_SAVE_OFFSET };
        let full_size = align(standard.wrapping_add(registers), 64);
        let mut area = XsaveArea { full_size, ..XsaveArea::default() };
        area.give_up_compaction();
        if features.present(feature::XSAVEC) {
            let saved = if rules.tlsdesc_save_area { SAVED_BY_TLSDESC } else { SAVED };
            area.whole_size = align(compacted(memo, SAVED_BY_TLSDESC).0, 64).into();
            let (size, tiles) = compacted(memo, saved);
            let size = align(size.wrapping_add(registers), 64);
            area.tlsdesc_size = size.into();
            area.state_size = size.wrapping_sub(tiles).into();
        }
        area
    }

    /// Falls back to the standard form, for a user who does not want XSAVEC.
    pub fn give_up_compaction(&mut self) {
        self.state_size = self.full_size.into();
        self.tlsdesc_size = self.full_size.into();
        self.whole_size = self.full_size.into();
    }
}

/// The compacted size of these components, and how much of it is AMX's, which trampolines leave alone.
fn compacted<P: Processor>(memo: &mut Memo<P>, saved: u32) -> (u32, u32) {
    // Each is asked for, as glibc does: a component that neither XCR0 nor IA32_XSS can hold has an all-zero leaf by the book
    // (Intel SDM volume 2, CPUID leaf 0dH), but hypervisors that hide AMX tell its size all the same.
    // The legacy region and the header, 576 bytes, come first.
    let mut end = 576u32;
    let (mut tiles_start, mut tiles_end) = (0, 0);
    for component in 2..=APX {
        let (mut size, mut aligned) = (0, false);
        if saved & 1 << component != 0 {
            let answer = memo.cpuid(STATE_LEAF, component);
            size = answer.eax;
            aligned = answer.ecx & 2 != 0;
        }
        let start = if aligned && component > 2 { align(end, 64) } else { end };
        match component {
            TILECFG => tiles_start = start,
            APX => tiles_end = start,
            _ => {}
        }
        end = start.wrapping_add(size);
    }
    (end, tiles_end.wrapping_sub(tiles_start))
}

/// `_dl_minsigstacksize`: what the kernel says, else the size of its signal frame with the whole extended state
/// (*glibc sysdeps/unix/sysv/linux/x86/dl-minsigstacksize.h*).
pub(super) fn minsigstacksize<P: Processor>(
    memo: &mut Memo<P>,
    identity: &Identity,
    features: &Features,
    from_kernel: u64,
) -> u64 {
    if from_kernel != 0 {
        return from_kernel;
    }
    if identity.max_leaf < STATE_LEAF || !features.present(feature::OSXSAVE) {
        return MINSIGSTKSZ;
    }
    // The frame and its return address, aligned for the stack; padding to the state's alignment; the state; and the
    // word that marks its end.
    let frame = align(440 + 8 + 15, 16) + (64 - 16);
    u64::from(frame.wrapping_add(memo.cpuid(STATE_LEAF, 0).ebx).wrapping_add(4))
}

fn align(value: u32, to: u32) -> u32 {
    value.wrapping_add(to - 1) & !(to - 1)
}
