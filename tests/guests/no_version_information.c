// A library that has lost its versions since the program was linked: a warning at the start, nothing more. (What needs the
// version is defined by a preloaded library: glibc's loader stops at a library that should have it itself.)
//#Shell: printf 'V1 { global: fn; };\n' > map
//#Library: linked/libfn.so: -Wl,--version-script=map -Wl,-soname,libfn.so
//#Library: libfn.so: -Wl,-soname,libfn.so
//#Library: preloaded.so: -Wl,-soname,preloaded.so
//#Program: -Llinked -lfn -Wl,-rpath,'$ORIGIN'
//#Ways: interp patchelf
//#Env: LD_PRELOAD=./preloaded.so
//#Expect: libfn.so: no version information available (required by ./program)
#if defined LIBFN
int fn(void) { return 1; }
#elif defined PRELOADED
int fn(void) { return 2; }
#else
int fn(void);
int main(void) { return fn() == 2 ? 0 : 1; }
#endif
