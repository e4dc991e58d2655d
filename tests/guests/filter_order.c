// DT_FILTER and DT_AUXILIARY: filtees are searched before their filter, at the start and in dlopen; what they need is loaded;
// an auxiliary object that is missing is no error; names may hold $ORIGIN.
//#Library: libdeep.so:
//#Library: libfirst.so: -L. -Wl,--no-as-needed -ldeep
//#Library: libsecond.so:
//#Library: libthird.so:
//#Library: sub/liborigin.so:
//#Library: libauxiliary.so: -Wl,-f,libfirst.so -Wl,-f,libmissing.so -Wl,-f,'$ORIGIN/sub/liborigin.so' -L. -Wl,--no-as-needed -lsecond
//#Library: libfilter.so: -Wl,-F,libthird.so
//#Library: libuser.so: -L. -Wl,--no-as-needed -lthird -lfilter
//#Library: libopened.so: -Wl,-f,libfourth.so -Wl,-f,libmissing.so -L. -Wl,--no-as-needed -luser
//#Library: libfourth.so:
//#Library: libolder.so: -Wl,-f,libfourth.so
//#Library: libbroken.so: -Wl,-F,libmissing.so
//#Library: liblonely.so: -Wl,-f,libmissing.so
//#Program: -L. -Wl,--no-as-needed -lauxiliary -luser -Wl,-rpath-link,. -Wl,--disable-new-dtags,-rpath,'$ORIGIN' -ldl
//#Expect: first answers
//#Run:
//#Run: LD_BIND_NOW=1
//#Run: LD_PRELOAD=libfilter.so
#define _GNU_SOURCE
#include <stdio.h>
#include <unistd.h>
#if defined LIBDEEP
#define WHO "deep"
#elif defined LIBFIRST
#define WHO "first"
#elif defined LIBSECOND
#define WHO "second"
#elif defined LIBTHIRD
#define WHO "third"
#elif defined LIBORIGIN
#define WHO "origin"
#elif defined LIBAUXILIARY
#define WHO "auxiliary"
#elif defined LIBFILTER
#define WHO "filter"
#elif defined LIBUSER
#define WHO "user"
#elif defined LIBOPENED
#define WHO "opened"
#elif defined LIBFOURTH
#define WHO "fourth"
#elif defined LIBOLDER
#define WHO "older"
#elif defined LIBBROKEN
#define WHO "broken"
#elif defined LIBLONELY
#define WHO "lonely"
#endif
#ifdef WHO
static void say(const char *what) {
    char line[80];
    write(1, line, snprintf(line, sizeof line, "%s %s\n", what, WHO));
}
__attribute__((constructor)) static void construct(void) { say("construct"); }
__attribute__((destructor)) static void destruct(void) { say("destruct"); }
#if defined LIBAUXILIARY || defined LIBFIRST || defined LIBSECOND
const char *one(void) { return WHO; }
#endif
#if defined LIBAUXILIARY || defined LIBORIGIN
const char *two(void) { return WHO; }
#endif
#if defined LIBFILTER || defined LIBTHIRD || defined LIBUSER
const char *three(void) { return WHO; }
#endif
#if defined LIBOPENED || defined LIBOLDER || defined LIBFOURTH
const char *four(void) { return WHO; }
#endif
#if defined LIBOPENED || defined LIBOLDER
const char *call_four(void) { return four(); }
#endif
#else
#include <dlfcn.h>
#include <link.h>
#include <string.h>
const char *one(void), *two(void), *three(void);
// The loader's name and place depend on how it was started.
static int is_loader(const char *name) {
    const char *slash = strrchr(name, '/');
    return !strncmp(slash ? slash + 1 : name, "ld", 2);
}
static int list(struct dl_phdr_info *info, size_t size, void *data) {
    const char *slash = strrchr(info->dlpi_name, '/');
    if (is_loader(info->dlpi_name)) return 0;
    printf(" %s", slash ? slash + 1 : "-");
    return 0;
}
// glibc also moves a filtee that was loaded long before; libolder's is the last of the list already.
static void list_all(struct link_map *last) {
    dl_iterate_phdr(list, 0);
    puts("");
    for (struct link_map *map = last; map; map = map->l_prev) {
        if (is_loader(map->l_name)) continue;
        const char *slash = strrchr(map->l_name, '/');
        printf(" %s", slash ? slash + 1 : "-");
    }
    puts("");
}
static void open_and_call(const char *name, int mode) {
    void *handle = dlopen(name, mode);
    if (!handle) { puts(dlerror()); return; }
    const char *(*four)(void) = dlsym(handle, "four"), *(*call)(void) = dlsym(handle, "call_four");
    if (four) printf("%s answers, as do %s\n", four(), call());
    list_all(handle);
    if (dlclose(handle)) puts("dlclose");
}
int main(void) {
    setvbuf(stdout, 0, _IONBF, 0);
    printf("%s answers\n%s answers\n%s answers\n", one(), two(), three());
    dl_iterate_phdr(list, 0);
    puts("");
    for (int i = 0; i < 2; i++) {
        open_and_call("libopened.so", i ? RTLD_NOW : RTLD_LAZY);
        void *fourth = dlopen("libfourth.so", RTLD_NOW);
        open_and_call("libolder.so", RTLD_LAZY);
        if (dlclose(fourth)) return 1;
        open_and_call("libbroken.so", RTLD_NOW);
        open_and_call("liblonely.so", RTLD_NOW | RTLD_GLOBAL);
    }
    return 0;
}
#endif
