//! The loader's SystemTap probes: places that a tracer stops at by name, with arguments it can read there (*glibc
//! manual/probes.texi*; the notes' form: systemtap's sys/sdt.h, version 3).
//!
//! gdb prefers them to `_dl_debug_state`: they say which objects are new, so that it need not read the whole list at every
//! opening. Each is a function of its own that does nothing, so its arguments lie where the C ABI has them; who does not
//! trace pays for a call that returns, when objects come or go and never for a symbol.

use core::arch::naked_asm;

/// A probe of the provider `rtld`: a function, and the note that describes it. The note is not loaded; its address is right
/// as long as that of `.stapsdt.base`, which the linker script makes, moves with it.
macro_rules! probe {
    ($(#[$text:meta])* $name:ident($($argument:ident: $type:ty),*) at $places:literal) => {
        $(#[$text])*
        #[unsafe(naked)]
        pub extern "C" fn $name($($argument: $type),*) {
            naked_asm!(
                ".cfi_startproc",
                "990: nop",
                "ret",
                ".cfi_endproc",
                ".pushsection .note.stapsdt, \"\", @note",
                ".balign 4",
                ".4byte 992f - 991f, 994f - 993f, 3",
                "991: .asciz \"stapsdt\"",
                "992: .balign 4",
                "993: .8byte 990b",
                ".8byte _.stapsdt.base",
                // No semaphore: nothing is computed for the probe's sake.
                ".8byte 0",
                ".asciz \"rtld\"",
                concat!(".asciz \"", stringify!($name), "\""),
                concat!(".asciz \"", $places, "\""),
                "994: .balign 4",
                ".popsection",
            )
        }
    };
}

probe! {
    /// The objects of the start are about to be put on the list.
    init_start(namespace: isize, debug: usize) at "-8@%rdi 8@%rsi"
}
probe! {
    /// They are all there, relocated.
    init_complete(namespace: isize, debug: usize) at "-8@%rdi 8@%rsi"
}
probe! {
    /// A namespace is about to get new objects.
    map_start(namespace: isize, debug: usize) at "-8@%rdi 8@%rsi"
}
probe! {
    /// The objects from `map` on are new, and their constructors are about to run.
    map_complete(namespace: isize, debug: usize, map: usize) at "-8@%rdi 8@%rsi 8@%rdx"
}
probe! {
    /// New objects are about to be relocated.
    reloc_start(namespace: isize, debug: usize) at "-8@%rdi 8@%rsi"
}
probe! {
    /// The objects from `map` on are relocated.
    reloc_complete(namespace: isize, debug: usize, map: usize) at "-8@%rdi 8@%rsi 8@%rdx"
}
probe! {
    /// A namespace is about to lose objects, which have been finalised.
    unmap_start(namespace: isize, debug: usize) at "-8@%rdi 8@%rsi"
}
probe! {
    /// They are gone.
    unmap_complete(namespace: isize, debug: usize) at "-8@%rdi 8@%rsi"
}
