// DT_TEXTREL: relocations in text (64-bit absolute ones), after which text is not writable.
//#Library: libtextrel.so: -Wl,-z,notext -Wl,-soname,libtextrel.so
//#May-add: has text relocations
//#Program: -L. -ltextrel -Wl,-rpath,'$ORIGIN'
#ifdef LIBTEXTREL
int exported = 11;
__asm__(".pushsection .text\n.globl address_in_text\n.type address_in_text, @function\naddress_in_text: movabs $exported, %rax\nret\n"
        ".size address_in_text, . - address_in_text\n.popsection");
#else
#include <stdio.h>
#include <string.h>
extern int exported;
int *address_in_text(void);
int main(void) {
    if (address_in_text() != &exported || *address_in_text() != 11) return 1;
    char line[512];
    FILE *maps = fopen("/proc/self/maps", "r");
    while (fgets(line, sizeof line, maps)) {
        unsigned long start, end;
        char permissions[8];
        if (sscanf(line, "%lx-%lx %7s", &start, &end, permissions) != 3) return 2;
        if ((unsigned long)address_in_text - start < end - start && strcmp(permissions, "r-xp")) return 3;
    }
    return 0;
}
#endif
