// Weak references to nothing are null; a weak definition that comes first wins over a strong one that comes later,
// unless LD_DYNAMIC_WEAK is set.
//#Library: libweak.so:
//#Library: libstrong.so:
//#Program: -L. -lweak -lstrong -Wl,-rpath,'$ORIGIN'
//#Mode: pie nopie
//#Run:
//#Run: LD_DYNAMIC_WEAK=1
#include <stdio.h>
#if defined LIBWEAK
__attribute__((weak)) int fn(void) { return 1; }
extern int nobody __attribute__((weak));
int *nobody_from_library(void) { return &nobody; }
#elif defined LIBSTRONG
int fn(void) { return 2; }
#else
int fn(void);
int *nobody_from_library(void);
extern int nowhere(void) __attribute__((weak));
extern int nothing __attribute__((weak));
int main(void) {
    if (nowhere) return 1;
    if (&nothing) return 2;
    if (nobody_from_library()) return 3;
    printf("fn %d\n", fn());
    return 0;
}
#endif
