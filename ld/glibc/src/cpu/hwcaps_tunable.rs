//! `glibc.cpu.hwcaps`: features that the user takes away, and preferences that he turns either way
//! (*glibc sysdeps/x86/cpu-tunables.c, set_hwcaps*).

use super::Cpu;
use super::features::{Feature, feature::*};
use super::preferred::Preferred;
use super::rules::Rules;

/// What one name of the list does.
#[derive(Clone, Copy)]
enum Effect {
    /// `-NAME` makes the feature unusable; `NAME` does nothing.
    Withdraw(Feature),
    /// `-XSAVEC` also changes the size of the saved state.
    WithdrawXsavec,
    /// `-SHSTK` withdraws it; `SHSTK` makes it usable, in releases that can.
    Shstk,
    /// `-NAME` clears the preference; `NAME` does nothing.
    Unprefer(Preferred),
    /// Either way.
    Prefer(Preferred),
    /// Either way, but set only where the feature is usable.
    PreferWith(Preferred, Feature),
}

/// What a name does; glibc compares with the case. A match, not a table of strings: that would need relocations.
fn effect(name: &[u8]) -> Option<Effect> {
    use Effect::*;
    use Preferred as P;
    Some(match name {
        b"AVX" => Withdraw(AVX),
        b"CX8" => Withdraw(CX8),
        b"FMA" => Withdraw(FMA),
        b"HTT" => Withdraw(HTT),
        b"IBT" => Withdraw(IBT),
        b"RTM" => Withdraw(RTM),
        b"AVX2" => Withdraw(AVX2),
        b"BMI1" => Withdraw(BMI1),
        b"BMI2" => Withdraw(BMI2),
        b"CMOV" => Withdraw(CMOV),
        b"ERMS" => Withdraw(ERMS),
        b"FMA4" => Withdraw(FMA4),
        b"SSE2" => Withdraw(SSE2),
        b"I586" => Unprefer(P::I586),
        b"I686" => Unprefer(P::I686),
        b"LZCNT" => Withdraw(LZCNT),
        b"MOVBE" => Withdraw(MOVBE),
        b"SHSTK" => Shstk,
        b"SSSE3" => Withdraw(SSSE3),
        b"XSAVE" => Withdraw(XSAVE),
        b"POPCNT" => Withdraw(POPCNT),
        b"SSE4_1" => Withdraw(SSE4_1),
        b"SSE4_2" => Withdraw(SSE4_2),
        b"XSAVEC" => WithdrawXsavec,
        b"AVX512F" => Withdraw(AVX512F),
        b"OSXSAVE" => Withdraw(OSXSAVE),
        b"AVX512CD" => Withdraw(AVX512CD),
        b"AVX512BW" => Withdraw(AVX512BW),
        b"AVX512DQ" => Withdraw(AVX512DQ),
        b"AVX512ER" => Withdraw(AVX512ER),
        b"AVX512PF" => Withdraw(AVX512PF),
        b"AVX512VL" => Withdraw(AVX512VL),
        b"Slow_BSF" => Prefer(P::SLOW_BSF),
        b"Prefer_ERMS" => Prefer(P::PREFER_ERMS),
        b"Prefer_FSRM" => Prefer(P::PREFER_FSRM),
        b"Avoid_STOSB" => Prefer(P::AVOID_STOSB),
        b"Slow_SSE4_2" => PreferWith(P::SLOW_SSE4_2, SSE4_2),
        b"Fast_Rep_String" => Prefer(P::FAST_REP_STRING),
        b"Prefer_No_AVX512" => PreferWith(P::PREFER_NO_AVX512, AVX512F),
        b"Fast_Copy_Backward" => Prefer(P::FAST_COPY_BACKWARD),
        b"Fast_Unaligned_Load" => Prefer(P::FAST_UNALIGNED_LOAD),
        b"Fast_Unaligned_Copy" => Prefer(P::FAST_UNALIGNED_COPY),
        b"Prefer_No_VZEROUPPER" => PreferWith(P::PREFER_NO_VZEROUPPER, AVX),
        b"AVX_Fast_Unaligned_Load" => PreferWith(P::AVX_FAST_UNALIGNED_LOAD, AVX),
        b"MathVec_Prefer_No_AVX512" => PreferWith(P::MATHVEC_PREFER_NO_AVX512, AVX512F),
        b"Avoid_Non_Temporal_Memset" => Prefer(P::AVOID_NON_TEMPORAL_MEMSET),
        b"Prefer_PMINUB_for_stringop" => PreferWith(P::PREFER_PMINUB_FOR_STRINGOP, SSE2),
        _ => return None,
    })
}

/// Works through the comma-separated `list`, in its order; unknown names do nothing.
pub(super) fn apply(cpu: &mut Cpu, list: &[u8], rules: &Rules) {
    let known = |preferred| match preferred {
        Preferred::AVOID_NON_TEMPORAL_MEMSET => rules.memset_non_temporal,
        Preferred::AVOID_STOSB => rules.avoid_stosb,
        _ => true,
    };
    for item in list.split(|&byte| byte == b',') {
        let (name, wanted) = match item.strip_prefix(b"-") {
            Some(name) => (name, false),
            None => (item, true),
        };
        let Some(effect) = effect(name) else { continue };
        match (effect, wanted) {
            (Effect::Withdraw(f), false) => cpu.features.disable(&[f]),
            (Effect::WithdrawXsavec, false) => {
                cpu.xsave.give_up_compaction();
                cpu.features.disable(&[XSAVEC]);
            }
            (Effect::Shstk, false) => cpu.features.disable(&[SHSTK]),
            (Effect::Shstk, true) if rules.shstk_by_request => cpu.features.enable(&[SHSTK]),
            (Effect::Unprefer(p), false) => cpu.preferred -= p,
            (Effect::Prefer(p) | Effect::PreferWith(p, _), false) if known(p) => cpu.preferred -= p,
            (Effect::Prefer(p), true) if known(p) => cpu.preferred |= p,
            (Effect::PreferWith(p, needed), true) if cpu.features.active(needed) => cpu.preferred |= p,
            _ => {}
        }
    }
}
