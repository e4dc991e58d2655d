//! Tunables: the values that `GLIBC_TUNABLES` and a few older environment variables give, else the table's defaults.
//!
//! libc asks its loader for each by the id that its build gave it (`__tunable_get_val`), and acts only on what the user
//! set; the loader itself uses some by name. Nothing is copied: only what the user set is stored, and strings refer to
//! the environment. Rules: *glibc elf/dl-tunables.c*, whose reading of the variable became strict in 2.39 and settled on
//! one reading of each name in 2.40; the manual's chapter "Tunables". Where older releases honour some tunables in
//! set-user-ID programs, Folio follows 2.39 and honours none.

pub mod number;
#[cfg(test)]
mod tests;

use alloc::vec::Vec;
use core::fmt;

use folio_elf::Lossy;

use crate::cpu::{CpuTunable, CpuTunables, TunableUpdate, TunableUpdates};
use crate::layout::{Layout, Tunable, TunableKind, Tunables, Version};

/// The value of a tunable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'env> {
    /// An `int32_t` is sign-extended.
    Number(u64),
    /// Without its end mark; `None` is the default of every string.
    String(Option<&'env [u8]>),
}

/// All tunables of one process.
#[derive(Debug)]
pub struct Values<'env> {
    layout: &'static Layout,
    /// What the user set, by id: nothing, as a rule.
    set: Vec<(usize, Value<'env>)>,
    /// What follows from the processor, once it is known.
    measured: TunableUpdates,
    secure: bool,
}

impl<'env> Values<'env> {
    /// Reads the environment for the libc with this layout.
    ///
    /// `glibc_tunables` is the value of that variable; `variable` looks another one up, and is asked for the handful of
    /// names that stand for a tunable, so a caller who saw none of them may answer `None` to all. In a set-user-ID
    /// program (`secure`) neither counts. `warn` gets what glibc prints.
    pub fn new(
        layout: &'static Layout,
        glibc_tunables: Option<&'env [u8]>,
        mut variable: impl FnMut(&str) -> Option<&'env [u8]>,
        secure: bool,
        mut warn: impl FnMut(Warning<'env>),
    ) -> Self {
        let mut values = Values { layout, set: Vec::new(), measured: TunableUpdates::default(), secure };
        if secure {
            return values;
        }
        let rules = Rules::of(layout.version);
        if let Some(text) = glibc_tunables {
            values.read(text, rules, &mut warn);
        }
        if values.secure {
            return values;
        }
        for (id, tunable) in layout.tunables.iter().enumerate() {
            if values.given(id).is_none()
                && let Some(alias) = &tunable.env_alias
                && let Some(value) = variable(alias)
                && !values.assign(id, value, rules)
                && rules == Rules::Once
            {
                warn(Warning::Value { tunable, value });
            }
        }
        values
    }

    /// Stores what follows from the processor (*glibc sysdeps/x86/dl-cacheinfo.h, update_active and dl_init_cacheinfo*): these
    /// tunables count as set from now on.
    pub fn write_back(&mut self, measured: &TunableUpdates) {
        self.measured = measured.clone();
    }

    fn measured(&self, id: usize) -> Option<&TunableUpdate> {
        let name = self.tunable(id)?.name.as_bytes();
        // libc asks for many that are none of these.
        let name = name.starts_with(b"glibc.cpu.x86_").then_some(name)?;
        self.measured.iter().find(|update| update.tunable.name().as_bytes() == name)
    }

    /// The smallest and the largest value that a tunable may have.
    pub fn bounds(&self, id: usize) -> Option<(u64, u64)> {
        let tunable = self.tunable(id)?;
        Some(self.measured(id).map_or((tunable.min, tunable.max), |update| (update.min, update.max)))
    }

    /// Every tunable at its default.
    pub fn defaults(layout: &'static Layout) -> Self {
        Self::new(layout, None, |_| None, true, |_| {})
    }

    /// Whether the process must behave as a set-user-ID program: because it is one, or as `glibc.rtld.enable_secure`
    /// asks for.
    pub fn secure(&self) -> bool {
        self.secure
    }

    /// Kind and bounds of the tunable with an id; `None` is an id that this libc's build cannot have.
    pub fn tunable(&self, id: usize) -> Option<&'static Tunable> {
        self.layout.tunables.get(id)
    }

    /// What `__tunable_get_val` answers.
    pub fn by_id(&self, id: usize) -> Option<Value<'env>> {
        let tunable = self.tunable(id)?;
        if let Some(update) = self.measured(id) {
            return Some(Value::Number(update.value));
        }
        Some(self.given(id).unwrap_or(match tunable.kind {
            TunableKind::String => Value::String(None),
            _ => Value::Number(tunable.default),
        }))
    }

    /// What `__tunable_is_initialized` answers: whether the user set it. Only then is libc's callback called.
    pub fn is_set(&self, id: usize) -> bool {
        self.given(id).is_some() || self.measured(id).is_some()
    }

    pub fn id(&self, name: &str) -> Option<usize> {
        self.layout.tunables.iter().position(|tunable| tunable.name.as_bytes() == name.as_bytes())
    }

    /// The number of that name; `None` when this glibc has no such tunable.
    pub fn number(&self, name: &str) -> Option<u64> {
        match self.by_id(self.id(name)?)? {
            Value::Number(number) => Some(number),
            Value::String(_) => None,
        }
    }

    /// The number of that name if the user set it.
    pub fn number_if_set(&self, name: &str) -> Option<u64> {
        match self.value_if_set(name)? {
            Value::Number(number) => Some(number),
            Value::String(_) => None,
        }
    }

    /// The string of that name if the user set it.
    pub fn string(&self, name: &str) -> Option<&'env [u8]> {
        match self.value_if_set(name)? {
            Value::String(string) => string,
            Value::Number(_) => None,
        }
    }

    fn value_if_set(&self, name: &str) -> Option<Value<'env>> {
        self.set
            .iter()
            .find(|(id, _)| self.layout.tunables[*id].name.as_bytes() == name.as_bytes())
            .map(|(_, value)| *value)
    }

    /// What the user set a tunable to.
    fn given(&self, id: usize) -> Option<Value<'env>> {
        self.set.iter().find(|(given, _)| *given == id).map(|(_, value)| *value)
    }

    /// Reads the value of `GLIBC_TUNABLES`.
    fn read(&mut self, text: &'env [u8], rules: Rules, warn: &mut impl FnMut(Warning<'env>)) {
        if rules != Rules::Lenient && !well_formed(text) {
            return warn(Warning::Form(text));
        }
        let tunables = &self.layout.tunables;
        let given = pairs(text).filter_map(|(name, value)| {
            let id = tunables.iter().position(|tunable| tunable.name.as_bytes() == name)?;
            Some((id, value))
        });
        if rules != Rules::Once {
            for (id, value) in given {
                if !self.assign(id, value, rules) {
                    warn(Warning::Value { tunable: &tunables[id], value });
                }
            }
            return;
        }
        let mut last = [None; Tunables::MAX];
        given.for_each(|(id, value)| last[id] = Some(value));
        if let Some((id, value)) = self.id("glibc.rtld.enable_secure").and_then(|id| Some((id, last[id]?))) {
            match number::parse(value) {
                Some(1) => return self.secure = true,
                Some(_) => {}
                // Said here and once more below, as glibc does.
                None => warn(Warning::Value { tunable: &tunables[id], value }),
            }
        }
        for (id, value) in last.into_iter().enumerate() {
            if let Some(value) = value
                && !self.assign(id, value, rules)
            {
                warn(Warning::Value { tunable: &tunables[id], value });
            }
        }
    }

    /// Sets a tunable if its bounds allow; `false` for a number that is none.
    fn assign(&mut self, id: usize, value: &'env [u8], rules: Rules) -> bool {
        let parsed = parse(&self.layout.tunables[id], value, rules);
        if let Ok(Some(value)) = parsed {
            self.set.retain(|(given, _)| *given != id);
            self.set.push((id, value));
        }
        parsed.is_ok()
    }
}

impl CpuTunables for Values<'_> {
    fn hwcaps(&self) -> Option<&[u8]> {
        self.string("glibc.cpu.hwcaps")
    }

    fn size(&self, tunable: CpuTunable) -> Option<u64> {
        self.number_if_set(tunable.name())
    }

    fn prefer_map_32bit_exec(&self) -> bool {
        self.number_if_set("glibc.cpu.prefer_map_32bit_exec") == Some(1)
    }
}

/// How releases read `GLIBC_TUNABLES`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rules {
    /// Up to 2.38: what is malformed is skipped, and a number may have anything behind it.
    Lenient,
    /// 2.39: a malformed text counts for nothing; each name is set as often as it stands there.
    Strict,
    /// From 2.40: the last of each name counts, in the order of ids.
    Once,
}

impl Rules {
    fn of(version: Version) -> Self {
        match (version.major, version.minor) {
            (..=1, _) | (2, ..=38) => Rules::Lenient,
            (2, 39) => Rules::Strict,
            _ => Rules::Once,
        }
    }
}

/// The `name=value` pieces between colons. A value ends at the colon, and a piece without `=` is skipped.
fn pairs(text: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    text.split(|byte| *byte == b':').filter_map(|piece| {
        let at = piece.iter().position(|byte| *byte == b'=')?;
        Some((&piece[..at], &piece[at + 1..]))
    })
}

/// Whether the strict rules accept the text: the last piece is a pair, and no value holds another `=`.
fn well_formed(text: &[u8]) -> bool {
    let equals = |piece: &[u8]| piece.iter().filter(|byte| **byte == b'=').count();
    let mut pieces = text.split(|byte| *byte == b':');
    let ends_in_pair = pieces.clone().next_back().is_some_and(|last| equals(last) == 1);
    text.is_empty() || ends_in_pair && pieces.all(|piece| equals(piece) <= 1)
}

/// The text of a number is none.
struct NotANumber;

/// The value that a text gives; nothing when it is out of bounds.
fn parse<'env>(tunable: &Tunable, text: &'env [u8], rules: Rules) -> Result<Option<Value<'env>>, NotANumber> {
    let number = match (tunable.kind, rules) {
        (TunableKind::String, _) => return Ok(Some(Value::String(Some(text)))),
        (_, Rules::Lenient) => number::prefix(text).0,
        (TunableKind::Int32, _) => number::parse(text).ok_or(NotANumber)? as i32 as u64,
        _ => number::parse(text).ok_or(NotANumber)?,
    };
    let in_bounds = match tunable.kind {
        TunableKind::Int32 => (tunable.min as i64..=tunable.max as i64).contains(&(number as i64)),
        _ => (tunable.min..=tunable.max).contains(&number),
    };
    Ok(in_bounds.then_some(Value::Number(number)))
}

/// What was wrong with the user's settings. The [`Display`](fmt::Display) is glibc's line, without its end.
#[derive(Clone, Copy, Debug)]
pub enum Warning<'env> {
    /// The whole variable is ignored.
    Form(&'env [u8]),
    Value {
        tunable: &'static Tunable,
        value: &'env [u8],
    },
}

impl fmt::Display for Warning<'_> {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Warning::Form(text) => {
                write!(out, "WARNING: ld.so: invalid GLIBC_TUNABLES `{}': ignored.", Lossy(text))
            }
            Warning::Value { tunable, value } => write!(
                out,
                "WARNING: ld.so: invalid GLIBC_TUNABLES value `{}' for option `{}': ignored.",
                Lossy(value),
                tunable.name
            ),
        }
    }
}
