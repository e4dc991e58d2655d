// A program that refers to _r_debug has a copy of `struct r_debug` (link.h) at a fixed address, and the loader's own
// elsewhere: both lead to the list of objects, and nobody finds fault with the copy's size.
//#Mode: nopie pie
#define _GNU_SOURCE
#include <dlfcn.h>
#include <link.h>
#include <stdio.h>
static void show(const char *which, struct r_debug *debug) {
    int count = 0;
    for (struct link_map *map = debug->r_map; map; map = map->l_next) count++;
    printf("%s: version %d, %d objects%s%s\n", which, debug->r_version, count, debug->r_brk ? ", r_brk" : "",
           debug->r_ldbase ? ", r_ldbase" : "");
}
int main(void) {
    struct r_debug *own = 0;
    for (ElfW(Dyn) *entry = _DYNAMIC; entry->d_tag != DT_NULL; entry++)
        if (entry->d_tag == DT_DEBUG) own = (struct r_debug *)entry->d_un.d_ptr;
    if (!own) return 1;
    show("named", &_r_debug);
    show("DT_DEBUG", own);
    void *handle = dlmopen(LM_ID_NEWLM, "libm.so.6", RTLD_NOW);
    if (!handle) return 2;
    show("named", &_r_debug);
    show("DT_DEBUG", own);
    if (dlclose(handle) || own->r_state != RT_CONSISTENT) return 3;
    return own == &_r_debug;
}
