//! Which colour a page has.

use super::super::figures::Figures;
use super::super::page::{Cause, Cell, State};
use crate::draw::tone::Tone;

/// What a page of some colour is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Subject {
    InAll,
    InSeveral,
    WithOthers,
    Private(Cause),
    Untouched,
}

use Subject::{InAll, InSeveral, Private, Untouched, WithOthers};

/// In the order of the legend, from what is shared most to what costs most.
const LEGEND: [(Subject, Tone); 13] = [
    (InAll, Tone::new('a', "one frame in all", "#1f9e89", "#2bb59d")),
    (InSeveral, Tone::new('s', "one frame in some", "#85cfbf", "#1d6f63")),
    (WithOthers, Tone::new('o', "shared with others only", "#6ea8dc", "#4b86bd")),
    (Private(Cause::Alone), Tone::new('c', "alone, unchanged", "#e8cf7a", "#c9ab4a")),
    (Private(Cause::Relocated), Tone::new('r', "relocated", "#f0913a", "#f09a48")),
    (Private(Cause::RelocatedAndWritten), Tone::new('m', "relocated and written", "#e0633a", "#e26e45")),
    (Private(Cause::Written), Tone::new('w', "written", "#c9304e", "#e04a66")),
    (Private(Cause::TextRelocation), Tone::new('t', "text relocation", "#7a0b2e", "#ff2e63")),
    (Private(Cause::Patched), Tone::new('p', "patched", "#4a1030", "#ff8fb1")),
    (Private(Cause::Unknown), Tone::new('k', "written, reason unknown", "#8a6d5c", "#a8897a")),
    (Private(Cause::Bss), Tone::new('b', "bss", "#9a63c9", "#a877d6")),
    (Private(Cause::Memory), Tone::new('h', "heap, stack, buffers", "#c79bd9", "#7d5a94")),
    (Untouched, Tone::new('u', "untouched", "#e9e6df", "#2b2e34")),
];

pub fn tones() -> impl Iterator<Item = &'static Tone> + Clone {
    LEGEND.iter().map(|(_, tone)| tone)
}

pub fn letter(cell: &Cell) -> u8 {
    let subject = match (cell.state, cell.cause) {
        (State::Untouched, _) => Untouched,
        (State::All, _) => InAll,
        (State::Several, _) => InSeveral,
        (State::Others, _) => WithOthers,
        (_, cause) => Private(cause.unwrap_or(Cause::Alone)),
    };
    LEGEND.iter().find(|(known, _)| *known == subject).map_or(b'u', |(_, tone)| tone.letter as u8)
}

pub fn label(letter: u8) -> &'static str {
    tones().find(|tone| tone.letter == char::from(letter)).map_or("", |tone| tone.label)
}

/// What a page of this colour costs, compared with others; one that is not there costs nothing.
pub fn rank(letter: u8) -> usize {
    tones().position(|tone| tone.letter == char::from(letter) && letter != b'u').map_or(0, |at| at + 1)
}

/// What stands under the pointer for a page of each colour, by its letter.
pub fn meanings(processes: usize) -> impl Iterator<Item = (char, String)> {
    LEGEND.iter().map(move |(subject, tone)| {
        let meaning = match subject {
            InAll => format!("the same frame in all {processes}"),
            InSeveral => "the same frame in several of them".to_owned(),
            WithOthers => "the same frame as in processes that are not shown".to_owned(),
            Private(cause) => format!("private: {}", cause.sentence()),
            Untouched => "untouched".to_owned(),
        };
        (tone.letter, meaning)
    })
}

/// Frames of each colour, in the order of the legend; untouched pages are no frames.
pub fn shares(figures: &Figures) -> Vec<(&'static Tone, u64)> {
    let count = |subject: &Subject| match subject {
        InAll => figures.in_all,
        InSeveral => figures.in_several,
        WithOthers => figures.with_others,
        Private(cause) => figures.causes.get(cause).copied().unwrap_or(0),
        Untouched => 0,
    };
    LEGEND.iter().map(|(subject, tone)| (tone, count(subject))).filter(|(_, count)| *count > 0).collect()
}
