// dlopen, dlsym, dlerror, RTLD_NOLOAD, RTLD_GLOBAL, RTLD_NODELETE, and reference counts. A lookup from the program
// makes the program depend on what it found, which then stays; `dlclose.c` shows what goes.
//#Library: libbelow.so:
//#Library: opened.so: -L. -lbelow -Wl,-rpath,'$ORIGIN'
//#Library: user.so: -Wl,--unresolved-symbols=ignore-all
//#Program: -ldl -rdynamic
//#Mode: pie nopie
#include <stdio.h>
#if defined LIBBELOW
int below(void) { return 1; }
__attribute__((constructor)) static void construct(void) { puts("below constructed"); }
__attribute__((destructor)) static void destruct(void) { puts("below destructed"); }
#elif defined OPENED
int below(void);
int opened_data = 6;
int opened(void) { return below() + 1; }
__attribute__((constructor)) static void construct(void) { puts("opened constructed"); }
__attribute__((destructor)) static void destruct(void) { puts("opened destructed"); }
#elif defined USER
int opened(void);
int user(void) { return opened() + 1; }
#else
#include <dlfcn.h>
#include <string.h>
static int call(void *function) { return function ? ((int (*)(void))function)() : -1; }
int from_program(void) { return 77; }
int main(void) {
    if (dlerror()) return 1;
    if (dlopen("opened.so", RTLD_NOW)) return 2;
    puts(dlerror());
    if (dlerror()) return 3;
    if (dlopen("./opened.so", RTLD_NOW | RTLD_NOLOAD)) return 4;
    void *opened = dlopen("./opened.so", RTLD_LAZY | RTLD_LOCAL);
    if (!opened) { puts(dlerror()); return 5; }
    if (call(dlsym(opened, "opened")) != 2 || call(dlsym(opened, "below")) != 1) return 6;
    if (dlsym(opened, "nothing")) return 7;
    puts(dlerror());
    if (dlsym(RTLD_DEFAULT, "opened")) return 8;
    dlerror();
    if (dlopen("./user.so", RTLD_NOW)) return 9;
    puts(dlerror());
    if (dlopen("./opened.so", RTLD_NOW) != opened) return 10;
    if (dlclose(opened)) return 11;
    puts("still there");
    if (dlopen("./opened.so", RTLD_NOW | RTLD_NOLOAD | RTLD_GLOBAL) != opened) return 12;
    if (call(dlsym(RTLD_DEFAULT, "opened")) != 2) return 13;
    void *user = dlopen("./user.so", RTLD_NOW);
    if (!user) { puts(dlerror()); return 14; }
    if (call(dlsym(user, "user")) != 3) return 15;
    if (dlclose(user) || dlclose(opened) || dlclose(opened)) return 16;
    puts("closed");
    opened = dlopen("./opened.so", RTLD_NOW);
    if (!opened || *(int *)dlsym(opened, "opened_data") != 6) return 17;
    *(int *)dlsym(opened, "opened_data") = 8;
    if (dlclose(opened)) return 18;
    opened = dlopen("./opened.so", RTLD_NOW | RTLD_NODELETE);
    printf("data: %d\n", *(int *)dlsym(opened, "opened_data"));
    if (dlclose(opened)) return 19;
    if (!dlopen("./opened.so", RTLD_NOW | RTLD_NOLOAD)) return 20;
    void *self = dlopen(NULL, RTLD_NOW);
    if (!self || call(dlsym(self, "from_program")) != 77) return 21;
    return 0;
}
#endif
