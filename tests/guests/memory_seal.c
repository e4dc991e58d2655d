// GNU_PROPERTY_MEMORY_SEAL: what nobody may write in a marked program, in a marked library and in the loader is sealed where the
// kernel can; a library without the mark is not. Link editors here are older than the mark: they leave it alone in a section of another
// name, and in a program, whose start files have a mark of their own, it is written over that.
//#Library: libsealed.so: -Wl,-z,now -Wl,-soname,libsealed.so
//#Library: libplain.so: -Wl,-z,now -Wl,-soname,libplain.so
//#Program: -L. -Wl,--no-as-needed -lsealed -lplain -Wl,-rpath,'$ORIGIN' -Wl,-z,now
//#Shell: at=$(readelf -SW program | sed -n 's/.* \.note\.gnu\.property *NOTE *[0-9a-f]* \([0-9a-f]*\) .*/\1/p'); printf '\3\0\0\0\0\0\0\0\4\0\0\0\0\0\0\0' | dd of=program bs=1 seek=$((0x$at + 16)) conv=notrunc status=none
//#Only-on: folio
//#Mode: pie nopie
#ifdef LIBSEALED
// NT_GNU_PROPERTY_TYPE_0 of "GNU", with one property, 3, which has no value.
__asm__(".pushsection .note.seal, \"a\", @note\n.balign 8\n.long 4, 8, 5\n.asciz \"GNU\"\n.long 3, 0\n.popsection");
#endif
#ifndef PROGRAM
int anything = 1;
int *const relocated = &anything;
#else
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
// Gives each mapping of a file the permissions that it has; how many are refused, of those that are writable or not.
static int refused(const char *file, int writable) {
    char line[4096];
    int count = 0, all = 0;
    FILE *maps = fopen("/proc/self/maps", "r");
    while (fgets(line, sizeof line, maps)) {
        unsigned long start, end;
        char permissions[8];
        if (!strstr(line, file) || sscanf(line, "%lx-%lx %7s", &start, &end, permissions) != 3) continue;
        if ((permissions[1] == 'w') != writable) continue;
        int protection = (permissions[0] == 'r') | (permissions[1] == 'w') << 1 | (permissions[2] == 'x') << 2;
        all++;
        count += mprotect((void *)start, end - start, protection) && errno == EPERM;
    }
    fclose(maps);
    printf("%s, writable %d: %d of %d refused\n", file, writable, count, all);
    return !count ? 0 : count == all ? 1 : 2;
}
int main(void) {
    // mseal(2) of nothing.
    int sealed = !syscall(462, 0, 0, 0);
    if (refused("/libsealed.so", 0) != sealed) return 1;
    if (refused("/libsealed.so", 1)) return 2;
    if (refused("/libplain.so", 0) || refused("/libplain.so", 1)) return 3;
    if (refused("/program", 0) != sealed) return 4;
    if (refused("/program", 1)) return 5;
    int own = refused("/ld-folio.so.1", 0);
    // Its relocated data is not.
    if (own != (sealed ? 2 : 0)) return 6;
    if (refused("/ld-folio.so.1", 1)) return 7;
    return 0;
}
#endif
