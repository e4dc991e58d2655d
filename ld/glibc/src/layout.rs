//! The shape of one glibc build's private structures, as byte offsets.
//!
//! A [`Layout`] says where, in the memory that glibc's `libc.so.6` expects its loader to own, each field that Folio
//! writes or reads lives. Names are glibc's, less their prefix (`_dl_`, `l_`, `_ns_`). Offsets are bytes from the start
//! of the structure; `None` says that this glibc has no such field. The numbers are generated (`cargo xtask layouts`)
//! from the debug information of a distribution's own libc.
//!
//! A [`Layout`] holds no pointer, so that the tables are read-only bytes which every process shares: a pointer would
//! need a relocation in the loader at each start, and a private page to write it to. Texts and lists therefore lie
//! inline ([`Text`], [`BuildId`], [`Tunables`]) and deref to what they hold.

use core::fmt;
use core::ops::Deref;

/// Byte offset of a field in its structure.
pub type Offset = u16;

/// A short text stored in place.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Text<const N: usize> {
    length: u8,
    bytes: [u8; N],
}

impl<const N: usize> Text<N> {
    /// `text` must fit; where it is a constant, one that does not fails the build.
    pub const fn new(text: &str) -> Self {
        let (from, mut bytes, mut at) = (text.as_bytes(), [0; N], 0);
        assert!(from.len() <= N && N <= u8::MAX as usize);
        while at < from.len() {
            bytes[at] = from[at];
            at += 1;
        }
        Text { length: from.len() as u8, bytes }
    }

    /// The bytes of the text, of which nobody need be told anew that they are UTF-8.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }
}

impl<const N: usize> Deref for Text<N> {
    type Target = str;

    fn deref(&self) -> &str {
        core::str::from_utf8(self.as_bytes()).unwrap_or_default()
    }
}

impl<const N: usize> fmt::Display for Text<N> {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        fmt::Display::fmt(&**self, out)
    }
}

impl<const N: usize> fmt::Debug for Text<N> {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        fmt::Debug::fmt(&**self, out)
    }
}

/// A GNU build id: the 20 bytes of a SHA-1, or nothing.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct BuildId(Option<[u8; 20]>);

impl BuildId {
    pub const NONE: Self = BuildId(None);

    pub const fn new(id: [u8; 20]) -> Self {
        BuildId(Some(id))
    }
}

impl Deref for BuildId {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.0.as_ref().map_or(&[], |id| id)
    }
}

impl fmt::Display for BuildId {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        self.iter().try_for_each(|byte| write!(out, "{byte:02x}"))
    }
}

impl fmt::Debug for BuildId {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

/// A glibc release, as `gnu_get_libc_version` names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    pub major: u16,
    pub minor: u16,
}

impl fmt::Display for Version {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        write!(out, "{}.{}", self.major, self.minor)
    }
}

/// Every private layout of one glibc build.
#[derive(Debug)]
pub struct Layout {
    /// What the table was made from, for people: `"2.36 (Debian 12)"`.
    pub label: Text<48>,
    pub version: Version,
    /// GNU build id of the `libc.so.6` that the table was made from; empty when it was made from headers.
    pub build_id: BuildId,
    /// Whether whole programs were run with this table (as against derived from headers only).
    pub proven: bool,
    pub global_ro: GlobalRo,
    pub global: Global,
    pub namespace: Namespace,
    pub link_map: LinkMap,
    pub pthread: Pthread,
    pub slotinfo: Slotinfo,
    pub cpu: CpuFeatures,
    pub behaviour: Behaviour,
    pub tunables: Tunables,
}

/// `struct rtld_global_ro`.
#[derive(Debug)]
pub struct GlobalRo {
    pub size: Offset,
    pub debug_mask: Offset,
    pub platform: Offset,
    pub platformlen: Offset,
    pub pagesize: Offset,
    pub minsigstacksize: Offset,
    pub initial_searchlist: Offset,
    pub clktck: Offset,
    pub fpu_control: Offset,
    pub hwcap: Offset,
    pub auxv: Offset,
    pub cpu_features: Offset,
    pub tls_static_size: Offset,
    pub tls_static_align: Offset,
    pub tls_static_surplus: Offset,
    pub init_all_dirs: Offset,
    pub sysinfo_dso: Offset,
    pub sysinfo_map: Offset,
    pub vdso_clock_gettime64: Offset,
    pub vdso_gettimeofday: Offset,
    pub vdso_time: Offset,
    pub vdso_getcpu: Offset,
    pub vdso_clock_getres_time64: Offset,
    pub vdso_getrandom: Option<Offset>,
    pub hwcap2: Offset,
    pub hwcap3: Option<Offset>,
    pub hwcap4: Option<Offset>,
    pub debug_printf: Offset,
    pub mcount: Offset,
    pub lookup_symbol_x: Offset,
    pub open: Offset,
    pub close: Offset,
    pub catch_error: Offset,
    pub error_free: Offset,
    pub tls_get_addr_soft: Offset,
    pub libc_freeres: Offset,
    pub find_object: Offset,
    pub readonly_area: Option<Offset>,
    pub dlfcn_hook: Offset,
    pub audit: Offset,
    pub naudit: Offset,
}

/// `struct rtld_global`.
#[derive(Debug)]
pub struct Global {
    pub size: Offset,
    /// `_dl_ns`: an array of [`Namespace`].
    pub ns: Offset,
    pub nns: Offset,
    pub load_lock: Offset,
    pub load_write_lock: Offset,
    pub load_tls_lock: Offset,
    pub load_adds: Offset,
    pub all_dirs: Offset,
    /// `_dl_stack_flags` (PF bits) up to 2.42, `_dl_stack_prot_flags` (PROT bits) from 2.43:
    /// see [`Behaviour::stack_prot_flags`].
    pub stack_flags: Offset,
    pub tls_max_dtv_idx: Offset,
    pub tls_dtv_slotinfo_list: Offset,
    pub tls_static_nelem: Offset,
    pub tls_static_used: Offset,
    pub tls_static_optional: Offset,
    pub initial_dtv: Offset,
    pub tls_generation: Offset,
    pub scope_free_list: Offset,
    pub stack_used: Offset,
    pub stack_user: Offset,
    pub stack_cache: Offset,
    pub stack_cache_lock: Offset,
}

/// `struct link_namespaces`, an element of `_dl_ns`.
#[derive(Debug)]
pub struct Namespace {
    pub size: Offset,
    /// Number of elements of `_dl_ns`.
    pub count: u16,
    pub loaded: Offset,
    pub nloaded: Offset,
    pub main_searchlist: Offset,
    pub libc_map: Offset,
    /// `_ns_debug`, a `struct r_debug_extended`; `None` where it lies outside the namespace.
    pub debug: Option<Offset>,
}

/// `struct link_map`, the private one.
#[derive(Debug)]
pub struct LinkMap {
    pub size: Offset,
    pub addr: Offset,
    pub name: Offset,
    pub ld: Offset,
    pub next: Offset,
    pub prev: Offset,
    pub real: Offset,
    pub ns: Offset,
    pub libname: Offset,
    pub info: Offset,
    pub phdr: Offset,
    pub entry: Offset,
    pub phnum: Offset,
    pub ldnum: Offset,
    /// `l_searchlist`: a `struct r_scope_elem` {list, count}.
    pub searchlist: Offset,
    pub loader: Offset,
    pub nbuckets: Offset,
    pub gnu_bitmask_idxbits: Offset,
    pub gnu_shift: Offset,
    pub gnu_bitmask: Offset,
    /// `l_gnu_buckets`, in a union with `l_chain`.
    pub gnu_buckets: Offset,
    /// `l_gnu_chain_zero`, in a union with `l_buckets`.
    pub gnu_chain_zero: Offset,
    pub direct_opencount: Offset,
    /// The word of bit fields that starts with `l_type`.
    pub flags: Offset,
    pub bits: LinkMapBits,
    pub versyms: Offset,
    pub origin: Offset,
    pub map_start: Offset,
    pub map_end: Offset,
    pub text_end: Option<Offset>,
    /// `l_scope_mem`: four pointers.
    pub scope_mem: Offset,
    pub scope_max: Offset,
    pub scope: Offset,
    /// `l_local_scope`: two pointers.
    pub local_scope: Offset,
    pub file_id: Offset,
    pub initfini: Offset,
    pub flags_1: Offset,
    pub tls_initimage: Offset,
    pub tls_initimage_size: Offset,
    pub tls_blocksize: Offset,
    pub tls_align: Offset,
    pub tls_firstbyte_offset: Offset,
    pub tls_offset: Offset,
    pub tls_modid: Offset,
    pub tls_dtor_count: Offset,
    pub relro_addr: Offset,
    pub relro_size: Offset,
    /// How `l_info` is indexed.
    pub info_index: InfoIndex,
}

/// Bit numbers, from bit 0 of [`LinkMap::flags`] (they may pass 31: the next word).
#[derive(Debug)]
pub struct LinkMapBits {
    pub relocated: u8,
    pub init_called: u8,
    pub global: u8,
    pub contiguous: u8,
    pub free_initfini: u8,
    pub ld_readonly: u8,
}

/// The runs of `l_info`: `DT_NUM` plain tags first, then processor, version, extra, value and address tags
/// (*glibc elf/dynamic-link.h and get-dynamic-info.h*).
#[derive(Debug)]
pub struct InfoIndex {
    pub count: u16,
    pub num: u16,
    pub thisprocnum: u16,
    pub versiontagnum: u16,
    pub extranum: u16,
    pub valnum: u16,
    pub addrnum: u16,
}

/// `struct pthread`, which is also the thread control block at `%fs:0`.
#[derive(Debug)]
pub struct Pthread {
    pub size: Offset,
    pub tcb: Offset,
    pub dtv: Offset,
    pub self_: Offset,
    pub gscope_flag: Offset,
    pub stack_guard: Offset,
    pub pointer_guard: Offset,
    pub list: Offset,
    pub tid: Offset,
    pub robust_prev: Offset,
    pub robust_head: Offset,
    pub specific_1stblock: Offset,
    pub specific: Offset,
    pub cancelhandling: Offset,
    pub report_events: Offset,
    pub schedpolicy: Offset,
    pub start_routine: Offset,
    pub eventbuf: Offset,
    pub nextevent: Offset,
    /// A byte up to 2.41.
    pub user_stack: Option<Offset>,
    /// An `int` from 2.42.
    pub stack_mode: Option<Offset>,
    /// From 2.43.
    pub joinstate: Option<Offset>,
    pub stackblock: Offset,
    pub stackblock_size: Offset,
    pub guardsize: Offset,
    /// Up to 2.40; from 2.41 the area lies in extra static TLS.
    pub rseq_area: Option<Offset>,
    /// From 2.37.
    pub rtld_catch: Option<Offset>,
}

/// `struct dtv_slotinfo_list`, a block of the TLS modules' table, and `struct dtv_slotinfo`, its element.
#[derive(Debug)]
pub struct Slotinfo {
    pub list_len: Offset,
    pub list_next: Offset,
    /// `slotinfo`: the first element.
    pub list_slotinfo: Offset,
    pub size: Offset,
    pub gen_: Offset,
    pub map: Offset,
}

/// `struct cpu_features`; offsets from its own start.
#[derive(Debug)]
pub struct CpuFeatures {
    pub size: Offset,
    /// Number of `cpuid_feature_internal` leaves.
    pub leaves: u8,
    pub features: Offset,
    pub preferred: Offset,
    pub isa_1: Offset,
    pub xsave_state_size: Offset,
    pub xsave_state_full_size: Offset,
    pub data_cache_size: Offset,
    pub shared_cache_size: Offset,
    pub non_temporal_threshold: Offset,
    pub memset_non_temporal_threshold: Option<Offset>,
    pub rep_movsb_threshold: Offset,
    pub rep_movsb_stop_threshold: Offset,
    pub rep_stosb_threshold: Offset,
    pub level1_icache_size: Offset,
    pub level1_icache_linesize: Offset,
    pub level1_dcache_size: Offset,
    pub level1_dcache_assoc: Offset,
    pub level1_dcache_linesize: Offset,
    pub level2_cache_size: Offset,
    pub level2_cache_assoc: Offset,
    pub level2_cache_linesize: Offset,
    pub level3_cache_size: Offset,
    pub level3_cache_assoc: Offset,
    pub level3_cache_linesize: Offset,
    pub level4_cache_size: Offset,
    pub cachesize_non_temporal_divisor: Option<Offset>,
}

/// What differs between releases other than offsets.
#[derive(Debug)]
pub struct Behaviour {
    /// libc exports `_dl_catch_exception` and owns the error machinery (up to 2.36); else the loader does.
    pub libc_owns_exceptions: bool,
    /// `stack_flags` holds PROT bits (2.43), not PF bits.
    pub stack_prot_flags: bool,
    /// The kernel clears `joinstate` at thread exit (2.43), not `tid`.
    pub tid_address_is_joinstate: bool,
    /// The rseq area is extra static TLS (2.41 and later), not in `struct pthread`.
    pub rseq_in_tls: bool,
    /// `__tunable_get_val` stores a string as a pointer to {pointer, length} (2.39 and later), not as a pointer to it.
    pub tunable_strings_have_length: bool,
    /// `dl_find_object` has the sframe member and its flag (2.42 and later).
    pub find_object_has_sframe: bool,
}

/// The tunables of one build, in the order of their ids.
#[derive(Clone, Copy)]
pub struct Tunables {
    count: u8,
    list: [Tunable; Tunables::MAX],
}

impl Tunables {
    /// Room for the longest list, 2.41's and 2.42's 43.
    pub const MAX: usize = 48;

    pub const fn new<const N: usize>(from: [Tunable; N]) -> Self {
        assert!(0 < N && N <= Self::MAX);
        let (mut list, mut at) = ([from[0]; Self::MAX], 1);
        while at < N {
            list[at] = from[at];
            at += 1;
        }
        Tunables { count: N as u8, list }
    }
}

impl Deref for Tunables {
    type Target = [Tunable];

    fn deref(&self) -> &[Tunable] {
        &self.list[..usize::from(self.count)]
    }
}

impl fmt::Debug for Tunables {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        fmt::Debug::fmt(&**self, out)
    }
}

/// One tunable of one build; its id is its index in [`Layout::tunables`].
#[derive(Clone, Copy, Debug)]
pub struct Tunable {
    pub name: Text<44>,
    pub kind: TunableKind,
    pub min: u64,
    pub max: u64,
    /// Of a [`TunableKind::String`]: 0, which stands for no string.
    pub default: u64,
    /// The environment variable that sets it too, where it is not set by name.
    pub env_alias: Option<Text<24>>,
}

/// C type of a tunable's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TunableKind {
    Int32,
    Uint64,
    Size,
    String,
}
