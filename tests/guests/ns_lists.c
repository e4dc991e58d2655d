// What debuggers and unwinders see of namespaces: r_debug's chain, each one's list of link maps, dl_iterate_phdr in the
// caller's namespace, dladdr and _dl_find_object in all.
//#Library: opened.so: -lm
//#Library: bare.so: -nostdlib
//#Program: -ldl
#define _GNU_SOURCE
#include <dlfcn.h>
#include <link.h>
#include <stdio.h>
#include <string.h>
static const char *base_name(const char *path) {
    const char *slash = strrchr(path, '/');
    const char *name = slash ? slash + 1 : path;
    // The loader's name is its own.
    return strncmp(name, "ld", 2) ? name : "loader";
}
static int show(struct dl_phdr_info *info, size_t size, void *out) {
    unsigned long long *counts = out;
    printf(" %s", *info->dlpi_name ? base_name(info->dlpi_name) : "(program)");
    if (!info->dlpi_phdr || !info->dlpi_phnum) printf("!");
    counts[0]++;
    counts[1] = info->dlpi_adds - info->dlpi_subs;
    return 0;
}
#if defined BARE
int bare = 1;
#elif defined OPENED
#include <math.h>
double cosine(double x) { return cos(x); }
void iterate(void) {
    unsigned long long counts[2] = {0, 0};
    printf("inside:");
    dl_iterate_phdr(show, counts);
    printf(": %llu of %llu\n", counts[0], counts[1]);
    fflush(stdout);
}
#else
struct r_debug_next { struct r_debug base; struct r_debug_next *next; };
static struct r_debug_next *chain(void) {
    for (ElfW(Dyn) *entry = _DYNAMIC; entry->d_tag; entry++)
        if (entry->d_tag == DT_DEBUG) return (void *)entry->d_un.d_ptr;
    return NULL;
}
static void lists(const char *when) {
    printf("%s: version %d\n", when, chain()->base.r_version);
    for (struct r_debug_next *each = chain(); each; each = each->base.r_version > 1 ? each->next : NULL) {
        printf(" [state %d, version %d, %s, %s]", each->base.r_state, each->base.r_version,
               each->base.r_brk == chain()->base.r_brk ? "same place to stop" : "other place",
               each->base.r_ldbase == chain()->base.r_ldbase ? "same loader" : "other loader");
        struct link_map *before = NULL;
        for (struct link_map *map = each->base.r_map; map; before = map, map = map->l_next) {
            printf(" %s", *map->l_name ? base_name(map->l_name) : "(program)");
            if (map->l_prev != before) printf("?");
        }
        printf("\n");
    }
}
static void iterate(void) {
    unsigned long long counts[2] = {0, 0};
    printf("outside:");
    dl_iterate_phdr(show, counts);
    printf(": %llu of %llu\n", counts[0], counts[1]);
}
static void find(void *handle, const char *name) {
    void *address = dlsym(handle, name);
    Dl_info info;
    struct link_map *map;
    if (!dladdr1(address, &info, (void **)&map, RTLD_DL_LINKMAP)) { printf("%s: nowhere\n", name); return; }
    struct dl_find_object found;
    int missing = _dl_find_object(address, &found);
    printf("%s: %s in %s; %s; handle %s\n", name, info.dli_sname, base_name(info.dli_fname),
           missing ? "not found" : found.dlfo_link_map == map ? "same map" : "other map",
           map == handle ? "is it" : "is not it");
}
int main(void) {
    lists("start");
    void *first = dlmopen(LM_ID_NEWLM, "./opened.so", RTLD_NOW);
    if (!first) { puts(dlerror()); return 1; }
    void *second = dlmopen(LM_ID_NEWLM, "./bare.so", RTLD_NOW);
    if (!second) { puts(dlerror()); return 2; }
    lists("opened");
    iterate();
    fflush(stdout);
    ((void (*)(void))dlsym(first, "iterate"))();
    find(first, "cosine");
    find(first, "cos");
    find(first, "malloc");
    find(second, "bare");
    Lmid_t number;
    dlinfo(first, RTLD_DI_LMID, &number);
    void *loader = dlmopen(number, "ld-linux-x86-64.so.2", RTLD_NOW | RTLD_NOLOAD);
    if (!loader || dlsym(loader, "_r_debug") != dlsym(RTLD_DEFAULT, "_r_debug")) return 3;
    dlclose(loader);
    dlclose(first);
    lists("first closed");
    iterate();
    dlclose(second);
    lists("closed");
    iterate();
    first = dlmopen(LM_ID_NEWLM, "./bare.so", RTLD_NOW);
    lists("again");
    return first == NULL;
}
#endif
