// DF_1_INITFIRST: that library's constructor runs before all others.
//#Library: liblast.so: -Wl,-z,initfirst
//#Library: libfirst.so:
//#Program: -L. -Wl,--no-as-needed -llast -lfirst -Wl,-rpath,'$ORIGIN'
#include <stdio.h>
#if defined LIBLAST
__attribute__((constructor)) static void construct(void) { puts("initfirst"); }
#elif defined LIBFIRST
__attribute__((constructor)) static void construct(void) { puts("ordinary"); }
#else
__attribute__((constructor)) static void construct(void) { puts("program"); }
int main(void) { return 0; }
#endif
