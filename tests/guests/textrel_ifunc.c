// Resolvers of IFUNCs that lie in text with text relocations run, and are relocated before by them.
//#Library: libtextrel.so: -Wl,-z,notext -Wl,-soname,libtextrel.so
//#Program: -Wl,-z,notext -L. -ltextrel -Wl,-rpath,'$ORIGIN'
//#May-add: has text relocations
#include <stdint.h>
static int function(void);
// Data among the instructions, with a run-time address in it.
static const uintptr_t address __attribute__((section(".text"))) = (uintptr_t)&function;
static int function(void) { return 5; }
#ifdef LIBTEXTREL
#define NAME chosen_by_library
#else
#define NAME chosen
#endif
static int (*resolve(void))(void) { return (int (*)(void))*(const volatile uintptr_t *)&address; }
int NAME(void) __attribute__((ifunc("resolve")));
int (*volatile in_data)(void) = NAME;
#ifndef LIBTEXTREL
int chosen_by_library(void);
int main(void) {
    if (chosen() != 5 || in_data() != 5) return 1;
    return chosen_by_library() == 5 ? 0 : 2;
}
#endif
