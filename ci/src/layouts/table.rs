//! A layout table as JSON: what one glibc build's private structures look like.
//!
//! `structs.NAME.fields.PATH` is one field, its members as dotted paths; `enums` are the enumerations that libc and its
//! loader share; `tunables` are in the order of their ids; `thread_db` is what libc says of itself to debuggers
//! ([element bits, count, byte offset] or [size]); `l_info` is how `link_map.l_info` is indexed. A table made from
//! headers alone has no build id, no tunables' bounds, no symbols and no `thread_db`.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Table {
    pub glibc: String,
    pub package: Option<String>,
    pub label: Option<String>,
    /// Whole programs were run with this table.
    #[serde(default)]
    pub proven: bool,
    /// File name to build id.
    pub build_id: Option<BTreeMap<String, String>>,
    /// Sizes of the data objects that the loader exports.
    #[serde(default)]
    pub loader_objects: BTreeMap<String, u64>,
    #[serde(default)]
    pub loader_exports: Vec<String>,
    #[serde(default)]
    pub libc_imports: Vec<Import>,
    pub structs: BTreeMap<String, Struct>,
    pub enums: BTreeMap<String, BTreeMap<String, i64>>,
    pub l_info: InfoIndex,
    #[serde(default)]
    pub tunables: Vec<Tunable>,
    #[serde(default)]
    pub thread_db: BTreeMap<String, Vec<i32>>,
}

/// A symbol that libc takes from its loader.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Import {
    pub name: String,
    pub version: String,
    pub file: String,
    pub kind: String,
    pub bind: String,
}

#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Struct {
    pub size: u64,
    pub fields: BTreeMap<String, Field>,
}

#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Field {
    pub offset: u64,
    pub size: u64,
    #[serde(rename = "type")]
    pub type_name: String,
    /// Of a bit field: its first bit from `offset`, and its width.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bit: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bits: Option<u64>,
    /// Of an array: its elements and the size of each.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stride: Option<u64>,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct InfoIndex {
    pub count: u64,
    #[serde(rename = "DT_NUM")]
    pub num: u64,
    #[serde(rename = "DT_THISPROCNUM")]
    pub thisprocnum: u64,
    #[serde(rename = "DT_VERSIONTAGNUM")]
    pub versiontagnum: u64,
    #[serde(rename = "DT_EXTRANUM")]
    pub extranum: u64,
    #[serde(rename = "DT_VALNUM")]
    pub valnum: u64,
    #[serde(rename = "DT_ADDRNUM")]
    pub addrnum: u64,
}

impl InfoIndex {
    /// The runs whose sum is `count`: all but the plain and the processor's tags are as long in every release, and the
    /// plain tags number 38 since `DT_RELR` (glibc 2.36), 35 before (*glibc elf/elf.h*).
    pub fn new(count: u64) -> Self {
        let (versiontagnum, extranum, valnum, addrnum) = (16, 3, 12, 11);
        let rest = count.saturating_sub(versiontagnum + extranum + valnum + addrnum);
        let num = if rest >= 38 { 38 } else { 35 };
        InfoIndex { count, num, thisprocnum: rest.saturating_sub(num), versiontagnum, extranum, valnum, addrnum }
    }
}

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Tunable {
    pub id: u64,
    #[serde(rename = "enum")]
    pub enumerator: String,
    pub name: String,
    #[serde(rename = "type")]
    pub kind: String,
    pub min: i64,
    pub max: i64,
    pub default: i64,
    pub env_alias: Option<String>,
    /// Up to 2.38: 0 erased, 1 ignored, 2 honoured in set-user-ID programs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub security_level: Option<u32>,
}

impl Table {
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        serde_json::from_str(&text).with_context(|| format!("{} is not a layout table", path.display()))
    }

    /// Major and minor number of the release.
    pub fn version(&self) -> (u16, u16) {
        let mut numbers = self.glibc.split('.').map(|number| number.parse().unwrap_or(0));
        (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
    }

    pub fn field(&self, name: &str, path: &str) -> Option<&Field> {
        self.structs.get(name)?.fields.get(path)
    }

    /// As text, with one field, tunable or import a line.
    pub fn to_json(&self) -> Result<String> {
        let mut text = String::new();
        write(&mut text, &serde_json::to_value(self)?, 0);
        text.push('\n');
        Ok(text)
    }
}

/// Whatever holds no object lies on one line.
fn write(text: &mut String, value: &Value, depth: usize) {
    let nested = |value: &Value| value.is_object() || value.is_array();
    let line = |text: &mut String, depth: usize| {
        text.push('\n');
        text.extend(std::iter::repeat_n(' ', depth));
    };
    match value {
        Value::Object(map) if map.values().any(nested) => {
            text.push('{');
            for (at, (key, value)) in map.iter().enumerate() {
                text.push_str(if at == 0 { "" } else { "," });
                line(text, depth + 1);
                text.push_str(&format!("{}: ", Value::from(key.as_str())));
                write(text, value, depth + 1);
            }
            line(text, depth);
            text.push('}');
        }
        Value::Array(list) if list.iter().any(nested) => {
            text.push('[');
            for (at, value) in list.iter().enumerate() {
                text.push_str(if at == 0 { "" } else { "," });
                line(text, depth + 1);
                write(text, value, depth + 1);
            }
            line(text, depth);
            text.push(']');
        }
        _ => text.push_str(&value.to_string()),
    }
}
