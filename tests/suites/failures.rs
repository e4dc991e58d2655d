//! Starts that must fail: each with glibc's sentence and status, nothing else printed, nothing crashed.

#[path = "failures/damage.rs"]
mod damage;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Result, bail};
use folio_tests::diagnosis::{Reference, Start};
use folio_tests::interpreter::Interpreter;
use folio_tests::run::{Run, Status};
use folio_tests::suite::{self, Verdict};
use folio_tests::trace::{Answer, Depth, trace};
use folio_tests::workspace;
use libtest_mimic::Trial;

use damage::{DAMAGES, Damage};

fn main() -> ExitCode {
    suite::run_or_explain(tests())
}

/// A start that fails for a reason that the files' makers can bring about, made by a shell script.
struct Failure {
    name: &'static str,
    /// Changes the sound folder that [`SOUND`] makes.
    spoil: &'static str,
    environment: &'static [(&'static str, &'static str)],
    wrapper: &'static [&'static str],
    sentence: &'static str,
    /// glibc's status; 1 where a version is missing (elf/rtld.c, version check), 127 elsewhere.
    status: i32,
    also: &'static [&'static str],
}

/// A folder with a program that runs: two libraries, one of which needs a third, and a versioned symbol.
const SOUND: &str = r#"
cat > victim.c <<'END'
int victim_data = 1;
__thread int victim_thread = 0;
static int none(void) { return 0; }
static int (*choose(void))(void) { return none; }
int victim_chosen(void) __attribute__((ifunc("choose")));
__attribute__((constructor)) static void begin(void) {}
int victim(void) { return victim_thread + victim_chosen(); }
int versioned(void) { return 0; }
END
cat > program.c <<'END'
extern int victim_data;
int victim(void), versioned(void), other(void);
int main(void) { return victim() + versioned() + other() + victim_data - 1; }
END
echo 'V1 { global: *; }; V2 { global: versioned; } V1;' > map
echo 'int third(void) { return 0; }' | gcc -x c -shared -fPIC -o libthird.so -
echo 'int third(void); int other(void) { return third(); }' | gcc -x c -shared -fPIC -o libother.so - -L. -lthird -Wl,-rpath,'$ORIGIN'
gcc -shared -fPIC -o libvictim.so victim.c -Wl,--version-script=map
gcc -fPIE -pie -o program program.c -L. -lvictim -lother -Wl,-rpath,'$ORIGIN' -Wl,-z,lazy
"#;

const fn failure(name: &'static str, spoil: &'static str, sentence: &'static str) -> Failure {
    Failure { name, spoil, environment: &[], wrapper: &[], sentence, status: 127, also: &[] }
}

const NOBODY: &[&str] = &["/usr/bin/setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];

const FAILURES: &[Failure] = &[
    failure(
        "missing_library",
        "rm libvictim.so",
        "./program: error while loading shared libraries: libvictim.so: cannot open shared object file: No such file or directory",
    ),
    Failure {
        also: &["libthird.so", "libother.so"],
        ..failure(
            "missing_libraries",
            "gcc -fPIE -pie -o program program.c -L. -lother -lvictim -Wl,--no-as-needed -lthird -Wl,-rpath,'$ORIGIN'; rm libvictim.so libthird.so libother.so",
            "libother.so: cannot open shared object file",
        )
    },
    failure("missing_library_of_library", "rm libthird.so", "libthird.so: cannot open shared object file"),
    Failure {
        status: 1,
        ..failure(
            "missing_version",
            "echo 'V1 { global: *; };' > map; gcc -shared -fPIC -o libvictim.so victim.c -Wl,--version-script=map",
            "version `V2' not found (required by ./program)",
        )
    },
    Failure {
        status: 1,
        ..failure(
            "missing_version_in_glibc",
            "echo 'GLIBC_9.99 { global: absent; };' > map; \
             echo 'int absent(void) { return 0; }' | gcc -x c -shared -fPIC -o fake.so - -Wl,-soname,libm.so.6 -Wl,--version-script=map; \
             echo 'int absent(void); int main(void) { return absent(); }' > program.c; gcc -fPIE -pie -o program program.c ./fake.so",
            "version `GLIBC_9.99' not found (required by ./program)",
        )
    },
    failure(
        "missing_data_symbol",
        "sed -i /victim_data/d victim.c; gcc -shared -fPIC -o libvictim.so victim.c -Wl,--version-script=map",
        "./program: symbol lookup error: ./program: undefined symbol: victim_data",
    ),
    Failure {
        environment: &[("LD_BIND_NOW", "1")],
        ..failure(
            "missing_function_bind_now",
            "sed -i /versioned/d victim.c; gcc -shared -fPIC -o libvictim.so victim.c -Wl,--version-script=map",
            "./program: symbol lookup error: ./program: undefined symbol: versioned, version V2",
        )
    },
    failure(
        "missing_function_df_now",
        "gcc -fPIE -pie -o program program.c -L. -lvictim -lother -Wl,-rpath,'$ORIGIN' -Wl,-z,now; \
         echo 'int nothing;' | gcc -x c -shared -fPIC -o libother.so -",
        "./program: symbol lookup error: ./program: undefined symbol: other",
    ),
    Failure {
        also: &["undefined symbol: victim,", "undefined symbol: versioned", "undefined symbol: other"],
        ..failure(
            "missing_functions",
            "gcc -fPIE -pie -o program program.c -L. -lvictim -lother -Wl,-rpath,'$ORIGIN' -Wl,-z,now; \
             echo 'int nothing;' | gcc -x c -shared -fPIC -o libother.so -; \
             echo 'int victim_data = 1;' > victim.c; gcc -shared -fPIC -o libvictim.so victim.c -Wl,--version-script=map",
            "./program: symbol lookup error: ./program: undefined symbol: ",
        )
    },
    failure(
        "missing_symbol_in_library",
        "echo 'extern int gone; int other(void) { return gone; }' | gcc -x c -shared -fPIC -o libother.so -",
        "undefined symbol: gone",
    ),
    failure(
        "not_elf",
        "echo 'This is a text of more than sixty-four characters, which is no ELF header.' > libvictim.so",
        "libvictim.so: invalid ELF header",
    ),
    failure("linker_script", "echo 'GROUP ( libvictim.so.1 )' > libvictim.so", "libvictim.so: file too short"),
    failure("empty", ": > libvictim.so", "libvictim.so: file too short"),
    failure("truncated_header", "truncate -s 40 libvictim.so", "libvictim.so: file too short"),
    failure("directory", "rm libvictim.so; mkdir libvictim.so", "libvictim.so: cannot read file data: "),
    failure("loop", "rm libvictim.so; ln -s libvictim.so libvictim.so", "libvictim.so: cannot open shared object file"),
    failure("dangling_link", "ln -sf nowhere libvictim.so", "libvictim.so: cannot open shared object file"),
    failure(
        "wrong_machine_searched",
        r"printf '\267' | dd of=libvictim.so bs=1 seek=18 conv=notrunc 2>/dev/null",
        "libvictim.so: cannot open shared object file: No such file or directory",
    ),
    failure(
        "wrong_machine_by_path",
        r"gcc -fPIE -pie -o program program.c ./libvictim.so -L. -lother -Wl,-rpath,'$ORIGIN'; printf '\267' | dd of=libvictim.so bs=1 seek=18 conv=notrunc 2>/dev/null",
        "./libvictim.so: cannot open shared object file",
    ),
    failure(
        "wrong_class_by_path",
        r"gcc -fPIE -pie -o program program.c ./libvictim.so -L. -lother -Wl,-rpath,'$ORIGIN'; printf '\001' | dd of=libvictim.so bs=1 seek=4 conv=notrunc 2>/dev/null",
        "./libvictim.so: wrong ELF class: ELFCLASS32",
    ),
    failure(
        "program_as_library",
        "gcc -no-pie -o libvictim.so program.c -L. -Wl,--unresolved-symbols=ignore-all",
        "libvictim.so: cannot dynamically load executable",
    ),
    failure(
        "pie_as_library",
        "gcc -pie -o libvictim.so program.c -L. -Wl,--unresolved-symbols=ignore-all",
        "libvictim.so: cannot dynamically load position-independent executable",
    ),
    Failure {
        wrapper: NOBODY,
        ..failure(
            "no_permission",
            "gcc -fPIE -pie -o program program.c ./libvictim.so -L. -lother -Wl,-rpath,'$ORIGIN'; chmod 0 libvictim.so",
            "./libvictim.so: cannot open shared object file: Permission denied",
        )
    },
    Failure {
        wrapper: NOBODY,
        ..failure("no_permission_searched", "chmod 0 libvictim.so", "libvictim.so: cannot open shared object file: ")
    },
    Failure {
        wrapper: NOBODY,
        ..failure(
            "no_permission_folder",
            "mkdir -m 0 shut; mv libvictim.so shut; ln -s shut/libvictim.so .",
            "libvictim.so: cannot open shared object file: ",
        )
    },
    Failure {
        wrapper: &["/usr/bin/prlimit", "--as=400000000"],
        ..failure(
            "no_memory",
            "echo 'char huge[1 << 30];' >> victim.c; gcc -shared -fPIC -o libvictim.so victim.c -Wl,--version-script=map",
            "libvictim.so: failed to map segment from shared object",
        )
    },
    Failure {
        environment: &[("LD_LIBRARY_PATH", "/nonexistent:nowhere")],
        ..failure("missing_in_library_path", "rm libvictim.so", "libvictim.so: cannot open shared object file")
    },
];

fn tests() -> Result<Vec<Trial>> {
    let interpreter = Interpreter::under_test()?;
    let mut tests = Vec::new();
    for failure in FAILURES {
        let with = interpreter.clone();
        tests.push(suite::test(format!("failures::{}", failure.name), move || fails(failure, &with)));
    }
    for damage in DAMAGES {
        let with = interpreter.clone();
        tests.push(suite::test(format!("failures::damage::{}", damage.name), move || refuses(damage, &with)));
    }
    for (name, words) in COMMANDS {
        let with = interpreter.clone();
        tests.push(suite::test(format!("failures::command::{name}"), move || command_fails(name, words, &with)));
    }
    let with = interpreter;
    tests.push(suite::test("failures::truncated_while_loading", move || truncated_while_loading(&with)));
    Ok(tests)
}

/// A library is cut when it has been mapped and its size was looked at: no file system keeps anybody from that.
fn truncated_while_loading(interpreter: &Interpreter) -> Result<Verdict> {
    if interpreter.is_stand_in() {
        return Ok(Verdict::Skip("glibc's loader, under test here, crashes".to_owned()));
    }
    let place = workspace::fresh("failures/truncated_while_loading")?;
    script(&place, SOUND)?;
    let (program, library) = (place.join("program"), place.join("libvictim.so"));
    interpreter.adopt(&program, &program)?;
    let run = Run::new(&program).named("./program").in_folder(&place);
    let mut opened = None;
    let mut calls = 0;
    let traced = trace(&run, interpreter.path(), Depth::Whole, |call| {
        calls += 1;
        // The first library is the victim; its descriptor is closed when all of it is mapped.
        if call.number == nix::libc::SYS_mmap && call.arguments[4] as i32 >= 0 && opened.is_none() && calls > 1 {
            let cache = call.arguments[3] & nix::libc::MAP_PRIVATE as u64 != 0 && call.arguments[2] == 1;
            opened = (!cache).then_some(call.arguments[4]);
        }
        if call.number == nix::libc::SYS_close && opened == Some(call.arguments[0]) {
            let _ = std::fs::OpenOptions::new().write(true).open(&library).and_then(|file| file.set_len(0x1000));
        }
        Answer::Make
    })?;
    let said = String::from_utf8_lossy(&traced.outcome.stderr);
    let wanted = format!(
        "./program: error while loading shared libraries: {}: file was truncated, or cannot be read, while it was being loaded\n",
        library.display()
    );
    let good = traced.outcome.status == Status::Exit(127) && said == wanted;
    Ok(if good { Verdict::Pass } else { Verdict::Fail(format!("{}\n{said}", traced.outcome.status)) })
}

fn fails(failure: &Failure, interpreter: &Interpreter) -> Result<Verdict> {
    if failure.wrapper == NOBODY && !workspace::is_root() {
        return Ok(Verdict::Skip("becoming another user needs root".to_owned()));
    }
    // Another user cannot come into every working copy: then all that takes part lies under /tmp.
    let (place, interpreter) = if failure.wrapper == NOBODY {
        (reachable_folder(failure.name)?, interpreter.reachable()?)
    } else {
        (workspace::fresh(&format!("failures/{}", failure.name))?, interpreter.clone())
    };
    script(&place, SOUND)?;
    script(&place, failure.spoil)?;
    let start = Start {
        folder: &place,
        environment: failure.environment,
        wrapper: failure.wrapper,
        reference: Reference::Sentence,
        sentence: failure.sentence,
        status: failure.status,
        also: failure.also,
    };
    Ok(Verdict::from_findings(start.findings(&interpreter)?))
}

fn refuses(damage: &Damage, interpreter: &Interpreter) -> Result<Verdict> {
    if damage.reference == Reference::Unchecked && interpreter.is_stand_in() {
        return Ok(Verdict::Skip("glibc's loader, under test here, does not check this".to_owned()));
    }
    let place = workspace::fresh(&format!("failures/damage_{}", damage.name))?;
    script(&place, SOUND)?;
    damage.apply(&place.join(damage.file))?;
    let start = Start {
        folder: &place,
        environment: &[],
        wrapper: &[],
        reference: damage.reference,
        sentence: damage.sentence,
        status: 127,
        also: &[],
    };
    Ok(Verdict::from_findings(start.findings(interpreter)?))
}

/// Command lines of the interpreter itself that fail.
const COMMANDS: &[(&str, &[&str])] = &[
    ("missing_program", &["./nowhere"]),
    ("program_on_no_path", &["nowhere"]),
    ("program_is_text", &["./victim.c"]),
    ("program_is_folder", &["."]),
    ("argv0_without_program", &["--argv0", "x", "./nowhere"]),
    ("missing_preload", &["--preload", "./nowhere.so", "./program"]),
];

fn command_fails(name: &str, words: &[&str], interpreter: &Interpreter) -> Result<Verdict> {
    let place = workspace::fresh(&format!("failures/command_{name}"))?;
    script(&place, SOUND)?;
    let run = |loader: &Path| Run::new(loader).named("ld.so").args(words.iter().copied()).in_folder(&place);
    let (native, under_test) = (run(Path::new(folio_tests::interpreter::GLIBC)), run(interpreter.path()));
    let difference = folio_tests::compare::difference(&native.outcome()?, &under_test.outcome()?);
    Ok(match difference {
        None => Verdict::Pass,
        Some(text) => Verdict::Fail(format!("{text}reproduce: {}\n", under_test.reproduction())),
    })
}

/// A fresh folder that other users can reach.
fn reachable_folder(name: &str) -> Result<PathBuf> {
    let folder = Path::new("/tmp").join(format!("folio-failures-{}", nix::unistd::geteuid())).join(name);
    if folder.exists() {
        std::fs::remove_dir_all(&folder)?;
    }
    std::fs::create_dir_all(&folder)?;
    Ok(folder)
}

fn script(folder: &Path, text: &str) -> Result<()> {
    let outcome = Run::new("/bin/sh").args(["-ec", text]).in_folder(folder).outcome()?;
    if outcome.status != Status::Exit(0) {
        let said: String = String::from_utf8_lossy(&outcome.stderr).chars().take(2000).collect();
        bail!("the script failed: {said}");
    }
    Ok(())
}
