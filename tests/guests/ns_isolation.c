// dlmopen gives a namespace objects of its own: globals, stdio, errno, malloc, the default scope. Requests by number and by
// a caller's namespace mean what is there; one object has one constructor and one destructor a namespace.
//#Library: libbelow.so:
//#Library: opened.so: -L. -lbelow -Wl,-rpath,'$ORIGIN'
//#Library: other.so: -L. -lbelow -Wl,-rpath,'$ORIGIN'
//#Program: -ldl -rdynamic
//#Mode: pie nopie
//#Run:
//#Run: LD_BIND_NOW=1
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#if defined LIBBELOW
int below_calls;
int below(void) { return ++below_calls; }
__attribute__((constructor)) static void construct(void) { printf("below constructed\n"); fflush(stdout); }
__attribute__((destructor)) static void destruct(void) { printf("below destructed\n"); fflush(stdout); }
#elif defined OPENED
int below(void);
int counter = 5;
static Lmid_t number_of(void *handle) { Lmid_t number = -9; dlinfo(handle, RTLD_DI_LMID, &number); return number; }
int count(void) { return ++counter * 10 + below(); }
int fail(void) { errno = 0; if (fopen("/nonexistent/file", "r")) return -1; return errno; }
int *errno_place(void) { return &errno; }
void *give(void) { return strdup("given"); }
void take(void *memory) { free(memory); }
void *memory_function(void) { return (void *)malloc; }
FILE *output(void) { return stdout; }
const char *variable(void) { return getenv("NS_VARIABLE"); }
int scopes(void) {
    if (dlsym(RTLD_DEFAULT, "only_in_program")) return 1;
    if (dlsym(RTLD_DEFAULT, "count") != (void *)count) return 2;
    if (dlsym(RTLD_DEFAULT, "malloc") != (void *)malloc) return 3;
    if (dlsym(RTLD_DEFAULT, "other")) return 4;
    dlerror();
    void *self = dlopen(NULL, RTLD_NOW);
    if (!self || number_of(self) != LM_ID_BASE || !dlsym(self, "only_in_program")) return 5;
    if (dlopen("", RTLD_NOW)) return 6;
    // What is opened here comes here, beside what is here.
    void *other = dlopen("./other.so", RTLD_NOW);
    if (!other) { puts(dlerror()); return 7; }
    void *own = dlopen("./opened.so", RTLD_NOW | RTLD_NOLOAD);
    if (!own || number_of(other) != number_of(own) || number_of(own) == LM_ID_BASE) return 8;
    if (((int (*)(void))dlsym(other, "other"))() != below() - 1) return 9;
    if (dlopen("libc.so.6", RTLD_NOW | RTLD_NOLOAD) == NULL) return 10;
    if (dlopen("ld-linux-x86-64.so.2", RTLD_NOW | RTLD_NOLOAD) == NULL) return 11;
    if (dlclose(other) || dlclose(own)) return 12;
    return 0;
}
__attribute__((constructor)) static void construct(int argc, char **argv) {
    printf("opened constructed with %d %s\n", argc, argv[0]);
    fflush(stdout);
}
__attribute__((destructor)) static void destruct(void) { printf("opened destructed\n"); fflush(stdout); }
#elif defined OTHER
int below(void);
int other(void) { return below(); }
#else
int only_in_program(void) { return 1; }
static void *from(void *handle, const char *name) {
    void *found = dlsym(handle, name);
    if (!found) { puts(dlerror()); exit(99); }
    return found;
}
static int call(void *handle, const char *name) { return ((int (*)(void))from(handle, name))(); }
static void *get(void *handle, const char *name) { return ((void *(*)(void))from(handle, name))(); }
static Lmid_t number_of(void *handle) { Lmid_t number = -9; dlinfo(handle, RTLD_DI_LMID, &number); return number; }
int main(void) {
    setenv("NS_VARIABLE", "set at run time", 1);
    setvbuf(stdout, NULL, _IONBF, 0);
    void *base = dlopen("./opened.so", RTLD_NOW);
    void *first = dlmopen(LM_ID_NEWLM, "./opened.so", RTLD_NOW);
    void *second = dlmopen(LM_ID_NEWLM, "./opened.so", RTLD_LAZY);
    if (!base || !first || !second) { puts(dlerror()); return 1; }
    printf("namespaces %ld %ld %ld\n", number_of(base), number_of(first), number_of(second));
    for (int round = 0; round < 3; round++)
        printf("counts %d %d %d\n", call(base, "count"), round ? call(first, "count") : 0, call(second, "count"));
    printf("errno %d %d\n", call(base, "fail"), call(first, "fail"));
    errno = 3;
    call(first, "fail");
    if (errno != 3) return 2;
    if (get(base, "errno_place") != (void *)&errno || get(first, "errno_place") == (void *)&errno) return 3;
    if (get(first, "errno_place") == get(second, "errno_place")) return 4;
    if (get(base, "memory_function") != (void *)malloc || get(first, "memory_function") == (void *)malloc) return 5;
    if (get(first, "output") == (void *)stdout || get(first, "output") == get(second, "output")) return 6;
    void *given = get(first, "give");
    if (strcmp(given, "given")) return 7;
    ((void (*)(void *))from(first, "take"))(given);
    printf("environment %s\n", (char *)get(first, "variable"));
    printf("scopes %d %d\n", call(first, "scopes"), call(second, "scopes"));
    // By number, and by what is loaded.
    if (dlmopen(number_of(first), "./opened.so", RTLD_NOW) != first) return 8;
    if (dlmopen(number_of(second), "./opened.so", RTLD_NOW | RTLD_NOLOAD) != second) return 9;
    if (dlmopen(LM_ID_BASE, "./opened.so", RTLD_NOW) != base) return 10;
    if (dlmopen(LM_ID_NEWLM, "./opened.so", RTLD_NOW | RTLD_NOLOAD)) return 11;
    void *libc = dlmopen(number_of(first), "libc.so.6", RTLD_NOW);
    if (!libc || dlsym(libc, "malloc") != get(first, "memory_function")) return 12;
    if (dlsym(first, "only_in_program")) return 13;
    void *other = dlmopen(number_of(second), "./other.so", RTLD_NOW | RTLD_LOCAL);
    if (!other) { puts(dlerror()); return 14; }
    printf("other %d\n", call(other, "other"));
    puts("close");
    if (dlclose(libc) || dlclose(first)) return 15;
    puts("still open");
    if (dlclose(first)) return 16;
    puts("first closed");
    if (dlclose(second) || dlclose(second)) return 17;
    puts("second held by other");
    printf("other %d\n", call(other, "other"));
    first = dlmopen(LM_ID_NEWLM, "./other.so", RTLD_NOW);
    printf("again in %ld, %d\n", number_of(first), call(first, "other"));
    return 0;
}
#endif
