// The interpreter as a program: --argv0, --list, --inhibit-cache, --inhibit-rpath, a program found on no path, and a loader to list.
//#Library: libopt.so: -Wl,-soname,libopt.so
//#Program: -L. -lopt -Wl,-rpath,'$ORIGIN'
//#Normalise: addresses
//#Loader: --argv0 another {program} x
//#Loader: --inhibit-cache {program}
//#Loader: --argv0 a --inhibit-cache --library-path {dir} {program} --list
//#Loader: {dir}/program -- --verify
//#Loader: LD_TRACE_LOADED_OBJECTS=1 /lib64/ld-linux-x86-64.so.2
#include <stdio.h>
#ifdef LIBOPT
int opt(void) { return 1; }
#else
int opt(void);
int main(int argc, char **argv) {
    for (int i = 0; i < argc; i++) puts(argv[i]);
    return opt() - 1;
}
#endif
