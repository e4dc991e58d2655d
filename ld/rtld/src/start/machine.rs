//! The processor of a start: asked for what libc wants to know, and before that only if a search comes by a `glibc-hwcaps`
//! directory, of which most systems have none.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::cell::{OnceCell, RefCell};
use core::fmt;

use folio_glibc::cpu::{self, Memo, NoTunables};
use folio_link::search::cache::{self, Hwcaps};

use crate::processor::{self, Source};
use crate::profile::{Kind as Profiled, Span};
use crate::start::early_tunables;
use crate::start::environment::Environment;
use crate::start::options::Options;

pub struct Machine {
    /// Asks no CPUID leaf twice.
    pub memo: RefCell<Memo<Source>>,
    hwcaps: OnceCell<Hwcaps<'static>>,
}

impl Machine {
    /// One for as long as the process lives, as its searches do.
    pub fn new(environment: &Environment, secure: bool, options: &Options) -> &'static Machine {
        let machine = Box::leak(Box::new(Machine {
            memo: RefCell::new(Memo::new(processor::source())),
            hwcaps: OnceCell::new(),
        }));
        // What the user says of the subdirectories stands in memory that the program may write over.
        if (environment.tunables.is_some() && !secure) || options.name_hwcaps() {
            machine.hwcaps.get_or_init(|| machine.ask(environment, secure, options));
        }
        machine
    }

    fn ask(&self, environment: &Environment, secure: bool, options: &Options) -> Hwcaps<'static> {
        let tunables = early_tunables(environment, secure);
        let _span = Span::of(Profiled::Processor);
        let mut memo = self.memo.borrow_mut();
        let levels = match tunables {
            None => cpu::isa_level(&mut memo, &NoTunables),
            Some(values) => cpu::isa_level(&mut memo, &values),
        };
        let mut subdirectories: Vec<&'static [u8]> = options.prepended_hwcaps().collect();
        let names = levels.directories().iter().map(|name| name.as_bytes());
        subdirectories.extend(names.filter(|name| options.allows_hwcaps(name)));
        Hwcaps { subdirectories: subdirectories.leak(), isa_level: (1 << levels.highest()) - 1 }
    }
}

impl cache::Machine for Machine {
    fn hwcaps(&self) -> Hwcaps<'_> {
        *self.hwcaps.get_or_init(|| self.ask(&Environment::default(), false, &Options::default()))
    }
}

impl fmt::Debug for Machine {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_struct("Machine").field("hwcaps", &self.hwcaps).finish_non_exhaustive()
    }
}
