//! Link-time and run-time addresses, and the one way from the first to the second.

/// An address as the link editor wrote it (`st_value`, `p_vaddr`, `d_ptr`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Vaddr(pub u64);

/// An address in the running process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Addr(pub u64);

/// An object's load bias: what is added to its link-time addresses (gABI, *Program Loading*; `l_addr`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bias(pub u64);

impl Bias {
    /// The run-time address of `vaddr`; wraps, as the gABI's base address arithmetic does.
    #[inline(always)]
    pub fn apply(self, vaddr: Vaddr) -> Addr {
        Addr(self.0.wrapping_add(vaddr.0))
    }

    /// The link-time address of `addr`.
    #[inline(always)]
    pub fn remove(self, addr: Addr) -> Vaddr {
        Vaddr(addr.0.wrapping_sub(self.0))
    }
}

impl Vaddr {
    /// The address `bytes` further on, if there is one.
    #[inline(always)]
    pub fn checked_add(self, bytes: u64) -> Option<Vaddr> {
        self.0.checked_add(bytes).map(Vaddr)
    }
}
