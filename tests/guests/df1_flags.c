// DT_FLAGS_1 as glibc honours it: NODELETE keeps, NOOPEN refuses dlopen but not a start, a preload, or what is loaded;
// NODEFLIB looks in no default directory; INTERPOSE, GLOBAL, ORIGIN, LOADFLTR and others change nothing.
//#Library: libplain.so:
//#Library: libinterpose.so: -Wl,-z,interpose
//#Library: libglobal.so: -Wl,-z,global
//#Library: libstays.so: -Wl,-z,nodelete
//#Library: libclosed.so: -Wl,-z,nodlopen
//#Library: liblinked.so: -Wl,-z,nodlopen
//#Library: libneeds.so: -L. -Wl,--no-as-needed -lplain -lclosed
//#Library: libdefault.so: -Wl,-z,nodefaultlib -lm -Wl,--no-as-needed -lresolv
//#Library: liborigin.so: -Wl,-z,origin -Wl,-z,loadfltr -Wl,-z,nodump -Wl,-z,initfirst -Wl,-z,now
//#Program: -L. -Wl,--no-as-needed -lplain -linterpose -llinked -Wl,--disable-new-dtags,-rpath,'$ORIGIN' -ldl

//#Run:
//#Run: LD_PRELOAD=libclosed.so
#define _GNU_SOURCE
#include <stdio.h>
#if defined PROGRAM
#include <dlfcn.h>
const char *answer(void);
static void *open_it(const char *name, int mode) {
    void *handle = dlopen(name, mode);
    if (handle) printf("%s is open\n", name); else puts(dlerror());
    return handle;
}
static void close_it(const char *name, void *handle) {
    if (!handle || dlclose(handle)) { puts("dlclose"); return; }
    void *again = dlopen(name, RTLD_NOW | RTLD_NOLOAD);
    printf("%s is %s\n", name, again ? "there" : "gone");
}
int main(void) {
    printf("%s answers\n", answer());
    close_it("libglobal.so", open_it("libglobal.so", RTLD_NOW));
    open_it("libglobal.so", RTLD_NOW | RTLD_LOCAL);
    printf("libglobal.so's symbol is %s\n", dlsym(RTLD_DEFAULT, "of_global") ? "global" : "local");
    close_it("libstays.so", open_it("libstays.so", RTLD_NOW));
    open_it("libclosed.so", RTLD_NOW);
    open_it("libneeds.so", RTLD_NOW);
    printf("libneeds.so is %s\n", dlopen("libneeds.so", RTLD_NOW | RTLD_NOLOAD) ? "there" : "gone");
    close_it("liblinked.so", open_it("liblinked.so", RTLD_NOW));
    open_it("libdefault.so", RTLD_NOW);
    close_it("liborigin.so", open_it("liborigin.so", RTLD_LAZY));
    return 0;
}
#elif defined LIBPLAIN
const char *answer(void) { return "plain"; }
#elif defined LIBGLOBAL
int of_global;
const char *answer(void) { return "other"; }
#else
const char *answer(void) { return "other"; }
__attribute__((destructor)) static void destruct(void) { puts("destruct"); fflush(stdout); }
#endif
