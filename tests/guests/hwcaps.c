// glibc-hwcaps subdirectories: the best that the processor supports comes first, before the folder itself.
//#Library: lib/libcap.so: -DLEVEL=0 -Wl,-soname,libcap.so
//#Library: lib/glibc-hwcaps/x86-64-v2/libcap.so: -DLEVEL=2 -Wl,-soname,libcap.so
//#Library: lib/glibc-hwcaps/x86-64-v3/libcap.so: -DLEVEL=3 -Wl,-soname,libcap.so
//#Library: only4/glibc-hwcaps/x86-64-v4/libcap.so: -DLEVEL=4 -Wl,-soname,libcap.so
//#Library: only4/libcap.so: -DLEVEL=1 -Wl,-soname,libcap.so
//#Program: -Llib -lcap -Wl,-rpath,'$ORIGIN/lib'
//#Run:
//#Run: LD_LIBRARY_PATH={dir}/only4
#ifdef LIBCAP
int level(void) { return LEVEL; }
#else
#include <stdio.h>
int level(void);
int main(void) { printf("level %d\n", level()); return 0; }
#endif
