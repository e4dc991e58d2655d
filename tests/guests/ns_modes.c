// The modes of dlmopen into new namespaces: RTLD_DEEPBIND lets a library's own closure go before the namespace's first search
// list, RTLD_NODELETE keeps a namespace's library when it is closed.
//#Library: libdeep.so:
//#Library: libuser.so: -L. -Wl,--no-as-needed -ldeep -Wl,--disable-new-dtags,-rpath,'$ORIGIN'
//#Library: libfirst.so:
//#Program: -ldl
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#if defined LIBDEEP
int shared(void) { return 1; }
#elif defined LIBFIRST
int shared(void) { return 2; }
__attribute__((destructor)) static void gone(void) { write(1, "first goes\n", 11); }
#elif defined LIBUSER
int shared(void);
static int calls;
int user(void) { return 10 * ++calls + shared(); }
__attribute__((destructor)) static void gone(void) { write(1, "user goes\n", 10); }
#else
static int call(void *library) {
    int (*user)(void) = library ? (int (*)(void))dlsym(library, "user") : 0;
    return user ? user() : -1;
}
static void show(const char *what, void *library) {
    Lmid_t id = -7;
    if (library) dlinfo(library, RTLD_DI_LMID, &id);
    printf("%s: %d in %s, %s\n", what, call(library), id > 0 ? "another" : id ? "none" : "the base", dlerror() ?: "fine");
    fflush(stdout);
}
int main(void) {
    int modes[] = {RTLD_NOW, RTLD_NOW | RTLD_DEEPBIND, RTLD_LAZY | RTLD_DEEPBIND, RTLD_NOW | RTLD_NODELETE,
                   RTLD_NOW | RTLD_DEEPBIND | RTLD_NODELETE, RTLD_NOW | RTLD_GLOBAL, RTLD_NOW | RTLD_NOLOAD, 0};
    for (int i = 0; i < 8; i++) {
        printf("mode %x\n", modes[i]);
        void *library = dlmopen(LM_ID_NEWLM, "./libuser.so", modes[i]);
        show("alone", library);
        if (!library) continue;
        Lmid_t id;
        dlinfo(library, RTLD_DI_LMID, &id);
        printf("close %d\n", dlclose(library));
        fflush(stdout);
        void *again = dlmopen(id, "./libuser.so", RTLD_NOW | RTLD_NOLOAD);
        show("again", again);
        if (again) printf("close %d\n", dlclose(again));
        // Another library is the first of its namespace, and its definitions are found before those of the second's closure.
        void *first = dlmopen(LM_ID_NEWLM, "./libfirst.so", modes[i] & ~RTLD_DEEPBIND);
        if (!first || dlinfo(first, RTLD_DI_LMID, &id)) { puts(dlerror()); continue; }
        void *second = dlmopen(id, "./libuser.so", modes[i]);
        show("second", second);
        printf("close %d\n", dlclose(first));
        show("left", second);
        if (second) printf("close %d\n", dlclose(second));
        fflush(stdout);
    }
    return 0;
}
#endif
