//! How the interpreter is linked: an executable's crate, a shared object's form, and no start files or libraries.

use std::path::Path;

fn main() {
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../linker-scripts");
    let scripts = scripts.canonicalize().expect("the folder linker-scripts lies at the workspace's root");
    let layout = scripts.join("rtld.ld");
    let exports = scripts.join("exports.map");
    let order = scripts.join("order.ld");
    println!("cargo:rerun-if-changed=build.rs");
    for script in [&layout, &exports, &order] {
        println!("cargo:rerun-if-changed={}", script.display());
    }

    for argument in [
        "-nostartfiles",
        "-nostdlib",
        "-shared",
        "-Wl,-e,_start",
        // The name that libc.so.6 and its family ask for.
        "-Wl,-soname,ld-linux-x86-64.so.2",
        // Every reference is bound inside, and all that remains is R_X86_64_RELATIVE.
        "-Wl,-Bsymbolic",
        "-Wl,--no-undefined",
        "-Wl,-z,defs",
        "-Wl,-z,text",
        "-Wl,-z,now",
        "-Wl,-z,relro",
        "-Wl,-z,noexecstack",
        "-Wl,--no-dynamic-linker",
        "-Wl,--hash-style=both",
        "-Wl,--build-id=sha1",
        // An address and bitmaps instead of 24 bytes a relocation, all of which every start would read.
        "-Wl,--pack-dyn-relocs=relr",
    ] {
        println!("cargo:rustc-link-arg-bins={argument}");
    }
    // Where the layout looks for what it includes.
    println!("cargo:rustc-link-arg-bins=-Wl,-L,{}", scripts.display());
    println!("cargo:rustc-link-arg-bins=-Wl,--version-script={}", exports.display());
    println!("cargo:rustc-link-arg-bins=-Wl,-T,{}", layout.display());
}
