//! Randomness of addresses: a program that says where it finds things is started again and again, and the bits are counted
//! that are now 0 and now 1.

use std::fmt::Write;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use folio_tests::interpreter::{GLIBC, Interpreter};
use folio_tests::run::{Run, Status};
use folio_tests::suite::Verdict;
use folio_tests::workspace;

/// Where things are: what the loader places, and what the kernel does.
const SOURCE: &str = r#"
cat > where.c <<'END'
#include <link.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/auxv.h>
#include <sys/mman.h>
__thread int local;
int main(void) {
    uintptr_t stack = (uintptr_t)__builtin_frame_address(0), thread;
    __asm__("mov %%fs:0, %0" : "=r"(thread));
    const struct link_map *map = _r_debug.r_map;
    for (; map; map = map->l_next) if (__builtin_strstr(map->l_name, "libc.so")) break;
    void *fresh = mmap(0, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    printf("%lx %lx %lx %lx %lx %lx %lx\n", _r_debug.r_map->l_addr, map->l_addr, getauxval(AT_BASE), thread,
           (uintptr_t)malloc(10), (uintptr_t)fresh, stack);
    return 0;
}
END
gcc -O1 -fPIE -pie -o where where.c
"#;

const PLACES: [&str; 7] = ["program", "libc", "loader", "thread", "heap", "mmap", "stack"];

/// So many that a fair bit is 1 in more than an eighth of them and in fewer than seven, but for one case in 10^9.
const STARTS: usize = 64;

pub fn test(interpreter: &Interpreter) -> Result<Verdict> {
    let folder = workspace::fresh("hardening/addresses")?;
    let made = Run::new("/bin/sh").args(["-ec", SOURCE]).in_folder(&folder).outcome()?;
    ensure!(made.status == Status::Exit(0), "{}", String::from_utf8_lossy(&made.stderr));
    let (native, adopted) = (folder.join("where"), folder.join("where.folio"));
    interpreter.adopt(&native, &adopted)?;
    let (glibc, folio) = (random_bits(&native)?, random_bits(&adopted)?);
    let mut findings = Vec::new();
    let mut table = format!("random bits of addresses in {STARTS} starts\n{:<10} {GLIBC}  Folio\n", "");
    for ((place, glibc), folio) in PLACES.iter().zip(&glibc).zip(&folio) {
        writeln!(table, "{place:<10} {glibc:>27}  {folio:>5}")?;
        if folio < glibc {
            findings.push(format!("{place}: {folio} bits, {glibc} under glibc's loader"));
        }
    }
    print!("{table}");
    std::fs::write(workspace::target("hardening")?.join("addresses.txt"), table)?;
    // A machine on which nothing is random would let everything pass.
    ensure!(glibc.iter().all(|&bits| bits >= 8), "addresses are not random here: {glibc:?}");
    Ok(Verdict::from_findings(findings))
}

/// For each place the number of bits that are about as often 1 as 0. Others change, too, where the kernel adds two random
/// numbers and the sum is carried; nobody who guesses is hindered by those.
fn random_bits(program: &Path) -> Result<Vec<usize>> {
    let mut ones = [[0_usize; 64]; PLACES.len()];
    for _ in 0..STARTS {
        let outcome = Run::new(program).outcome()?;
        ensure!(outcome.status == Status::Exit(0), "{}: {}", program.display(), outcome.status);
        let text = String::from_utf8(outcome.stdout)?;
        let words: std::result::Result<Vec<u64>, _> =
            text.split_whitespace().map(|word| u64::from_str_radix(word, 16)).collect();
        let words = words.with_context(|| text.clone())?;
        ensure!(words.len() == PLACES.len(), "{text}");
        for (ones, word) in ones.iter_mut().zip(words) {
            ones.iter_mut().enumerate().for_each(|(bit, ones)| *ones += (word >> bit & 1) as usize);
        }
    }
    let is_fair = |ones: &&usize| (STARTS / 8 + 1..STARTS * 7 / 8).contains(*ones);
    Ok(ones.iter().map(|ones| ones.iter().filter(is_fair).count()).collect())
}
