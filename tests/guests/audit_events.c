// An auditor sees every search, every object that comes and goes, in every namespace, in glibc's order; also of openings that
// fail, and at the exit. Its cookies are its own.
//#Library: libaudit.so:
//#Library: libdeep.so:
//#Library: libneeded.so: -L. -Wl,--no-as-needed -ldeep -Wl,-rpath,'$ORIGIN'
//#Library: libopened.so: -L. -Wl,--no-as-needed -ldeep -Wl,-rpath,'$ORIGIN'
//#Library: libpreloaded.so:
//#Shell: printf 'int gone;' | gcc -x c -shared -fPIC -o libgone.so -Wl,-soname,libgone.so -
//#Library: libneedsgone.so: -L. -Wl,--no-as-needed -lgone
//#Shell: rm libgone.so
//#Program: -L. -Wl,--no-as-needed -lneeded -ldl -Wl,-rpath,'$ORIGIN'
//#Run: LD_AUDIT={dir}/libaudit.so {dir}
//#Run: LD_AUDIT={dir}/libaudit.so LD_BIND_NOW=1 LD_PRELOAD={dir}/libpreloaded.so {dir}
//#Run: LD_AUDIT=libaudit.so LD_LIBRARY_PATH={dir} {dir}
//#Expect: activity main 2
//#Expect: close libopened.so
//#Expect: preinit main
#define _GNU_SOURCE
#if defined LIBAUDIT
#include <link.h>
#include <stdio.h>
#include <string.h>
static const char *base(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}
unsigned la_version(unsigned version) {
    fprintf(stderr, "version %u\n", version);
    return version;
}
void la_activity(uintptr_t *cookie, unsigned what) { fprintf(stderr, "activity %s %u\n", (char *)*cookie, what); }
char *la_objsearch(const char *name, uintptr_t *cookie, unsigned what) {
    // How many directories of one kind are tried is the machine's business; the loader Folio knows, and does not search.
    static unsigned last;
    if (what != last && what != LA_SER_DEFAULT && strncmp(base(name), "ld", 2))
        fprintf(stderr, "search %s from %s %x\n", base(name), (char *)*cookie, what);
    last = what;
    return (char *)name;
}
unsigned la_objopen(struct link_map *map, Lmid_t namespace, uintptr_t *cookie) {
    int is_map = *cookie == (uintptr_t)map;
    const char *name = base(map->l_name);
    *cookie = (uintptr_t)(!strncmp(name, "ld", 2) ? "loader" : *name ? strdup(name) : "main");
    fprintf(stderr, "open %s %ld %d %d\n", (char *)*cookie, (long)namespace, is_map, map->l_ld != 0);
    return LA_FLG_BINDTO | LA_FLG_BINDFROM;
}
unsigned la_objclose(uintptr_t *cookie) { return fprintf(stderr, "close %s\n", (char *)*cookie), 0; }
void la_preinit(uintptr_t *cookie) { fprintf(stderr, "preinit %s\n", (char *)*cookie); }
__attribute__((constructor)) static void initialise(void) { fprintf(stderr, "auditor ready\n"); }
__attribute__((destructor)) static void finalise(void) { fprintf(stderr, "auditor done\n"); }
#elif defined LIBDEEP || defined LIBNEEDED || defined LIBOPENED || defined LIBPRELOADED || defined LIBNEEDSGONE
#include <unistd.h>
__attribute__((constructor)) static void initialise(void) { if (write(2, "constructor\n", 12) != 12) _exit(9); }
__attribute__((destructor)) static void finalise(void) { if (write(2, "destructor\n", 11) != 11) _exit(9); }
#else
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>
static void *open_in(const char *directory, const char *name, int mode) {
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    void *handle = dlopen(path, mode);
    if (!handle) fprintf(stderr, "no %s: %d\n", name, dlerror() != 0);
    return handle;
}
int main(int argc, char **argv) {
    fprintf(stderr, "main\n");
    void *first = open_in(argv[1], "libopened.so", RTLD_LAZY);
    fprintf(stderr, "again\n");
    void *second = open_in(argv[1], "libopened.so", RTLD_NOW | RTLD_GLOBAL);
    if (!first || first != second) return 2;
    dlclose(first);
    fprintf(stderr, "closing\n");
    dlclose(second);
    fprintf(stderr, "a dependency\n");
    void *known = dlopen("libneeded.so", RTLD_NOW);
    if (!known) return 3;
    dlclose(known);
    fprintf(stderr, "failing\n");
    open_in(argv[1], "libneedsgone.so", RTLD_NOW);
    fprintf(stderr, "missing\n");
    open_in(argv[1], "libmissing.so", RTLD_NOW);
    fprintf(stderr, "not loaded\n");
    if (open_in(argv[1], "libopened.so", RTLD_NOW | RTLD_NOLOAD)) return 4;
    fprintf(stderr, "namespace\n");
    char path[4096];
    snprintf(path, sizeof path, "%s/libopened.so", argv[1]);
    void *other = dlmopen(LM_ID_NEWLM, path, RTLD_NOW);
    if (!other) return 5;
    fprintf(stderr, "closing\n");
    dlclose(other);
    open_in(argv[1], "libopened.so", RTLD_NOW);
    fprintf(stderr, "exit\n");
    return 0;
}
#endif
