// DF_1_INITFIRST: the library that was loaded last of those that have it goes before all others, and before the program's
// DT_PREINIT_ARRAY; so it does in dlopen.
//#Library: libone.so: -Wl,-z,initfirst
//#Library: libtwo.so: -Wl,-z,initfirst
//#Library: libuses.so: -L. -Wl,--no-as-needed -lone -ltwo
//#Library: libplain.so:
//#Library: libthree.so: -Wl,-z,initfirst -L. -Wl,--no-as-needed -lplain
//#Library: libopened.so: -L. -Wl,--no-as-needed -lplain -lthree -Wl,-rpath-link,.
//#Program: -L. -Wl,--no-as-needed -luses -lone -ltwo -Wl,-rpath-link,. -ldl -Wl,--disable-new-dtags,-rpath,'$ORIGIN'
#include <stdio.h>
#include <unistd.h>
static void say(const char *what, const char *who) {
    char line[80];
    write(1, line, snprintf(line, sizeof line, "%s %s\n", what, who));
}
#if defined LIBONE
#define WHO "one"
#elif defined LIBTWO
#define WHO "two"
#elif defined LIBUSES
#define WHO "uses"
#elif defined LIBPLAIN
#define WHO "plain"
#elif defined LIBTHREE
#define WHO "three"
#elif defined LIBOPENED
#define WHO "opened"
#else
#define WHO "program"
#include <dlfcn.h>
static void preinit(void) { say("preinit", WHO); }
__attribute__((section(".preinit_array"), used)) static void (*const preinit_entry)(void) = preinit;
int main(void) {
    for (int i = 0; i < 2; i++) {
        void *handle = dlopen("libopened.so", RTLD_NOW);
        if (!handle) { puts(dlerror()); return 1; }
        if (dlclose(handle)) return 2;
    }
    return 0;
}
#endif
__attribute__((constructor)) static void construct(void) { say("construct", WHO); }
__attribute__((destructor)) static void destruct(void) { say("destruct", WHO); }
