// LD_PRELOAD and --preload: several, colon and blank between, in order, before the program's own needs; one that is
// missing is reported and passed over.
//#Library: libbase.so: -Wl,-soname,libbase.so
//#Library: first.so: -Wl,-soname,first.so
//#Library: second.so: -Wl,-soname,second.so
//#Program: -L. -lbase -Wl,-rpath,'$ORIGIN'
//#Run:
//#Run: LD_PRELOAD=./first.so
//#Run: LD_PRELOAD=./first.so:./second.so
//#Run: LD_PRELOAD={dir}/second.so:{dir}/first.so
//#Run: LD_PRELOAD=first.so:second.so LD_LIBRARY_PATH={dir}
//#Run: LD_PRELOAD=./first.so:/nonexistent/lib.so:./second.so
//#Run: LD_PRELOAD=$ORIGIN/first.so
//#Loader: --preload ./first.so {program}
//#Loader: --preload ./second.so:./first.so {program}
//#Loader: LD_PRELOAD=./first.so --preload ./second.so {program}
#include <stdio.h>
#if defined LIBBASE
const char *name(void) { return "base"; }
const char *other(void) { return "base"; }
#elif defined FIRST
const char *name(void) { return "first"; }
__attribute__((constructor)) static void construct(void) { puts("first constructed"); }
#elif defined SECOND
const char *name(void) { return "second"; }
const char *other(void) { return "second"; }
__attribute__((constructor)) static void construct(void) { puts("second constructed"); }
#else
const char *name(void), *other(void);
int main(void) { printf("%s %s\n", name(), other()); return 0; }
#endif
