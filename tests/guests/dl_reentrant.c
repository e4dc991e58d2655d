// Constructors and destructors that open and close libraries themselves, their own among them.
//#Library: libother.so:
//#Library: libkept.so:
//#Library: libcloses.so:
//#Library: libopens.so:
//#Library: libself.so:
//#Library: libchain.so:
//#Library: libfails.so:
//#Library: libexit.so:
//#Program: -ldl -Wl,--disable-new-dtags,-rpath,'$ORIGIN'
//#Run: closes
//#Run: opens
//#Run: self
//#Run: chain
//#Run: fails
//#Run: exit
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
static void say(const char *what, const char *who) {
    char line[200];
    write(1, line, snprintf(line, sizeof line, "%s %s\n", what, who));
}
#define INIT __attribute__((constructor)) static void construct(void)
#define FINI __attribute__((destructor)) static void destruct(void)
static __attribute__((unused)) void is_loaded(const char *name) {
    void *handle = dlopen(name, RTLD_NOW | RTLD_NOLOAD);
    say(name, handle ? "is loaded" : "is not loaded");
    if (handle) dlclose(handle);
}
#if defined LIBOTHER
INIT { say("construct", "other"); }
FINI { say("destruct", "other"); }
#elif defined LIBKEPT
INIT { say("construct", "kept"); }
FINI { say("destruct", "kept"); }
#elif defined LIBCLOSES
// Opens in the constructor what it closes in the destructor.
static void *other;
INIT { say("construct", "closes"); other = dlopen("libother.so", RTLD_NOW); }
FINI {
    say("destruct", "closes");
    if (dlclose(other)) say("cannot close", dlerror());
    is_loaded("libother.so");
}
#elif defined LIBOPENS
// Opens in the destructor, and leaves open.
INIT { say("construct", "opens"); }
FINI { say("destruct", "opens"); if (!dlopen("libkept.so", RTLD_NOW)) say("cannot open", dlerror()); }
#elif defined LIBSELF
// Opens and closes itself while it is constructed; opens and closes another for good in between.
INIT {
    say("construct", "self");
    void *self = dlopen("libself.so", RTLD_NOW);
    void *other = dlopen("libother.so", RTLD_NOW);
    if (!self || !other || dlclose(self) || dlclose(other)) say("failed", dlerror());
    is_loaded("libother.so");
}
FINI { say("destruct", "self"); }
#elif defined LIBCHAIN
// A destructor that closes a library whose destructor closes a library.
static void *next;
INIT { say("construct", "chain"); next = dlopen("libcloses.so", RTLD_NOW); }
FINI { say("destruct", "chain"); dlclose(next); say("closed in", "chain"); }
#elif defined LIBFAILS
INIT {
    say("construct", "fails");
    if (!dlopen("libnowhere.so", RTLD_NOW)) say("error", dlerror());
}
FINI {
    if (!dlopen("./nowhere.so", RTLD_NOW)) say("error", dlerror());
    say("destruct", "fails");
}
#elif defined LIBEXIT
// Everything at once, at exit.
static void *other;
INIT { say("construct", "exit"); other = dlopen("libother.so", RTLD_NOW); }
FINI {
    say("destruct", "exit");
    void *kept = dlopen("libkept.so", RTLD_NOW);
    if (!kept || dlclose(other) || dlclose(kept)) say("failed", dlerror());
    say("end of", "exit");
}
#else
int main(int argc, char **argv) {
    char name[64];
    snprintf(name, sizeof name, "lib%s.so", argv[1]);
    for (int round = 0; round < 2; round++) {
        void *handle = dlopen(name, RTLD_NOW);
        if (!handle) { say("cannot open", dlerror()); return 1; }
        say("opened", argv[1]);
        if (!strcmp(argv[1], "exit")) return 0;
        if (dlclose(handle)) { say("cannot close", dlerror()); return 2; }
        is_loaded(name);
        is_loaded("libother.so");
        is_loaded("libkept.so");
        is_loaded("libcloses.so");
    }
    return 0;
}
#endif
