// Constructors run from dependencies to dependents, destructors the other way round; with cycles as glibc orders them.
// Each is given argc, argv and the environment. DT_INIT comes before DT_INIT_ARRAY, preinit before everything.
//#Library: libd.so: -Wl,-init,before -Wl,-fini,after
//#Library: libc1.so:
//#Library: libc2.so: -L. -lc1 -ld -Wl,--no-as-needed
//#Library: libc1.so: -L. -lc2 -Wl,--no-as-needed
//#Library: libb.so: -L. -lc1 -ld -Wl,-rpath-link,. -Wl,--no-as-needed
//#Library: liba.so: -L. -lb -lc2 -Wl,-rpath-link,. -Wl,--no-as-needed
//#Program: -L. -Wl,--no-as-needed -la -ld -Wl,-rpath-link,. -Wl,--disable-new-dtags,-rpath,'$ORIGIN'
//#Env: MARK=mark
//#Run: x y
//#Run: GLIBC_TUNABLES=glibc.rtld.dynamic_sort=1 x y
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
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
#define WHO "c1"
#elif defined LIBC2
#define WHO "c2"
#elif defined LIBD
#define WHO "d"
void before(int argc, char **argv, char **envp) { say(argv[argc - 1], "DT_INIT"); }
void after(void) { say("DT_FINI", WHO); }
#else
#define WHO "program"
static void preinit(int argc, char **argv, char **envp) { say(argv[1], "preinit"); }
__attribute__((section(".preinit_array"), used)) static void (*const preinit_entry)(int, char **, char **) = preinit;
static void at_exit_1(void) { say("atexit", "1"); }
static void at_exit_2(void) { say("atexit", "2"); }
#endif
__attribute__((constructor)) static void construct(int argc, char **argv, char **envp) {
    if (argc != 3 || strcmp(argv[2], "y")) say("wrong arguments", WHO);
    for (; *envp; envp++) if (!strcmp(*envp, "MARK=mark")) { say("construct", WHO); return; }
    say("wrong environment", WHO);
}
__attribute__((constructor(101))) static void early(void) { say("early", WHO); }
__attribute__((destructor)) static void destruct(void) { say("destruct", WHO); }
#if !defined LIBA && !defined LIBB && !defined LIBC1 && !defined LIBC2 && !defined LIBD
int main(void) {
    atexit(at_exit_1);
    atexit(at_exit_2);
    say("main", WHO);
    return 0;
}
#endif
