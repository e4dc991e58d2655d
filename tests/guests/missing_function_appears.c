// A function that nobody defined at the start is found when it is called, once a library that defines it was opened.
//#Library: libdefines.so:
//#Library: libuses.so:
//#Program: -L. -luses -Wl,--unresolved-symbols=ignore-all -Wl,-rpath,'$ORIGIN' -Wl,-z,lazy -ldl
#if defined LIBDEFINES
double late(double a, double b, long c) { return a * b + (double)c; }
#elif defined LIBUSES
double late(double, double, long);
double use(void) { return late(3.0, 4.0, 5); }
#else
#include <dlfcn.h>
#include <stdio.h>
double use(void);
int main(void) {
    if (!dlopen("./libdefines.so", RTLD_NOW | RTLD_GLOBAL)) { puts(dlerror()); return 1; }
    if (use() != 17.0) return 2;
    return use() == 17.0 ? 0 : 3;
}
#endif
