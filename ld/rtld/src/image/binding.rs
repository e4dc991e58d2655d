//! What relocation asks of the running process: IFUNC resolvers, TLS, and stubs for functions that are missing.
//!
//! # Safety
//! Calls code of the objects being linked, as the psABI says it is to be called.
#![allow(unsafe_code)]

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;

use folio_elf::symbol::{STB_WEAK, STT_GNU_IFUNC};
use folio_elf::{Addr, Lossy, Symbol, Vaddr};
use folio_link::bind::{self, References};
use folio_link::error::Error;
use folio_link::object::ObjectId;
use folio_link::relocate::{Indirect, Process as Questions};
use folio_link::resolve::{Class, Definition, Scope, SymbolId};
use folio_link::{Errno, Problem};
use folio_runtime::missing_function::stub_address;
use folio_runtime::tls::{TlsDescriptorArgument, TlsIndex, tlsdesc_dynamic, tlsdesc_static, tlsdesc_undefined_weak};

use crate::debug;
use crate::dl::open;
use crate::dl::tls::{self, DYNAMIC, UNDECIDED};
use crate::image::{execute, map, scope};
use crate::process::{Process, function};
use crate::processor;
use crate::report;

/// Calls the resolver of an IFUNC (psABI, *R_X86_64_IRELATIVE*: no arguments).
pub fn call_resolver(resolver: Addr) -> Addr {
    // SAFETY: a symbol of type STT_GNU_IFUNC, or a relocation, says that this is a resolver; it lies in a relocated object.
    Addr(unsafe { function::<unsafe extern "C" fn() -> u64>(resolver)() })
}

/// The address that a symbol at `address` stands for: of an IFUNC, what its resolver says.
pub fn settle(symbol: &Symbol, address: Addr) -> Addr {
    if symbol.kind() == STT_GNU_IFUNC { call_resolver(address) } else { address }
}

/// The answers for one pass of relocations.
pub struct Binding<'p> {
    pub process: &'p Process,
    /// Missing functions are errors now: `LD_BIND_NOW`, `DF_BIND_NOW` or `RTLD_NOW`.
    pub now: bool,
    /// The program runs: what is bound to by name is noted.
    pub running: bool,
    /// Functions wait for their first call, which an auditor wants to see.
    pub lazily: bool,
    /// Where resolvers wait that are to be called later.
    pub later: Option<&'p mut Vec<Indirect>>,
    /// The object whose text is writable meanwhile, for text relocations, and why it could not be made executable again.
    pub open_text: Option<ObjectId>,
    pub text_failure: Option<Errno>,
}

impl Binding<'_> {
    /// Takes room in the static TLS block for a module that was loaded after the start.
    fn take_static_tls(&self, id: ObjectId) -> Result<u64, Problem> {
        let process = self.process;
        // SAFETY: the load lock is held during relocation.
        let (state, object) = unsafe { (process.state(id), &process.objects.get()[id]) };
        let segment = object.placement.tls.as_ref().ok_or(Problem::StaticTls)?;
        tls::take_static(process, state.map, &segment.into()).ok_or(Problem::StaticTls)
    }
}

impl Questions for Binding<'_> {
    fn call_resolver(&mut self, resolver: Addr) -> Addr {
        let Some(id) = self.open_text else { return call_resolver(resolver) };
        // The resolver may lie in the text that is being written, which is never executable at the same time.
        match execute::protect_text(self.process, id, false) {
            Ok(()) => {
                let address = call_resolver(resolver);
                self.text_failure = self.text_failure.or(execute::protect_text(self.process, id, true).err());
                address
            }
            Err(errno) => {
                self.text_failure = Some(errno);
                Addr(0)
            }
        }
    }

    fn defer(&mut self, indirect: Indirect) -> bool {
        let Some(later) = &mut self.later else { return false };
        later.push(indirect);
        true
    }

    fn tls_module(&self, object: ObjectId) -> u64 {
        // SAFETY: the load lock is held during relocation.
        let state = unsafe { self.process.state(object) };
        state.map.record().get(self.process.layout.link_map.tls_modid)
    }

    fn tls_offset(&mut self, object: ObjectId) -> Result<u64, Problem> {
        // SAFETY: the load lock is held during relocation.
        let state = unsafe { self.process.state(object) };
        match tls::offset_of(self.process.layout, state.map).load(Ordering::Acquire) {
            UNDECIDED => self.take_static_tls(object),
            DYNAMIC => Err(Problem::StaticTls),
            offset => Ok(offset as u64),
        }
    }

    fn tls_descriptor(&mut self, object: Option<ObjectId>, offset: u64) -> Result<[u64; 2], Problem> {
        // SAFETY: only the address is taken here; whoever reads the descriptor calls by its convention.
        let entry = |entry: unsafe extern "C" fn()| entry as usize as u64;
        let Some(object) = object else { return Ok([entry(tlsdesc_undefined_weak), offset]) };
        // SAFETY: the load lock is held during relocation.
        let state = unsafe { self.process.state_mut(object) };
        let layout = self.process.layout;
        let below = tls::offset_of(layout, state.map).load(Ordering::Acquire);
        if below != UNDECIDED && below != DYNAMIC {
            return Ok([entry(tlsdesc_static), offset.wrapping_sub(below as u64)]);
        }
        processor::complete(self.process);
        let index = TlsIndex { module: state.map.record().get(layout.link_map.tls_modid), offset: offset as usize };
        let known = state.descriptors.iter().position(|argument| argument.index == index);
        let known = known.unwrap_or_else(|| {
            let generation = tls::FOLIO_TLS_GENERATION.load(Ordering::Relaxed) + 1;
            state.descriptors.push(Box::new(TlsDescriptorArgument { generation, index }));
            state.descriptors.len() - 1
        });
        let argument: &TlsDescriptorArgument = &state.descriptors[known];
        Ok([entry(tlsdesc_dynamic), (&raw const *argument).expose_provenance() as u64])
    }

    fn missing_function(&mut self, requester: ObjectId, symbol: u32) -> Option<Addr> {
        if self.now {
            return None;
        }
        processor::complete(self.process);
        // SAFETY: the load lock is held during relocation.
        let missing = unsafe { self.process.missing.get_mut() };
        let free = missing.iter().position(Option::is_none).unwrap_or(missing.len());
        let stub = stub_address(free)?;
        match missing.get_mut(free) {
            Some(slot) => *slot = Some((requester, symbol)),
            None => missing.push(Some((requester, symbol))),
        }
        Some(Addr(stub as u64))
    }

    fn binds_lazily(&self) -> bool {
        self.lazily
    }

    fn will_write(&mut self, object: ObjectId, start: Vaddr, size: u64) {
        // SAFETY: the load lock is held during relocation.
        let object = unsafe { &self.process.objects.get()[object] };
        map::populate(&object.placement, object.image.bias(), start, size);
    }

    fn bound(&mut self, requester: ObjectId, definition: SymbolId) {
        processor::note_reference(self.process, definition);
        if self.running {
            open::note_binding(self.process, requester, definition.object);
        }
    }

    fn copy_sizes_differ(&mut self, requester: ObjectId, name: &[u8]) {
        // SAFETY: the load lock is held during relocation.
        let object = unsafe { &self.process.objects.get()[requester] };
        let program = self.process.program;
        report::line(format_args!(
            "{}: Symbol `{}' has different size in shared object, consider re-linking",
            Lossy(object.display_name(program)),
            Lossy(name)
        ));
    }
}

/// What the stub of a missing function calls: looks it up again, and ends the process if it is still missing and not weak.
#[unsafe(no_mangle)]
extern "C" fn folio_missing_function(index: usize) -> *const u8 {
    let process = Process::get();
    let (requester, symbol) = {
        let _lock = process.lock();
        // SAFETY: the load lock is held.
        let missing = unsafe { process.missing.get() };
        missing[index].expect("the object that calls the stub is loaded")
    };
    let (_, address) = bind_call(process, requester, symbol);
    core::ptr::with_exposed_provenance(address.0 as usize)
}

/// Binds a function that `requester` calls, by the number of its symbol, while the program runs. A function that nobody
/// defines ends the process; a weak one has no definition, and no address.
pub fn bind_call(process: &Process, requester: ObjectId, symbol_index: u32) -> (Option<Definition>, Addr) {
    let lock = process.lock();
    // SAFETY: the load lock is held.
    let (objects, uniques) = unsafe { (process.objects.get(), process.namespace_of(requester).uniques.get_mut()) };
    let search = |scopes: &[&Scope]| {
        let references = References::new(objects, requester, scopes).expect("what calls has symbols");
        let symbol = references.symbols.get(symbol_index).expect("the relocation was checked");
        let found = match debug::Lookups::watching(process) {
            None => references.bind(symbol_index, &symbol, Class::Call, uniques, &mut ()),
            Some(mut watch) => references.bind(symbol_index, &symbol, Class::Call, uniques, &mut watch),
        };
        if found.is_none() && symbol.binding() != STB_WEAK {
            let problem = references.undefined(symbol_index, &symbol);
            let error = Error::new(references.object.display_name(process.program), problem);
            report::fatal(process.program, "symbol lookup error", &error);
        }
        found?.definition(objects)
    };
    // SAFETY: the load lock is held.
    let Some(definition) = (unsafe { scope::with_scopes(process, requester, search) }) else {
        // The call of a weak function that is not there is one of the null pointer.
        return (None, Addr(0));
    };
    open::note_binding(process, requester, definition.object);
    processor::note_reference(process, definition.id());
    let address = bind::address_of(objects, &definition);
    drop(lock);
    (Some(definition), settle(&definition.symbol, address))
}
