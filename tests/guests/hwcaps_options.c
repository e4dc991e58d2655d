// --glibc-hwcaps-mask leaves out subdirectories, --glibc-hwcaps-prepend adds some before the others.
//#Library: lib/libcap.so: -DLEVEL=0 -Wl,-soname,libcap.so
//#Library: lib/glibc-hwcaps/x86-64-v2/libcap.so: -DLEVEL=2 -Wl,-soname,libcap.so
//#Library: lib/glibc-hwcaps/x86-64-v3/libcap.so: -DLEVEL=3 -Wl,-soname,libcap.so
//#Library: lib/glibc-hwcaps/mine/libcap.so: -DLEVEL=9 -Wl,-soname,libcap.so
//#Program: -Llib -lcap -Wl,-rpath,'$ORIGIN/lib'
//#Loader: --glibc-hwcaps-mask x86-64-v2 {program}
//#Loader: --glibc-hwcaps-prepend mine {program}
#ifdef LIBCAP
int level(void) { return LEVEL; }
#else
#include <stdio.h>
int level(void);
int main(void) { printf("level %d\n", level()); return 0; }
#endif
