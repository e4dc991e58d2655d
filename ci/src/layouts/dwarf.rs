//! Structures and enumerations from DWARF: the members of each, nested ones flattened to dotted paths.

use std::collections::BTreeMap;
use std::rc::Rc;

use anyhow::{Context, Result};
use gimli::constants as dw;
use gimli::{AttributeValue, DebugInfoOffset, Dwarf, EndianRcSlice, LittleEndian, Reader as _, Unit, UnitOffset};
use object::{Object, ObjectSection};

use super::table::{Field, Struct};

/// Names in the C source, as `struct NAME`, `union NAME` or a typedef, and the name in the table where it differs.
const STRUCTS: &[(&str, &str)] = &[
    ("rtld_global", "rtld_global"),
    ("rtld_global_ro", "rtld_global_ro"),
    ("link_map", "link_map"),
    ("cpu_features", "cpu_features"),
    ("cpuid_registers", "cpuid_registers"),
    ("cpuid_feature_internal", "cpuid_feature_internal"),
    ("pthread", "pthread"),
    ("tcbhead_t", "tcbhead_t"),
    ("dtv", "dtv_t"),
    ("dtv_t", "dtv_t"),
    ("dtv_pointer", "dtv_pointer"),
    ("r_found_version", "r_found_version"),
    ("r_scope_elem", "r_scope_elem"),
    ("libname_list", "libname_list"),
    ("link_map_machine", "link_map_machine"),
    ("auditstate", "auditstate"),
    ("audit_ifaces", "audit_ifaces"),
    ("dtv_slotinfo_list", "dtv_slotinfo_list"),
    ("dtv_slotinfo", "dtv_slotinfo"),
    ("link_namespaces", "link_namespaces"),
    ("unique_sym_table", "unique_sym_table"),
    ("unique_sym", "unique_sym"),
    ("dl_find_object", "dl_find_object"),
    ("dl_find_object_internal", "dl_find_object_internal"),
    ("r_debug", "r_debug"),
    ("r_debug_extended", "r_debug_extended"),
    ("dl_exception", "dl_exception"),
    ("catch", "catch"),
    ("rtld_catch", "rtld_catch"),
    ("dl_x86_feature_control", "dl_x86_feature_control"),
    ("link_map_reldeps", "link_map_reldeps"),
    ("r_search_path_elem", "r_search_path_elem"),
    ("r_search_path_struct", "r_search_path_struct"),
    ("r_file_id", "r_file_id"),
    ("dlfcn_hook", "dlfcn_hook"),
    ("dl_action_result", "dl_action_result"),
    ("reloc_result", "reloc_result"),
    ("dl_scope_free_list", "dl_scope_free_list"),
    ("robust_list_head", "robust_list_head"),
    ("list_head", "list_t"),
    ("dl_phdr_info", "dl_phdr_info"),
    ("rseq", "rseq"),
    ("rseq_area", "rseq_area"),
    ("_tunable", "tunable_t"),
    ("tunable_val_t", "tunable_val_t"),
    ("tunable_type_t", "tunable_type_t"),
    ("file_entry_new", "file_entry_new"),
    ("cache_file_new", "cache_file_new"),
    ("tls_index", "tls_index"),
    ("dl_tls_index", "tls_index"),
    ("tls_internal_t", "tls_internal_t"),
    ("call_tls_dtors", "call_tls_dtors"),
    ("dtor_list", "dtor_list"),
    ("__pthread_mutex_s", "__pthread_mutex_s"),
    ("pthread_attr", "pthread_attr"),
];

const ENUMS: &[&str] = &[
    "tunable_id_t",
    "rseq_cs_flags",
    "dso_sort_algorithm",
    "allocate_stack_mode_t",
    "dl_readonly_area_error_type",
    "cpu_features_kind",
    "dl_x86_cet_control",
];

/// How deep members of members are followed.
const DEPTH: usize = 4;

type Bytes = EndianRcSlice<LittleEndian>;
type Entry = gimli::DebuggingInformationEntry<Bytes>;

/// The debug information of one file.
pub struct Debug {
    dwarf: Dwarf<Bytes>,
    /// With the offset of each in `.debug_info`, ascending.
    units: Vec<(usize, Unit<Bytes>)>,
}

/// Where a type is described.
#[derive(Clone, Copy, PartialEq)]
struct Type {
    unit: usize,
    at: UnitOffset,
}

impl Debug {
    /// Reads the DWARF sections of an ELF file, compressed ones too.
    pub fn read(file: &object::File) -> Result<Self> {
        let dwarf = Dwarf::load(|id| -> Result<Bytes> {
            let data = match file.section_by_name(id.name()) {
                Some(section) => section.uncompressed_data()?.into_owned(),
                None => Vec::new(),
            };
            Ok(EndianRcSlice::new(Rc::from(data), LittleEndian))
        })?;
        let mut units = Vec::new();
        let mut headers = dwarf.units();
        while let Some(header) = headers.next()? {
            let start = header.debug_info_offset().context("a unit outside .debug_info")?.0;
            units.push((start, dwarf.unit(header)?));
        }
        Ok(Debug { dwarf, units })
    }

    /// Adds what [`STRUCTS`] and [`ENUMS`] name to `structs` and `enums`. Of a structure that is there twice, as
    /// `struct link_map` is in its public and its private form, the longer counts.
    pub fn collect(
        &self,
        structs: &mut BTreeMap<String, Struct>,
        enums: &mut BTreeMap<String, BTreeMap<String, i64>>,
    ) -> Result<()> {
        for unit in 0..self.units.len() {
            let root = Type { unit, at: self.units[unit].1.header.root_offset() };
            self.each_child(root, |at, entry| {
                if !matches!(
                    entry.tag(),
                    dw::DW_TAG_structure_type
                        | dw::DW_TAG_union_type
                        | dw::DW_TAG_enumeration_type
                        | dw::DW_TAG_typedef
                ) {
                    return Ok(());
                }
                let Some(name) = self.name(unit, entry)? else { return Ok(()) };
                let (tag, at) = if entry.tag() == dw::DW_TAG_typedef {
                    match self.strip(Some(at))? {
                        Some(at) => (self.entry(at)?.tag(), at),
                        None => return Ok(()),
                    }
                } else {
                    (entry.tag(), at)
                };
                match tag {
                    dw::DW_TAG_structure_type | dw::DW_TAG_union_type => {
                        let wanted = STRUCTS.iter().find(|(source, _)| *source == name);
                        let entry = self.entry(at)?;
                        if let (Some((_, key)), false) = (wanted, entry.has_attr(dw::DW_AT_declaration)) {
                            let size = number(&entry, dw::DW_AT_byte_size).unwrap_or(0);
                            if structs.get(*key).is_none_or(|known| known.size < size) {
                                let mut fields = BTreeMap::new();
                                self.members(at, 0, "", 0, &mut fields)?;
                                structs.insert(key.to_string(), Struct { size, fields });
                            }
                        }
                    }
                    dw::DW_TAG_enumeration_type if ENUMS.contains(&name.as_str()) && !enums.contains_key(&name) => {
                        enums.insert(name, self.enumerators(at)?);
                    }
                    _ => {}
                }
                Ok(())
            })?;
        }
        Ok(())
    }

    /// The members of a structure or union at `base`, and theirs.
    fn members(
        &self,
        owner: Type,
        base: u64,
        prefix: &str,
        depth: usize,
        fields: &mut BTreeMap<String, Field>,
    ) -> Result<()> {
        self.each_child(owner, |at, entry| {
            if entry.tag() != dw::DW_TAG_member {
                return Ok(());
            }
            let declared = self.type_of(at.unit, entry)?;
            let stripped = self.strip(declared)?;
            let name = self.name(at.unit, entry)?;
            let size = self.size(declared)?;
            let mut field = Field {
                offset: base + number(entry, dw::DW_AT_data_member_location).unwrap_or(0),
                size,
                type_name: self.type_name(declared)?,
                ..Field::default()
            };
            if let Some(bit) = number(entry, dw::DW_AT_data_bit_offset) {
                // Counted from the start of the structure; the table counts from the unit that the type makes.
                let unit = bit / 8 / size.max(1) * size;
                field.offset = base + unit;
                field.bit = Some(bit - unit * 8);
                field.bits = number(entry, dw::DW_AT_bit_size);
            }
            let offset = field.offset;
            let path = name.as_ref().map(|name| format!("{prefix}{name}"));
            let nested = match stripped {
                Some(stripped) => Some((stripped, self.entry(stripped)?)),
                None => None,
            };
            if let (Some((stripped, array)), true) = (&nested, path.is_some())
                && array.tag() == dw::DW_TAG_array_type
            {
                field.count = Some(self.dimensions(*stripped)?.iter().product());
                field.stride = Some(self.size(self.type_of(stripped.unit, array)?)?);
            }
            if let Some(path) = &path {
                fields.insert(path.clone(), field);
            }
            let Some((stripped, nested)) = nested else { return Ok(()) };
            let record = matches!(nested.tag(), dw::DW_TAG_structure_type | dw::DW_TAG_union_type);
            // The loader's own link map lies inside rtld_global; it is listed once, as link_map.
            let listed = name.is_some() && self.name(stripped.unit, &nested)?.as_deref() == Some("link_map");
            if record && !listed && depth < DEPTH {
                let prefix = path.map_or(prefix.to_string(), |path| path + ".");
                self.members(stripped, offset, &prefix, depth + 1, fields)?;
            }
            Ok(())
        })
    }

    fn enumerators(&self, owner: Type) -> Result<BTreeMap<String, i64>> {
        let mut values = BTreeMap::new();
        self.each_child(owner, |at, entry| {
            if let (dw::DW_TAG_enumerator, Some(name)) = (entry.tag(), self.name(at.unit, entry)?) {
                let value = entry.attr_value(dw::DW_AT_const_value);
                let value = value.and_then(|value| value.sdata_value()).context("an enumerator without a value")?;
                values.insert(name, value);
            }
            Ok(())
        })?;
        Ok(values)
    }

    fn entry(&self, at: Type) -> Result<Entry> {
        Ok(self.units[at.unit].1.entry(at.at)?)
    }

    fn each_child(&self, owner: Type, mut visit: impl FnMut(Type, &Entry) -> Result<()>) -> Result<()> {
        let mut tree = self.units[owner.unit].1.entries_tree(Some(owner.at))?;
        let mut children = tree.root()?.children();
        while let Some(child) = children.next()? {
            let entry = child.entry();
            visit(Type { unit: owner.unit, at: entry.offset() }, entry)?;
        }
        Ok(())
    }

    fn name(&self, unit: usize, entry: &Entry) -> Result<Option<String>> {
        let Some(value) = entry.attr_value(dw::DW_AT_name) else { return Ok(None) };
        let name = self.dwarf.attr_string(&self.units[unit].1, value)?;
        Ok(Some(name.to_string_lossy()?.into_owned()))
    }

    /// What `DW_AT_type` of an entry refers to; `None` is void.
    fn type_of(&self, unit: usize, entry: &Entry) -> Result<Option<Type>> {
        match entry.attr_value(dw::DW_AT_type) {
            None => Ok(None),
            Some(AttributeValue::UnitRef(at)) => Ok(Some(Type { unit, at })),
            Some(AttributeValue::DebugInfoRef(DebugInfoOffset(at))) => {
                let after = self.units.partition_point(|(start, _)| *start <= at);
                let unit = after.checked_sub(1).context("a type before the first unit")?;
                Ok(Some(Type { unit, at: UnitOffset(at - self.units[unit].0) }))
            }
            Some(other) => anyhow::bail!("a type reference of an unknown form: {other:?}"),
        }
    }

    /// Follows typedefs and qualifiers.
    fn strip(&self, mut at: Option<Type>) -> Result<Option<Type>> {
        while let Some(here) = at {
            let entry = self.entry(here)?;
            match entry.tag() {
                dw::DW_TAG_typedef
                | dw::DW_TAG_const_type
                | dw::DW_TAG_volatile_type
                | dw::DW_TAG_atomic_type
                | dw::DW_TAG_restrict_type => at = self.type_of(here.unit, &entry)?,
                _ => break,
            }
        }
        Ok(at)
    }

    fn size(&self, at: Option<Type>) -> Result<u64> {
        let Some(at) = self.strip(at)? else { return Ok(0) };
        let entry = self.entry(at)?;
        let size = number(&entry, dw::DW_AT_byte_size);
        Ok(match entry.tag() {
            dw::DW_TAG_array_type => {
                self.dimensions(at)?.iter().product::<u64>() * self.size(self.type_of(at.unit, &entry)?)?
            }
            dw::DW_TAG_pointer_type => size.unwrap_or(8),
            _ => size.unwrap_or(0),
        })
    }

    fn dimensions(&self, array: Type) -> Result<Vec<u64>> {
        let mut dimensions = Vec::new();
        self.each_child(array, |_, entry| {
            if entry.tag() == dw::DW_TAG_subrange_type {
                // A flexible array member has neither.
                let upper = number(entry, dw::DW_AT_upper_bound).map(|upper| upper.wrapping_add(1));
                dimensions.push(number(entry, dw::DW_AT_count).or(upper).unwrap_or(0));
            }
            Ok(())
        })?;
        Ok(dimensions)
    }

    /// A short C name; `const` and `volatile` of no interest here are left out where they wrap something.
    fn type_name(&self, at: Option<Type>) -> Result<String> {
        let Some(at) = at else { return Ok("void".into()) };
        let entry = self.entry(at)?;
        let target = |this: &Self| this.type_name(this.type_of(at.unit, &entry)?);
        let keyword = match entry.tag() {
            dw::DW_TAG_pointer_type => return Ok(target(self)? + "*"),
            dw::DW_TAG_const_type => return target(self),
            dw::DW_TAG_subroutine_type => return Ok("fn".into()),
            dw::DW_TAG_array_type => {
                let dimensions = self.dimensions(at)?;
                return Ok(dimensions.iter().fold(target(self)?, |name, count| format!("{name}[{count}]")));
            }
            dw::DW_TAG_structure_type => "struct ",
            dw::DW_TAG_union_type => "union ",
            dw::DW_TAG_enumeration_type => "enum ",
            _ => "",
        };
        match self.name(at.unit, &entry)? {
            Some(name) => Ok(format!("{keyword}{name}")),
            None if self.strip(Some(at))? == Some(at) => Ok(format!("{keyword}(anonymous)")),
            None => self.type_name(self.strip(Some(at))?),
        }
    }
}

/// A constant attribute.
fn number(entry: &Entry, name: gimli::DwAt) -> Option<u64> {
    entry.attr_value(name)?.udata_value()
}
