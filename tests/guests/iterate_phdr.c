// dl_iterate_phdr: every object once, in load order, program first with an empty name; adds and subs count.
//#Library: late.so:
//#Program: -ldl -lm -Wl,--no-as-needed
//#Mode: pie nopie
//#Ways: interp patchelf
#define _GNU_SOURCE
#ifdef LATE
__thread int late_tls = 4;
int *late(void) { return &late_tls; }
#else
#include <dlfcn.h>
#include <link.h>
#include <stdio.h>
#include <string.h>
#include <sys/auxv.h>
static unsigned long long adds, subs;
static int show(struct dl_phdr_info *info, size_t size, void *data) {
    const char *slash = strrchr(info->dlpi_name, '/');
    const char *name = slash ? slash + 1 : info->dlpi_name;
    int rtld = info->dlpi_addr == getauxval(AT_BASE);
    printf("%s: %d headers of %d, tls %zu %d\n", rtld ? "the interpreter" : name, rtld ? 0 : info->dlpi_phnum > 0,
           (int)size, info->dlpi_tls_modid, info->dlpi_tls_data != 0);
    adds = info->dlpi_adds, subs = info->dlpi_subs;
    int found = 0;
    for (int i = 0; i < info->dlpi_phnum; i++) found |= info->dlpi_phdr[i].p_type == PT_LOAD;
    return !found;
}
static int stop(struct dl_phdr_info *info, size_t size, void *data) { return 7; }
int main(void) {
    if (dl_iterate_phdr(show, 0)) return 1;
    unsigned long long before = adds, gone = subs;
    void *library = dlopen("./late.so", RTLD_NOW);
    ((int *(*)(void))dlsym(library, "late"))();
    if (dl_iterate_phdr(show, 0)) return 2;
    printf("added %d removed %d\n", (int)(adds - before), (int)(subs - gone));
    dlclose(library);
    if (dl_iterate_phdr(show, 0)) return 3;
    printf("added %d removed %d\n", (int)(adds - before), (int)(subs - gone));
    return dl_iterate_phdr(stop, 0) == 7 ? 0 : 4;
}
#endif
