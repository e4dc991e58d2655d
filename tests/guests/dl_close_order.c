// dlclose unloads what nobody uses any more, and finalises it in glibc's order: dependents first, also through cycles and
// through references that were bound to a global library; what is left open is finalised at exit.
//#Library: libbase.so:
//#Library: libleft.so: -Wl,--no-as-needed -L. -lbase
//#Library: libcycle2.so:
//#Library: libcycle1.so: -Wl,--no-as-needed -L. -lcycle2 -lbase
//#Library: libcycle2.so: -Wl,--no-as-needed -L. -lcycle1
//#Library: libright.so: -Wl,--no-as-needed -L. -lcycle1 -lbase -Wl,-rpath-link,.
//#Library: libtop.so: -Wl,--no-as-needed -L. -lleft -lright -Wl,-rpath-link,.
//#Library: libglobal.so:
//#Library: libuser.so: -Wl,--unresolved-symbols=ignore-all
//#Program: -ldl -Wl,--disable-new-dtags,-rpath,'$ORIGIN'
//#Run:
//#Run: GLIBC_TUNABLES=glibc.rtld.dynamic_sort=1
#define _GNU_SOURCE
#include <stdio.h>
#include <unistd.h>
static void say(const char *what, const char *who) {
    char line[80];
    write(1, line, snprintf(line, sizeof line, "%s %s\n", what, who));
}
#if defined LIBBASE
#define WHO "base"
#elif defined LIBLEFT
#define WHO "left"
#elif defined LIBCYCLE1
#define WHO "cycle1"
#elif defined LIBCYCLE2
#define WHO "cycle2"
#elif defined LIBRIGHT
#define WHO "right"
#elif defined LIBTOP
#define WHO "top"
#elif defined LIBGLOBAL
#define WHO "global"
int global(void) { return 7; }
#elif defined LIBUSER
#define WHO "user"
int global(void);
int user(void) { return global(); }
#endif
#ifdef WHO
__attribute__((constructor)) static void construct(void) { say("construct", WHO); }
__attribute__((destructor)) static void destruct(void) { say("destruct", WHO); }
__attribute__((destructor(101))) static void late(void) { say("late", WHO); }
#else
#include <dlfcn.h>
#include <link.h>
#include <stdlib.h>
#include <string.h>
static const char *const names[] = {"base", "left", "right", "cycle1", "cycle2", "top", "global", "user"};
static int count(struct dl_phdr_info *info, size_t size, void *data) {
    unsigned long long *totals = data;
    totals[0] = info->dlpi_adds - info->dlpi_subs;
    totals[1]++;
    return 0;
}
static void loaded(const char *when) {
    printf("%s:", when);
    for (unsigned i = 0; i < sizeof names / sizeof *names; i++) {
        char file[64];
        snprintf(file, sizeof file, "lib%s.so", names[i]);
        void *handle = dlopen(file, RTLD_NOW | RTLD_NOLOAD);
        if (handle) { printf(" %s", names[i]); dlclose(handle); }
    }
    unsigned long long totals[2] = {0, 0};
    dl_iterate_phdr(count, totals);
    puts(totals[0] == totals[1] ? "" : " counters differ");
    fflush(stdout);
}
static void *open_it(const char *name, int mode) {
    void *handle = dlopen(name, mode);
    if (!handle) { puts(dlerror()); exit(1); }
    return handle;
}
static void close_it(void *handle, const char *when) {
    if (dlclose(handle)) { puts(dlerror()); exit(2); }
    loaded(when);
}
int main(void) {
    setvbuf(stdout, NULL, _IONBF, 0);
    loaded("start");
    void *top = open_it("libtop.so", RTLD_NOW);
    loaded("top open");
    void *cycle = open_it("libcycle2.so", RTLD_NOW);
    void *left = open_it("libleft.so", RTLD_LAZY);
    close_it(top, "top closed");
    close_it(left, "left closed");
    close_it(cycle, "cycle closed");
    // The other way round: the dependency is opened first.
    void *base = open_it("libbase.so", RTLD_NOW);
    top = open_it("libtop.so", RTLD_NOW);
    close_it(base, "base closed first");
    close_it(top, "top closed second");
    // A cycle that is loaded from its other end.
    close_it(open_it("libcycle2.so", RTLD_NOW), "cycle alone");
    // Kept by a binding alone.
    void *global = open_it("libglobal.so", RTLD_NOW | RTLD_GLOBAL);
    void *user = open_it("libuser.so", RTLD_NOW);
    close_it(global, "global closed");
    if (((int (*)(void))dlsym(user, "user"))() != 7) return 3;
    close_it(user, "user closed");
    // Left open: base before its user, global after the one that is bound to it.
    open_it("libglobal.so", RTLD_NOW | RTLD_GLOBAL);
    open_it("libuser.so", RTLD_NOW);
    open_it("libcycle1.so", RTLD_NOW);
    open_it("libtop.so", RTLD_NOW);
    loaded("end");
    return 0;
}
#endif
