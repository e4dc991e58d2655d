// While an auditor is asked about an object that is being loaded, or about a binding at the start, it can open nothing: dlopen
// fails with a message, and all goes on. (glibc lets them.)
//#Library: libaudit.so:
//#Library: libextra.so:
//#Library: libanswer.so:
//#Program: -L. -lanswer -ldl -Wl,-rpath,'$ORIGIN'
//#Only-on: folio
//#Env: HERE={dir}
//#Run: LD_AUDIT={dir}/libaudit.so WHEN=objsearch
//#Run: LD_AUDIT={dir}/libaudit.so WHEN=objopen
//#Run: LD_AUDIT={dir}/libaudit.so WHEN=activity
//#Run: LD_AUDIT={dir}/libaudit.so WHEN=symbind
#define _GNU_SOURCE
#include <dlfcn.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#if defined LIBAUDIT
static int refused;
__attribute__((visibility("default"))) int refusals(void) { return refused; }
static void try_to_open(const char *when) {
    char path[4096];
    static int busy;
    if (busy || strcmp(when, getenv("WHEN"))) return;
    busy = 1;
    snprintf(path, sizeof path, "%s/libextra.so", getenv("HERE"));
    void *extra = dlopen(path, RTLD_NOW);
    const char *error = dlerror();
    if (extra) dlclose(extra);
    else if (error && strlen(error) > 10) refused++;
    if (getenv("SHOW")) fprintf(stderr, "%s: %p %s\n", when, extra, error);
    busy = 0;
}
unsigned la_version(unsigned version) { return version; }
char *la_objsearch(const char *name, uintptr_t *cookie, unsigned what) { try_to_open("objsearch"); return (char *)name; }
void la_activity(uintptr_t *cookie, unsigned what) { try_to_open("activity"); }
unsigned la_objopen(struct link_map *map, Lmid_t id, uintptr_t *cookie) {
    try_to_open("objopen");
    return LA_FLG_BINDTO | LA_FLG_BINDFROM;
}
static int told(void) { return refused; }
uintptr_t la_symbind64(Elf64_Sym *symbol, unsigned index, uintptr_t *from, uintptr_t *to, unsigned *flags, const char *name) {
    try_to_open("symbind");
    return strcmp(name, "answer") ? symbol->st_value : (uintptr_t)told;
}
#elif defined LIBEXTRA
int value(void) { return 5; }
#elif defined LIBANSWER
int answer(void) { return 0; }
#else
int answer(void);
int main(void) {
    for (int i = 0; i < 3; i++) {
        void *library = dlopen("libm.so.6", RTLD_NOW);
        if (!library || !dlsym(library, "cos") || dlclose(library)) return fprintf(stderr, "%s\n", dlerror()), 1;
    }
    return answer() ? 0 : 2;
}
#endif
