//! What is damaged: programs and libraries that are small, so that many starts fit in a minute, and have between them all
//! that a dynamic linker reads; and libraries and a program of this machine.

use std::fs;
use std::path::Path;

use anyhow::{Result, bail};
use folio_tests::interpreter::{GLIBC, Interpreter};
use folio_tests::run::{Run, Status};

/// One file to be damaged, in a program that reads it.
pub struct Victim {
    pub name: &'static str,
    /// The damaged file, in the folder that [`SOURCES`] makes.
    pub file: &'static str,
    program: &'static str,
    arguments: &'static [&'static str],
    /// The loader is called with the program as its argument: then it maps the program itself.
    direct: bool,
    /// More for the folder: files of this machine.
    copies: &'static str,
}

const fn victim(name: &'static str, file: &'static str, program: &'static str) -> Victim {
    Victim { name, file, program, arguments: &[], direct: false, copies: "" }
}

pub const VICTIMS: &[Victim] = &[
    victim("pie", "pie", "pie"),
    Victim { direct: true, ..victim("pie_direct", "pie", "pie") },
    victim("nopie", "nopie", "nopie"),
    Victim { direct: true, ..victim("nopie_direct", "nopie", "nopie") },
    victim("library_gnu_hash", "libfirst.so", "pie"),
    victim("library_sysv_hash", "libsecond.so", "nopie"),
    victim("library_packed", "libthird.so", "pie"),
    Victim { copies: "cp /lib/x86_64-linux-gnu/libc.so.6 .", ..victim("libc", "libc.so.6", "pie") },
    Victim {
        copies: "cp /bin/bash . && cp /lib/x86_64-linux-gnu/libtinfo.so.6 .",
        arguments: &["-c", "x=$((6 * 7)); echo $x; type cd"],
        ..victim("bash", "bash", "bash")
    },
    Victim {
        copies: "cp /bin/bash . && cp /lib/x86_64-linux-gnu/libtinfo.so.6 .",
        arguments: &["-c", "x=$((6 * 7)); echo $x; type cd"],
        ..victim("libtinfo", "libtinfo.so.6", "bash")
    },
];

/// Each constructor and each function leaves a mark, so that a program which ran to its end shows that all was bound.
const SOURCES: &str = r#"
cat > mark.h <<'END'
#include <unistd.h>
static inline void mark(char c) { if (write(1, &c, 1) != 1) _exit(99); }
END
cat > first.c <<'END'
#include "mark.h"
#include <stdlib.h>
__thread int first_tls = 5;
static __thread char hidden_tls[40] = "hidden";
int first_data[4] = {1, 2, 3, 4};
int *const first_pointers[3] = {first_data, first_data + 1, first_data + 2};
static int one(void) { return 1; }
static int (*choose(void))(void) { return one; }
int first_chosen(void) __attribute__((ifunc("choose")));
int old_name(void) { return 7; }
int new_name(void) { return 8; }
__asm__(".symver old_name,named@V1\n.symver new_name,named@@V2");
int first(void) { return first_tls + hidden_tls[0] + *first_pointers[1] + first_chosen() + (int)strtol("4", 0, 10); }
__attribute__((constructor)) static void begin(void) { mark('1'); }
__attribute__((destructor)) static void end(void) { mark('!'); }
END
cat > second.c <<'END'
#include "mark.h"
int first(void), named(void);
extern __thread int first_tls;
int second_data = 40;
char second_table[64] = "second";
__attribute__((visibility("protected"))) int second_protected(void) { return 2; }
__attribute__((weak)) int nowhere(void);
int second(void) { return first() + named() + first_tls + second_protected() + (nowhere ? nowhere() : 0); }
__attribute__((constructor)) static void begin(void) { mark('2'); }
END
cat > third.c <<'END'
#include "mark.h"
static __thread long counter = 3;
static const char *const words[] = {"a", "b", "c", "d", "e", "f"};
int third(void) { return (int)++counter + words[2][0]; }
__attribute__((constructor)) static void begin(void) { mark('3'); }
END
cat > main.c <<'END'
#include "mark.h"
#include <stdio.h>
int first(void), second(void), third(void), named(void);
extern int second_data;
extern char second_table[64];
extern int first_data[4];
extern __thread int first_tls;
int (*volatile calls[3])(void) = {first, second, third};
int main(void) {
    mark('m');
    int sum = second_data + second_table[1] + first_data[2] + first_tls + named();
    for (int i = 0; i < 3; i++) sum = sum * 3 + calls[i]();
    printf(" %d\n", sum);
    return 0;
}
END
echo 'V1 { global: *; }; V2 { global: named; } V1;' > map
gcc -O1 -fPIC -shared -o libfirst.so first.c -Wl,--version-script=map -Wl,-z,relro
gcc -O1 -fPIC -shared -mtls-dialect=gnu2 -o libsecond.so second.c -L. -lfirst -Wl,--hash-style=sysv -Wl,-z,lazy
gcc -O1 -fPIC -shared -o libthird.so third.c -Wl,--hash-style=both -Wl,-z,pack-relative-relocs
gcc -O1 -fPIE -pie -o pie main.c -L. -Wl,--no-as-needed -lsecond -lfirst -lthird -Wl,--hash-style=both
gcc -O1 -fno-pie -no-pie -o nopie main.c -L. -Wl,--no-as-needed -lsecond -lfirst -lthird -Wl,-z,now
"#;

impl Victim {
    /// Makes the victim's folder, for glibc's loader or for `interpreter`, and says how to start the program.
    pub fn prepare(&self, folder: &Path, interpreter: Option<&Interpreter>) -> Result<Run> {
        fs::create_dir_all(folder)?;
        let script = format!("{SOURCES}{}", self.copies);
        let made = Run::new("/bin/sh").args(["-ec", &script]).in_folder(folder).outcome()?;
        if made.status != Status::Exit(0) {
            bail!("{}", String::from_utf8_lossy(&made.stderr));
        }
        let program = folder.join(self.program);
        if let Some(interpreter) = interpreter {
            interpreter.adopt(&program, &program)?;
        }
        let name = format!("./{}", self.program);
        let loader = interpreter.map_or(Path::new(GLIBC), |interpreter| interpreter.path());
        let run = match self.direct {
            true => Run::new(loader).named("ld.so").args([name]),
            false => Run::new(program).named(name),
        };
        Ok(run.args(self.arguments.iter().copied()).in_folder(folder).env("LD_LIBRARY_PATH", folder))
    }
}
