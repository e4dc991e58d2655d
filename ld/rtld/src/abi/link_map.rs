//! `struct link_map`: what libc, debuggers and unwinders see of a loaded object.
//!
//! Folio keeps what it knows in [`folio_link::Object`]; this is the copy for others, written through the layout table.

use alloc::alloc::{Layout as Memory, alloc_zeroed, dealloc};
use alloc::vec::Vec;

use folio_glibc::layout::{InfoIndex, Layout};
use folio_link::{Kind, Object, ObjectId};

use crate::abi::record::Record;

/// Words that Folio adds behind the structure: its own number of the object, and the size of the allocation. Then come a
/// `struct libname_list` {name, next, dont_free}, and the strings.
const EXTRA: usize = 16;
const LIBNAME: usize = 24;

/// `l_type` (*glibc include/link.h*): the executable, a library of the start, one that was dlopened.
const LT_EXECUTABLE: u32 = 0;
const LT_LIBRARY: u32 = 1;
const LT_LOADED: u32 = 2;

/// The link map of one object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkMap {
    record: Record,
}

/// A NUL-terminated copy of `bytes` that is never freed.
pub fn leaked_string(bytes: &[u8]) -> *const u8 {
    let mut string = Vec::with_capacity(bytes.len() + 1);
    string.extend_from_slice(bytes);
    string.push(0);
    string.leak().as_ptr()
}

impl LinkMap {
    /// Makes the link map of `object`, with all that does not change later.
    pub fn create(layout: &Layout, id: ObjectId, object: &Object, at_start: bool) -> LinkMap {
        let alias = object.names.first().unwrap_or(&object.path);
        let strings: [&[u8]; 3] = [&object.path, alias, &object.origin];
        let head = record_size(layout) + LIBNAME;
        let size = head + strings.iter().map(|string| string.len() + 1).sum::<usize>();
        let memory = Memory::from_size_align(size, 16).expect("names of files are not that long");
        // SAFETY: the size is not zero.
        #[allow(unsafe_code)]
        let base = unsafe { alloc_zeroed(memory) };
        assert!(!base.is_null(), "no memory for a link map");
        // SAFETY: just allocated with that size.
        #[allow(unsafe_code)]
        let record = unsafe { Record::new(base, record_size(layout)) };
        let map = LinkMap { record };
        map.record.put(number_offset(layout), id.0);
        map.record.put(number_offset(layout) + 8, size);
        let mut end = head;
        let [name, alias, origin] = strings.map(|string| {
            let at = base.wrapping_add(end);
            end += string.len() + 1;
            // SAFETY: the allocation has room for the strings behind its head, with a zero after each.
            #[allow(unsafe_code)]
            unsafe {
                core::ptr::copy_nonoverlapping(string.as_ptr(), at, string.len());
            }
            at.expose_provenance()
        });
        let l = &layout.link_map;
        let libname: *mut [usize; 3] = base.wrapping_add(record_size(layout)).cast();
        // SAFETY: the allocation's head has room for it, aligned to 8.
        #[allow(unsafe_code)]
        unsafe {
            libname.write([alias, 0, 1]);
        }
        map.record.put(l.name, name);
        map.record.put(l.libname, libname.expose_provenance());
        if !object.origin.is_empty() {
            map.record.put(l.origin, origin);
        }
        map.describe(layout, object, at_start);
        map
    }

    /// Makes this the link map of what stands for `real` in another namespace. It has no addresses of its own: those are
    /// the real one's (*glibc elf/dl-iteratephdr.c*).
    pub fn stand_for(self, layout: &Layout, real: LinkMap) {
        let l = &layout.link_map;
        self.record.put(l.real, real.address());
        self.record.put(l.map_start, 0usize);
        self.record.put(l.map_end, 0usize);
    }

    /// Frees the link map and its strings.
    ///
    /// # Safety
    /// Nobody may use them any more.
    #[allow(unsafe_code)]
    pub unsafe fn destroy(self, layout: &Layout) {
        let size = self.record.get(number_offset(layout) + 8);
        // SAFETY: the allocation of `create`, with the same size.
        unsafe { dealloc(self.record.base(), Memory::from_size_align_unchecked(size, 16)) };
    }

    /// Whether the object was opened after the start (`lt_loaded`): others are never unloaded.
    pub fn is_opened(self, layout: &Layout) -> bool {
        self.record.get::<u32>(layout.link_map.flags) & 3 == LT_LOADED
    }

    /// The link map that a caller means by its address; `None` for a null pointer.
    ///
    /// # Safety
    /// `base` must be null or come from [`LinkMap::base`].
    #[allow(unsafe_code)]
    pub unsafe fn from_base(layout: &Layout, base: *mut u8) -> Option<LinkMap> {
        // SAFETY: by the caller's promise, memory that `create` made.
        (!base.is_null()).then(|| LinkMap { record: unsafe { Record::new(base, record_size(layout)) } })
    }

    pub fn base(self) -> *mut u8 {
        self.record.base()
    }

    pub fn address(self) -> usize {
        self.record.address(0)
    }

    pub fn record(self) -> Record {
        self.record
    }

    /// Folio's number of the object.
    pub fn object(self, layout: &Layout) -> ObjectId {
        ObjectId(self.record.get(number_offset(layout)))
    }

    fn describe(self, layout: &Layout, object: &Object, at_start: bool) {
        let l = &layout.link_map;
        let record = self.record;
        let placement = &object.placement;
        record.put(l.addr, object.image.bias().0);
        record.put(l.real, self.address());
        if let Some(headers) = placement.headers {
            record.put(l.phdr, object.address(headers).0);
            record.put(l.phnum, placement.header_count);
        }
        record.put(l.entry, object.address(placement.entry).0);
        let (start, end) = object.span();
        record.put(l.map_start, start.0);
        record.put(l.map_end, end.0);
        if let Some(text_end) = l.text_end {
            let text = placement.segments.iter().filter(|segment| segment.flags & 1 != 0).map(|segment| segment.end);
            record.put(text_end, text.max().map_or(0, |end| object.address(end).0));
        }
        if let Some(relro) = placement.relro {
            record.put(l.relro_addr, relro.at.0);
            record.put(l.relro_size, relro.size);
        }
        if let Some(identity) = object.identity {
            record.put(l.file_id, identity.device);
            record.put(l.file_id + 8, identity.inode);
        }
        let kind = match (object.kind, at_start) {
            (Kind::Executable, _) => LT_EXECUTABLE,
            (_, true) => LT_LIBRARY,
            (_, false) => LT_LOADED,
        };
        record.put(l.flags, record.get::<u32>(l.flags) | kind);
        self.set_flag(layout, l.bits.contiguous, placement.is_contiguous());
        self.set_flag(layout, l.bits.ld_readonly, !placement.dynamic_writable);
        self.describe_dynamic(layout, object);
        self.describe_tls(layout, object);
        // The scope arrays that libc walks: its own list, and a NULL-terminated list of lists.
        record.put(l.scope_max, 4u64);
        record.put(l.scope, record.address(l.scope_mem));
        record.put(l.local_scope, record.address(l.searchlist));
    }

    fn describe_dynamic(self, layout: &Layout, object: &Object) {
        let l = &layout.link_map;
        let record = self.record;
        let Some(dynamic) = &object.dynamic else { return };
        record.put(l.ld, dynamic.entries().memory());
        record.put(l.ldnum, dynamic.entries().len() as u16 + 1);
        record.put(l.flags_1, dynamic.flags_1 as u32);
        let entry_size = 16;
        for (index, entry) in dynamic.entries().iter().enumerate() {
            if let Some(slot) = info_slot(&l.info_index, entry.d_tag) {
                record.put(l.info + 8 * slot, dynamic.entries().memory() + index as u64 * entry_size);
            }
        }
        if let Some(versym) = object.symbols.as_ref().and_then(|symbols| symbols.versym) {
            record.put(l.versyms, versym.memory());
        }
        let Some(symbols) = &object.symbols else { return };
        if let Some(hash) = &symbols.gnu_hash {
            record.put(l.nbuckets, hash.buckets.len() as u32);
            record.put(l.gnu_bitmask_idxbits, hash.bloom.len() as u32 - 1);
            record.put(l.gnu_shift, hash.bloom_shift);
            record.put(l.gnu_bitmask, hash.bloom.memory());
            record.put(l.gnu_buckets, hash.buckets.memory());
            let chain_zero = hash.chains.memory().wrapping_sub(4 * u64::from(hash.symbol_base));
            record.put(l.gnu_chain_zero, chain_zero);
        } else if let Some(hash) = &symbols.sysv_hash {
            record.put(l.nbuckets, hash.buckets.len() as u32);
            // In unions with the two fields of the other table.
            record.put(l.gnu_buckets, hash.chains.memory());
            record.put(l.gnu_chain_zero, hash.buckets.memory());
        }
    }

    fn describe_tls(self, layout: &Layout, object: &Object) {
        let l = &layout.link_map;
        let Some(tls) = &object.placement.tls else { return };
        self.record.put(l.tls_initimage, object.address(tls.image).0);
        self.record.put(l.tls_initimage_size, tls.file_size);
        self.record.put(l.tls_blocksize, tls.size);
        self.record.put(l.tls_align, tls.align);
        self.record.put(l.tls_firstbyte_offset, tls.image.0 & (tls.align - 1));
    }

    /// Sets or clears one bit of the flag word; bits past 31 are in the next one.
    pub fn set_flag(self, layout: &Layout, bit: u8, value: bool) {
        let offset = layout.link_map.flags + 4 * u16::from(bit / 32);
        let mask = 1u32 << (bit % 32);
        let word: u32 = self.record.get(offset);
        self.record.put(offset, if value { word | mask } else { word & !mask });
    }
}

/// Size of the structure with Folio's words.
fn record_size(layout: &Layout) -> usize {
    usize::from(number_offset(layout)) + EXTRA
}

fn number_offset(layout: &Layout) -> u16 {
    layout.link_map.size.next_multiple_of(8)
}

/// Where `l_info` keeps the entry with `tag` (*glibc elf/get-dynamic-info.h*).
fn info_slot(index: &InfoIndex, tag: u64) -> Option<u16> {
    let after_version = index.num + index.thisprocnum + index.versiontagnum;
    let slot = |base: u16, number: u64, count: u16| (number < u64::from(count)).then(|| base + number as u16);
    slot(0, tag, index.num)
        .or_else(|| slot(index.num, tag.wrapping_sub(0x7000_0000), index.thisprocnum))
        .or_else(|| slot(index.num + index.thisprocnum, 0x6fff_ffff_u64.wrapping_sub(tag), index.versiontagnum))
        .or_else(|| slot(after_version, 0x7fff_ffff_u64.wrapping_sub(tag), index.extranum))
        .or_else(|| slot(after_version + index.extranum, 0x6fff_fdff_u64.wrapping_sub(tag), index.valnum))
        .or_else(|| {
            let base = after_version + index.extranum + index.valnum;
            slot(base, 0x6fff_feff_u64.wrapping_sub(tag), index.addrnum)
        })
        .filter(|&slot| slot < index.count)
}
