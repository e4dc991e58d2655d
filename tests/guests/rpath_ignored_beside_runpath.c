// An object with DT_RUNPATH has its DT_RPATH ignored, and LD_LIBRARY_PATH comes before RUNPATH but after RPATH.
//#Library: a/libwho.so: -DWHO=1 -Wl,-soname,libwho.so
//#Library: b/libwho.so: -DWHO=2 -Wl,-soname,libwho.so
//#Library: rpath.so: -La -lwho -DVIA=rpath_who -Wl,--disable-new-dtags,-rpath,'$ORIGIN/a'
//#Library: runpath.so: -La -lwho -DVIA=runpath_who -Wl,--enable-new-dtags,-rpath,'$ORIGIN/a'
//#Program: -ldl
//#Run: ./rpath.so rpath_who 1
//#Run: ./runpath.so runpath_who 1
//#Run: LD_LIBRARY_PATH={dir}/b ./rpath.so rpath_who 1
//#Run: LD_LIBRARY_PATH={dir}/b ./runpath.so runpath_who 2
//#Run: LD_LIBRARY_PATH=:b:;a ./runpath.so runpath_who 2
#ifdef LIBWHO
int who(void) { return WHO; }
#elif defined RPATH || defined RUNPATH
int who(void);
int VIA(void) { return who(); }
#else
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
int main(int argc, char **argv) {
    if (argc != 4) return 2;
    void *library = dlopen(argv[1], RTLD_NOW);
    if (!library) { puts(dlerror()); return 3; }
    int (*via)(void) = (int (*)(void))dlsym(library, argv[2]);
    if (!via) return 4;
    return via() == atoi(argv[3]) ? 0 : 1;
}
#endif
