// getauxval, and what sysconf derives from the processor: cache sizes, page size, stack size of signal handlers.
//#Mode: pie nopie
//#Ways: interp patchelf
#define _GNU_SOURCE
#include <elf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <unistd.h>
extern char **environ;
int main(int argc, char **argv) {
    const unsigned long same[] = {AT_HWCAP, AT_HWCAP2, AT_PAGESZ, AT_CLKTCK, AT_PHENT, AT_UID, AT_EUID, AT_GID, AT_EGID, AT_SECURE, AT_MINSIGSTKSZ, AT_FLAGS};
    for (unsigned i = 0; i < sizeof same / sizeof *same; i++) printf("%lu: %#lx\n", same[i], getauxval(same[i]));
    if (strcmp((char *)getauxval(AT_PLATFORM), "x86_64")) return 1;
    if (!getauxval(AT_BASE) || !getauxval(AT_PHDR) || !getauxval(AT_ENTRY) || !getauxval(AT_SYSINFO_EHDR)) return 2;
    // The vector in memory, as the kernel left it behind the environment, agrees with what libc says; only AT_HWCAP is
    // libc's own value (glibc sysdeps/x86/dl-hwcap.h), printed above.
    char **end = environ;
    while (*end) end++;
    for (Elf64_auxv_t *entry = (Elf64_auxv_t *)(end + 1); entry->a_type; entry++) {
        if (entry->a_type != AT_IGNORE && entry->a_type != AT_HWCAP && getauxval(entry->a_type) != entry->a_un.a_val) return 3;
    }
    const int names[] = {_SC_PAGESIZE, _SC_CLK_TCK, _SC_NPROCESSORS_ONLN, _SC_LEVEL1_DCACHE_SIZE, _SC_LEVEL1_DCACHE_ASSOC,
        _SC_LEVEL1_DCACHE_LINESIZE, _SC_LEVEL1_ICACHE_SIZE, _SC_LEVEL2_CACHE_SIZE, _SC_LEVEL2_CACHE_ASSOC, _SC_LEVEL3_CACHE_SIZE,
        _SC_LEVEL3_CACHE_LINESIZE, _SC_LEVEL4_CACHE_SIZE, _SC_MINSIGSTKSZ, _SC_SIGSTKSZ, _SC_THREAD_STACK_MIN, _SC_OPEN_MAX};
    for (unsigned i = 0; i < sizeof names / sizeof *names; i++) printf("sysconf %d: %ld\n", names[i], sysconf(names[i]));
    printf("%s %s\n", program_invocation_name, program_invocation_short_name);
    return 0;
}
