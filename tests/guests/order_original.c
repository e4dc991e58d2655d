// glibc's older sort, which a tunable asks for, orders cycles otherwise than the default one: at the start, when a group of
// libraries that need each other in circles is opened, when it is closed, and at the end.
//#Library: liba.so:
//#Library: libb.so:
//#Library: libc1.so:
//#Library: libd.so:
//#Library: libe.so:
//#Library: libf.so:
//#Library: libg.so:
//#Library: libh.so:
//#Library: liba.so: -L. -Wl,--no-as-needed -lb -ld
//#Library: libb.so: -L. -Wl,--no-as-needed -le -lc1 -ld
//#Library: libc1.so: -L. -Wl,--no-as-needed -lb -ld
//#Library: libd.so: -L. -Wl,--no-as-needed -la -lb
//#Library: libe.so: -L. -Wl,--no-as-needed -lb -la -lc1
//#Library: libf.so: -L. -Wl,--no-as-needed -lg -lh -la -Wl,-rpath-link,.
//#Library: libg.so: -L. -Wl,--no-as-needed -lh -lf -Wl,-rpath-link,.
//#Library: libh.so: -L. -Wl,--no-as-needed -lf -lg -Wl,-rpath-link,.
//#Program: -L. -Wl,--no-as-needed -lc1 -ld -le -Wl,-rpath-link,. -Wl,--disable-new-dtags,-rpath,'$ORIGIN'
//#Run: fg
//#Run: GLIBC_TUNABLES=glibc.rtld.dynamic_sort=1 f
//#Run: GLIBC_TUNABLES=glibc.rtld.dynamic_sort=1 fg
//#Run: GLIBC_TUNABLES=glibc.rtld.dynamic_sort=1 ghf
//#Run: GLIBC_TUNABLES=glibc.rtld.dynamic_sort=1 hFG
//#Run: GLIBC_TUNABLES=glibc.rtld.dynamic_sort=2 hFG
#include <dlfcn.h>
#include <stdio.h>
#include <unistd.h>
static void say(const char *what, const char *who) {
    char line[64];
    write(1, line, snprintf(line, sizeof line, "%s %s\n", what, who));
}
#if defined LIBA
#define WHO "a"
#elif defined LIBB
#define WHO "b"
#elif defined LIBC1
#define WHO "c"
#elif defined LIBD
#define WHO "d"
#elif defined LIBE
#define WHO "e"
#elif defined LIBF
#define WHO "f"
#elif defined LIBG
#define WHO "g"
#elif defined LIBH
#define WHO "h"
#endif
#ifdef WHO
__attribute__((constructor)) static void construct(void) { say("construct", WHO); }
__attribute__((destructor)) static void destruct(void) { say("destruct", WHO); }
#else
// Opens each letter's library, closes them in the same order, opens those with capitals again and leaves them open.
int main(int argc, char **argv) {
    void *handles[8] = {0};
    char path[] = "$ORIGIN/lib?.so";
    for (int i = 0; argv[1][i]; i++) {
        path[11] = argv[1][i] | 32;
        handles[i] = dlopen(path, RTLD_NOW);
        say(handles[i] ? "opened" : dlerror(), path + 11);
    }
    for (int i = 0; argv[1][i]; i++) {
        dlclose(handles[i]);
        path[11] = argv[1][i] | 32;
        say("closed", path + 11);
    }
    for (int i = 0; argv[1][i]; i++) {
        path[11] = argv[1][i] | 32;
        if (argv[1][i] < 'a') say(dlopen(path, RTLD_NOW) ? "opened" : dlerror(), path + 11);
    }
    return 0;
}
#endif
