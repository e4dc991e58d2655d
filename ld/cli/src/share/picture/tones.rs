//! Which colour a page has.

use super::super::figures::Figures;
use super::super::page::{Cause, Cell, State};
use crate::draw::tone::Tone;

/// In the order of the legend, from what is shared most to what costs most.
pub const TONES: [Tone; 13] = [
    tone('a', "one frame in all", "#1f9e89", "#2bb59d"),
    tone('s', "one frame in some", "#85cfbf", "#1d6f63"),
    tone('o', "shared with others only", "#6ea8dc", "#4b86bd"),
    tone('c', "alone, unchanged", "#e8cf7a", "#c9ab4a"),
    tone('r', "relocated", "#f0913a", "#f09a48"),
    tone('m', "relocated and written", "#e0633a", "#e26e45"),
    tone('w', "written", "#c9304e", "#e04a66"),
    tone('t', "text relocation", "#7a0b2e", "#ff2e63"),
    tone('p', "patched", "#4a1030", "#ff8fb1"),
    tone('k', "written, reason unknown", "#8a6d5c", "#a8897a"),
    tone('b', "bss", "#9a63c9", "#a877d6"),
    tone('h', "heap, stack, buffers", "#c79bd9", "#7d5a94"),
    tone('u', "untouched", "#e9e6df", "#2b2e34"),
];

const fn tone(letter: char, label: &'static str, light: &'static str, dark: &'static str) -> Tone {
    Tone { letter, label, light, dark }
}

pub fn letter(cell: &Cell) -> u8 {
    match (cell.state, cell.cause) {
        (State::Untouched, _) => b'u',
        (State::All, _) => b'a',
        (State::Several, _) => b's',
        (State::Others, _) => b'o',
        (_, Some(Cause::Alone) | None) => b'c',
        (_, Some(Cause::Relocated)) => b'r',
        (_, Some(Cause::RelocatedAndWritten)) => b'm',
        (_, Some(Cause::Written)) => b'w',
        (_, Some(Cause::TextRelocation)) => b't',
        (_, Some(Cause::Patched)) => b'p',
        (_, Some(Cause::Unknown)) => b'k',
        (_, Some(Cause::Bss)) => b'b',
        (_, Some(Cause::Memory)) => b'h',
    }
}

/// What stands under the pointer for a page of this colour.
pub fn meaning(letter: char, processes: usize) -> String {
    let cause = |cause: Cause| format!("private: {}", cause.sentence());
    match letter {
        'a' => format!("the same frame in all {processes}"),
        's' => "the same frame in several of them".to_owned(),
        'o' => "the same frame as in processes that are not shown".to_owned(),
        'c' => cause(Cause::Alone),
        'r' => cause(Cause::Relocated),
        'm' => cause(Cause::RelocatedAndWritten),
        'w' => cause(Cause::Written),
        't' => cause(Cause::TextRelocation),
        'p' => cause(Cause::Patched),
        'k' => cause(Cause::Unknown),
        'b' => cause(Cause::Bss),
        'h' => cause(Cause::Memory),
        _ => "untouched".to_owned(),
    }
}

/// Frames of each colour, in the order of the legend; untouched pages are no frames.
pub fn shares(figures: &Figures) -> Vec<(&'static Tone, u64)> {
    let cause = |cause: Cause| figures.causes.get(&cause).copied().unwrap_or(0);
    TONES
        .iter()
        .map(|tone| {
            let count = match tone.letter {
                'a' => figures.in_all,
                's' => figures.in_several,
                'o' => figures.with_others,
                'c' => cause(Cause::Alone),
                'r' => cause(Cause::Relocated),
                'm' => cause(Cause::RelocatedAndWritten),
                'w' => cause(Cause::Written),
                't' => cause(Cause::TextRelocation),
                'p' => cause(Cause::Patched),
                'k' => cause(Cause::Unknown),
                'b' => cause(Cause::Bss),
                'h' => cause(Cause::Memory),
                _ => 0,
            };
            (tone, count)
        })
        .filter(|(_, count)| *count > 0)
        .collect()
}
