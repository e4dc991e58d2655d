// _dl_find_object, by which unwinders find an object: program, library, dlopened library, and an address of none.
//#Library: late.so:
//#Program: -ldl
//#Mode: pie nopie
#define _GNU_SOURCE
#ifdef LATE
int late(void) { return 1; }
#else
#include <dlfcn.h>
#include <link.h>
#include <stdio.h>
static int found(void *address, const char *what) {
    struct dl_find_object result;
    if (_dl_find_object(address, &result)) { printf("%s: none\n", what); return 0; }
    printf("%s: map %d eh_frame %d\n", what, result.dlfo_link_map != 0, result.dlfo_eh_frame != 0);
    return (char *)address >= (char *)result.dlfo_map_start && (char *)address < (char *)result.dlfo_map_end;
}
int main(void) {
    int local;
    if (!found((void *)main, "program") || !found(dlsym(RTLD_DEFAULT, "puts"), "libc")) return 1;
    if (found(&local, "stack") || found((void *)1, "nothing")) return 2;
    void *library = dlopen("./late.so", RTLD_NOW);
    void *late = dlsym(library, "late");
    if (!found(late, "late")) return 3;
    dlclose(library);
    found(late, "closed");
    return 0;
}
#endif
