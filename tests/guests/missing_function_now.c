// Under LD_BIND_NOW a function that nobody defines is an error at the start.
//#Library: libfull.so: -DHAS -Wl,-soname,libmissing.so
//#Library: libmissing.so: -DLIBFULL -Wl,-soname,libmissing.so
//#Program: -L. -lfull -Wl,-rpath,'$ORIGIN' -Wl,-z,lazy
//#Mode: pie nopie
//#Run: LD_BIND_NOW=1
//#Expect-status: 127
//#Expect: symbol lookup error: ./program: undefined symbol: absent
#ifdef LIBFULL
int present(void) { return 1; }
#ifdef HAS
int absent(void) { return 2; }
#endif
#else
#include <stdio.h>
int present(void), absent(void);
int main(int argc, char **argv) {
    printf("present %d\n", present());
    fflush(stdout);
    if (argc > 1) printf("absent %d\n", absent());
    return 0;
}
#endif
