//! Symbol versions of loaded objects: which there are, and whether each need is met.
//!
//! Rules of *glibc elf/dl-version.c, _dl_check_map_versions and match_symbol*.

use alloc::vec::Vec;

use folio_elf::version::{self, VER_FLG_BASE, VER_FLG_WEAK};
use folio_elf::{Dynamic, Image};

use crate::error::{Error, Problem};
use crate::object::{Object, ObjectId, Objects};

/// One version by its index in `Elf64_Versym`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version<'m> {
    pub name: &'m [u8],
    pub hash: u32,
    /// Only an exact match will do (`dlvsym`).
    pub exact: bool,
}

/// The versions that an object defines or needs, by index. Indices 0 and 1 stand for none.
#[derive(Debug, Default)]
pub struct Versions<'m> {
    by_index: Vec<Option<Version<'m>>>,
    /// Below this index all versions are defined, unless there are [`Self::sorted`] ones.
    defined: u16,
    /// Hash and name of the file's own version, which is no symbol's.
    own: Option<(u32, &'m [u8])>,
    /// Whether any version is defined.
    are_defined: bool,
    /// Hash and name of each version that is defined, in order: where they are more than [`FEW`], or where indices do not tell.
    sorted: Vec<(u32, &'m [u8])>,
}

/// So many definitions are looked through faster than they are sorted. libstdc++ has about as many.
const FEW: usize = 64;

/// Indices have 15 bits (`Elf64_Versym` without its hidden bit).
const INDEX: u16 = 0x7fff;

impl<'m> Versions<'m> {
    pub fn decode(image: &Image<'m>, dynamic: &Dynamic<'m>) -> Versions<'m> {
        // Tables that grow leave twice their size behind in the arena, so there is room from the beginning: as much as the
        // object says, but that need not be true. Of a file three versions are needed, or fewer.
        let indices = dynamic.verdefnum.saturating_add(dynamic.verneednum.saturating_mul(3)).saturating_add(2);
        let mut versions = Versions { by_index: Vec::with_capacity(indices.min(256) as usize), ..Versions::default() };
        if let Some(at) = dynamic.verdef {
            versions.are_defined = true;
            for definition in version::definitions(image, dynamic.strings, at) {
                if definition.flags & VER_FLG_BASE == 0 {
                    versions.insert(definition.index, definition.name, definition.hash);
                } else {
                    versions.own = Some((definition.hash, definition.name));
                }
            }
            versions.defined = versions.by_index.len() as u16;
            if versions.by_index.len() > FEW {
                versions.sort();
            }
        }
        if let Some(at) = dynamic.verneed {
            for need in version::needs(image, dynamic.strings, at) {
                // Linkers number definitions first.
                if need.index & INDEX < versions.defined && versions.sorted.is_empty() {
                    versions.sort();
                }
                versions.insert(need.index, need.name, need.hash);
            }
        }
        versions
    }

    fn insert(&mut self, index: u16, name: &'m [u8], hash: u32) {
        let index = usize::from(index & INDEX);
        if self.by_index.len() <= index {
            self.by_index.resize(index + 1, None);
        }
        self.by_index[index] = Some(Version { name, hash, exact: false });
    }

    /// Sorts the definitions, before a need takes the place of one.
    fn sort(&mut self) {
        let named =
            self.by_index[..usize::from(self.defined)].iter().flatten().map(|version| (version.hash, version.name));
        self.sorted = named.chain(self.own).collect();
        self.sorted.sort_unstable();
    }

    /// Whether the object defines any version.
    #[inline(always)]
    pub fn are_defined(&self) -> bool {
        self.are_defined
    }

    /// Whether the object defines a version with this name and its hash.
    fn define(&self, hash: u32, name: &[u8]) -> bool {
        if !self.sorted.is_empty() {
            return self.sorted.binary_search(&(hash, name)).is_ok();
        }
        let mut named = self.by_index[..usize::from(self.defined)].iter().flatten();
        self.own == Some((hash, name)) || named.any(|version| version.hash == hash && version.name == name)
    }

    /// The version of a symbol, from its `Elf64_Versym`.
    #[inline]
    pub fn get(&self, versym: u16) -> Option<&Version<'m>> {
        self.by_index.get(usize::from(versym & INDEX))?.as_ref()
    }
}

/// Checks each version that `id` needs against the objects of its namespace, `members`; reports those that are missing.
pub fn check(objects: &Objects, members: &[ObjectId], id: ObjectId, program: &[u8], report: &mut impl FnMut(Error)) {
    check_watched(objects, members, id, program, &mut |_, _| {}, report);
}

/// As [`check`]; `watch` learns of each version that is looked for, and in which object.
pub fn check_watched(
    objects: &Objects,
    members: &[ObjectId],
    id: ObjectId,
    program: &[u8],
    watch: &mut impl FnMut(&version::Need, &Object),
    report: &mut impl FnMut(Error),
) {
    let object = &objects[id];
    let Some(dynamic) = &object.dynamic else { return };
    let Some(at) = dynamic.verneed else { return };
    let requester = object.display_name(program);
    // Needs come file by file: look each file up once.
    let mut current: Option<(&[u8], Option<ObjectId>)> = None;
    for need in version::needs(&object.image, dynamic.strings, at) {
        let provider = match current {
            Some((file, provider)) if file == need.file => provider,
            _ => {
                let provider = members.iter().copied().find(|&member| objects[member].answers_to(need.file));
                current = Some((need.file, provider));
                provider
            }
        };
        // A file that is missing altogether has been reported already.
        let Some(provider) = provider.map(|provider| &objects[provider]) else {
            continue;
        };
        watch(&need, provider);
        let Some(defined) = defines(provider, &need) else {
            // An object without any version definitions is taken to fit (it may be older than its versions).
            let problem = Problem::NoVersions { requester: requester.to_vec() };
            report(Error::new(provider.display_name(program), problem));
            continue;
        };
        if !defined && need.flags & VER_FLG_WEAK == 0 {
            let problem = Problem::Version { name: need.name.to_vec(), requester: requester.to_vec() };
            report(Error::new(provider.display_name(program), problem));
        }
    }
}

/// Whether an object defines the version that is needed; `None` if it defines no versions at all.
pub fn defines(provider: &Object, need: &version::Need) -> Option<bool> {
    let versions = &provider.versions;
    versions.are_defined().then(|| versions.define(need.hash, need.name))
}
