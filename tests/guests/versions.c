// Symbol versions: the default one, a hidden one, two of one name, and a reference without a version.
//#Shell: printf 'OLD { global: fn; only_old; };\nNEW { global: fn; ask; } OLD;\n' > map
//#Library: libversions.so: -Wl,--version-script=map -Wl,-soname,libversions.so
//#Library: old/libversions.so: -DBEFORE -Wl,-soname,libversions.so
//#Library: unversioned.so: -Lold -lversions
//#Program: -L. -lversions -Wl,-rpath,'$ORIGIN' -ldl
#define _GNU_SOURCE
#if defined LIBVERSIONS && defined BEFORE
int fn(void) { return 0; }
#elif defined LIBVERSIONS
int fn_old(void) { return 1; }
int fn_new(void) { return 2; }
int only_old(void) { return 3; }
__asm__(".symver fn_old, fn@OLD\n.symver fn_new, fn@@NEW");
int ask(void) { int fn(void); return fn(); }
#elif defined UNVERSIONED
int fn(void);
int unversioned(void) { return fn(); }
#else
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>
int fn(void), only_old(void), ask(void);
int fn_of_old(void);
__asm__(".symver fn_of_old, fn@OLD");
static int call(void *function) { return function ? ((int (*)(void))function)() : -1; }
int main(void) {
    if (fn() != 2) return 1;
    if (fn_of_old() != 1) return 2;
    if (only_old() != 3 || ask() != 2) return 3;
    void *library = dlopen("libversions.so", RTLD_NOW);
    if (call(dlsym(library, "fn")) != 2) return 4;
    if (call(dlvsym(library, "fn", "OLD")) != 1) return 5;
    if (call(dlvsym(library, "fn", "NEW")) != 2) return 6;
    if (dlvsym(library, "fn", "NEVER")) return 7;
    // Where the library was found is spelt differently by different glibcs when the interpreter is run directly.
    puts(strstr(dlerror(), "undefined symbol"));
    void *unversioned = dlopen("./unversioned.so", RTLD_NOW);
    if (!unversioned) { puts(dlerror()); return 8; }
    // A reference without a version takes the oldest definition (glibc elf/dl-lookup.c, check_match).
    printf("unversioned reference: %d\n", call(dlsym(unversioned, "unversioned")));
    return 0;
}
#endif
