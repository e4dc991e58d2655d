// Which auditors are taken: of several, in their order; by LD_AUDIT, --audit, DT_AUDIT and DT_DEPAUDIT; not those that cannot
// be loaded, know no la_version, want none of it, or want more than there is. Nobody opens into their namespaces.
//#Library: libfirst.so: -DNAME='"first"'
//#Library: libsecond.so: -DNAME='"second"'
//#Library: libthird.so: -DNAME='"third"'
//#Library: libunwilling.so: -DNAME='"unwilling"'
//#Library: libdemanding.so: -DNAME='"demanding"'
//#Library: libstranger.so: -DNAME='"stranger"'
//#Program: -ldl -Wl,-rpath,'$ORIGIN' -Wl,--audit,libthird.so -Wl,-P,libthird.so
//#Ways: interp
//#Run: {dir}
//#Expect: third open main
//#Run: LD_AUDIT={dir}/libfirst.so:{dir}/libsecond.so {dir}
//#Run: LD_AUDIT={dir}/libunwilling.so:libnowhere.so:{dir}/libstranger.so:{dir}/libsecond.so {dir}
//#Run: LD_AUDIT=:{dir}/libfirst.so: {dir}
//#Loader: --audit {dir}/libfirst.so:{dir}/libsecond.so {program} {dir}
//#Loader: LD_AUDIT={dir}/libsecond.so --audit {dir}/libfirst.so {program} {dir}
#define _GNU_SOURCE
#if defined LIBFIRST || defined LIBSECOND || defined LIBTHIRD || defined LIBUNWILLING || defined LIBDEMANDING
#include <link.h>
#include <stdio.h>
#include <string.h>
unsigned la_version(unsigned version) {
    fprintf(stderr, "%s version\n", NAME);
#if defined LIBUNWILLING
    return 0;
#else
    return version;
#endif
}
unsigned la_objopen(struct link_map *map, Lmid_t namespace, uintptr_t *cookie) {
    const char *slash = strrchr(map->l_name, '/'), *name = slash ? slash + 1 : map->l_name;
    fprintf(stderr, "%s open %s in %d\n", NAME, !strncmp(name, "ld", 2) ? "loader" : *name ? name : "main", (int)namespace);
    *cookie = *NAME;
    return 0;
}
unsigned la_objclose(uintptr_t *cookie) { return fprintf(stderr, "%s close %c\n", NAME, (int)*cookie), 0; }
void la_activity(uintptr_t *cookie, unsigned what) { fprintf(stderr, "%s activity %u\n", NAME, what); }
void la_preinit(uintptr_t *cookie) { fprintf(stderr, "%s preinit %c\n", NAME, (int)*cookie); }
#elif defined LIBSTRANGER
int stranger;
#else
#include <dlfcn.h>
#include <stdio.h>
int main(int argc, char **argv) {
    fprintf(stderr, "main\n");
    char path[4096];
    snprintf(path, sizeof path, "%s/libstranger.so", argv[1]);
    printf("%d\n", dlmopen(1, path, RTLD_NOW) != 0);
    printf("%s\n", dlerror());
    void *handle = dlopen(path, RTLD_NOW);
    return !handle || dlclose(handle);
}
#endif
