//! `folio cache`: what Folio may keep between starts.

pub mod cpu;
pub mod record;

use std::process::ExitCode;

use anyhow::Result;
use clap::Subcommand;

#[derive(Subcommand, Debug)]
pub enum Cache {
    /// Write down what CPUID answers, so that starts until the next boot need not ask
    ///
    /// In a virtual machine every CPUID is a trip to the hypervisor, several microseconds each. With a record, a start under
    /// Folio asks none: libc gets the same features, thresholds and cache sizes from it, to the byte.
    ///
    /// Root's record, /run/folio/cpu, is for every program that starts under Folio, those with the set-user-ID bit included. Another
    /// user's is $XDG_RUNTIME_DIR/folio/cpu, and counts where LD_FOLIO_CPU names it. LD_FOLIO_CPU set to another path takes
    /// the place of both, and set to nothing it switches records off, as one may want it under a tool that answers CPUID in
    /// the processor's place.
    ///
    /// A record has to lie on a tmpfs, so that it does not outlive the boot. One that somebody else could have written, that was
    /// copied, that is damaged, or that does not fit what the kernel says of the processor is passed over; LD_DEBUG=libs and
    /// --show say why.
    #[command(after_help = "Examples:\n  \
        sudo folio cache cpu                                   for all, until the next boot\n  \
        folio cache cpu && export LD_FOLIO_CPU=$XDG_RUNTIME_DIR/folio/cpu\n  \
        folio cache cpu --show                                 what is in it, and whether it holds\n  \
        folio cache cpu --remove\n  \
        LD_FOLIO_CPU= ./my-program                             a start without a record")]
    Cpu(cpu::Arguments),
}

pub fn run(cache: &Cache) -> Result<ExitCode> {
    match cache {
        Cache::Cpu(arguments) => cpu::run(arguments),
    }
}
