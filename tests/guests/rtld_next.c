// RTLD_NEXT: an interposer finds the definition after its own object, from a library and from the program.
//#Library: interposer.so:
//#Library: libreal.so:
//#Program: -L. -Wl,--no-as-needed -l:interposer.so -lreal -Wl,-rpath,'$ORIGIN' -ldl -rdynamic
#define _GNU_SOURCE
#include <dlfcn.h>
#if defined INTERPOSER
int answer(void) {
    int (*next)(void) = (int (*)(void))dlsym(RTLD_NEXT, "answer");
    return next ? next() + 1 : -1;
}
#elif defined LIBREAL
int answer(void) { return dlsym(RTLD_NEXT, "answer") ? -2 : 40; }
#else
#include <stdlib.h>
int answer(void);
void *malloc(size_t size) {
    static void *(*next)(size_t);
    if (!next) next = (void *(*)(size_t))dlsym(RTLD_NEXT, "malloc");
    return next(size + 16);
}
int main(void) {
    free(malloc(10));
    return answer() == 41 ? 0 : 1;
}
#endif
