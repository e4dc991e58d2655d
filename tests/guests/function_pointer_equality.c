// The address of a function is one address, in the program and in every library; in a program at a fixed address it
// is the program's PLT entry, which symbol lookups must honour (an undefined symbol with a value).
//#Library: libfn.so: -Wl,-soname,libfn.so
//#Program: -L. -lfn -Wl,-rpath,'$ORIGIN' -ldl
//#Mode: nopie pie
#include <dlfcn.h>
#include <stdlib.h>
#ifdef LIBFN
int fn(int x) { return x + 1; }
int (*fn_from_library(void))(int) { return fn; }
void (*free_from_library(void))(void *) { return free; }
#else
int fn(int);
int (*fn_from_library(void))(int);
void (*free_from_library(void))(void *);
int main(void) {
    int (*volatile mine)(int) = fn;
    if (mine != fn_from_library()) return 1;
    if (mine(1) != 2 || fn_from_library()(2) != 3) return 2;
    void (*volatile release)(void *) = free;
    if (release != free_from_library()) return 3;
    if ((int (*)(int))dlsym(RTLD_DEFAULT, "fn") != mine) return 4;
    return 0;
}
#endif
