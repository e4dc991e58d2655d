// dlopen called from a constructor of a library that the program needs, and from one that is being dlopened.
//#Library: inner.so:
//#Library: outer.so:
//#Library: libctor.so: -ldl
//#Program: -L. -lctor -Wl,-rpath,'$ORIGIN' -ldl
#include <dlfcn.h>
#include <stdio.h>
#if defined INNER
int inner(void) { return 3; }
__attribute__((constructor)) static void construct(void) { puts("inner"); }
#elif defined OUTER
static void *inner;
__attribute__((constructor)) static void construct(void) { puts("outer"); inner = dlopen("./inner.so", RTLD_NOW); puts("outer done"); }
int outer(void) { return ((int (*)(void))dlsym(inner, "inner"))() + 1; }
#elif defined LIBCTOR
int result;
__attribute__((constructor)) static void construct(void) {
    void *outer = dlopen("./outer.so", RTLD_NOW);
    result = outer ? ((int (*)(void))dlsym(outer, "outer"))() : -1;
    if (!outer) puts(dlerror());
}
#else
extern int result;
int main(void) { return result == 4 ? 0 : 1; }
#endif
