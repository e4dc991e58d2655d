// A function that nobody defines and nobody calls does not keep the program from running.
//#Library: libfull.so: -DHAS -Wl,-soname,libmissing.so
//#Library: libmissing.so: -DLIBFULL -Wl,-soname,libmissing.so
//#Program: -L. -lfull -Wl,-rpath,'$ORIGIN' -Wl,-z,lazy
//#Mode: pie nopie
//#Run:
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
