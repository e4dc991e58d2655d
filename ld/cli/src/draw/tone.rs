//! The colours of states: what each stands for, and its shade on light and dark ground.

/// One colour with its meaning.
#[derive(Clone, Copy, Debug)]
pub struct Tone {
    /// Names it in style sheets, and in the data of pictures.
    pub letter: char,
    pub label: &'static str,
    pub light: &'static str,
    pub dark: &'static str,
}

impl Tone {
    pub const fn new(letter: char, label: &'static str, light: &'static str, dark: &'static str) -> Self {
        Self { letter, label, light, dark }
    }
}

/// Style rules that define each colour as a variable, and give it to strokes, fills and backgrounds.
pub fn rules<'t>(tones: impl Iterator<Item = &'t Tone> + Clone) -> String {
    let variables = |shade: fn(&Tone) -> &'static str| -> String {
        tones.clone().map(|tone| format!("--{}:{};", tone.letter, shade(tone))).collect()
    };
    let uses: String = tones
        .clone()
        .map(|Tone { letter, .. }| {
            format!(".k{letter}{{stroke:var(--{letter})}}.f{letter}{{fill:var(--{letter});background:var(--{letter})}}")
        })
        .collect();
    format!(
        ":root{{{}}}@media(prefers-color-scheme:dark){{:root{{{}}}}}{uses}",
        variables(|tone| tone.light),
        variables(|tone| tone.dark)
    )
}
