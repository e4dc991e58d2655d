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
    /// Hash and name of each version that is defined, the file's own among them; in order if there are more than [`FEW`].
    /// `None` if it defines none at all.
    defined: Option<Vec<(u32, &'m [u8])>>,
}

/// So many definitions are looked through faster than they are sorted. libstdc++ has about as many.
const FEW: usize = 64;

/// Indices have 15 bits (`Elf64_Versym` without its hidden bit).
const INDEX: u16 = 0x7fff;

impl<'m> Versions<'m> {
    pub fn decode(image: &Image<'m>, dynamic: &Dynamic<'m>) -> Versions<'m> {
        // Tables that grow leave twice their size behind in the arena, so there is room from the beginning: as much as the
        // object says, but that need not be true. Of a file three versions are needed, or fewer.
        let most = |count: u64| count.min(256) as usize;
        let indices = most(dynamic.verdefnum.saturating_add(dynamic.verneednum.saturating_mul(3)).saturating_add(2));
        let mut versions = Versions { by_index: Vec::with_capacity(indices), defined: None };
        if let Some(at) = dynamic.verdef {
            let mut defined = Vec::with_capacity(most(dynamic.verdefnum));
            for definition in version::definitions(image, dynamic.strings, at) {
                defined.push((definition.hash, definition.name));
                if definition.flags & VER_FLG_BASE == 0 {
                    versions.insert(definition.index, definition.name, definition.hash);
                }
            }
            if defined.len() > FEW {
                defined.sort_unstable();
            }
            versions.defined = Some(defined);
        }
        if let Some(at) = dynamic.verneed {
            for need in version::needs(image, dynamic.strings, at) {
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

    /// Whether the object defines any version.
    #[inline(always)]
    pub fn are_defined(&self) -> bool {
        self.defined.is_some()
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
    let defined = provider.versions.defined.as_ref()?;
    let wanted = (need.hash, need.name);
    Some(if defined.len() > FEW { defined.binary_search(&wanted).is_ok() } else { defined.contains(&wanted) })
}
