// Auditors that open libraries themselves: before the program's initializers, while a call is bound, and while a function is
// called. What they open lives in their own namespace. A library that is opened takes no auditor of its own along.
//#Library: libaudit.so:
//#Library: libextra.so:
//#Library: libanswer.so:
//#Library: libown.so: -Wl,--audit,./libaudit.so
//#Program: -L. -lanswer -ldl -Wl,-z,lazy -Wl,-rpath,'$ORIGIN'
//#Env: HERE={dir}
//#Run:
//#Run: LD_AUDIT={dir}/libaudit.so
//#Run: LD_AUDIT={dir}/libaudit.so WHEN=preinit
//#Expect: 42
//#Run: LD_AUDIT={dir}/libaudit.so WHEN=enter
//#Run: LD_AUDIT={dir}/libaudit.so WHEN=preinit,enter
#define _GNU_SOURCE
#include <dlfcn.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#if defined LIBAUDIT
static int is_asked(const char *when) { return strstr(getenv("WHEN") ?: "", when) != 0; }
static void open_extra(const char *when) {
    static int busy;
    char path[4096], line[256];
    if (busy++) return;
    snprintf(path, sizeof path, "%s/libextra.so", getenv("HERE"));
    void *extra = dlopen(path, RTLD_NOW);
    int (*value)(void) = extra ? (int (*)(void))dlsym(extra, "value") : 0;
    Lmid_t id = 0;
    if (extra) dlinfo(extra, RTLD_DI_LMID, &id);
    int length = snprintf(line, sizeof line, "extra %d after %s, own namespace %d, %s\n", value ? value() : -1, when, id > 0, dlerror() ?: "fine");
    write(1, line, length);
    if (extra && dlclose(extra)) write(1, "not closed\n", 11);
    busy = 0;
}
unsigned la_version(unsigned version) { return version; }
unsigned la_objopen(struct link_map *map, Lmid_t id, uintptr_t *cookie) { return LA_FLG_BINDTO | LA_FLG_BINDFROM; }
void la_preinit(uintptr_t *cookie) { if (is_asked("preinit")) open_extra("preinit"); }
Elf64_Addr la_x86_64_gnu_pltenter(Elf64_Sym *symbol, unsigned index, uintptr_t *from, uintptr_t *to, La_x86_64_regs *regs,
                                  unsigned *flags, const char *name, long *frame) {
    if (!strcmp(name, "answer")) { write(1, "enter answer\n", 13); if (is_asked("enter")) open_extra("enter"); }
    return symbol->st_value;
}
#elif defined LIBEXTRA
int value(void) { return 5; }
__attribute__((destructor)) static void gone(void) { write(1, "extra goes\n", 11); }
#elif defined LIBANSWER
int answer(void) { return 42; }
#elif defined LIBOWN
int own(void) { return 7; }
#else
int answer(void);
int main(void) {
    printf("%d\n", answer());
    printf("%d\n", answer());
    fflush(stdout);
    char path[4096];
    snprintf(path, sizeof path, "%s/libown.so", getenv("HERE"));
    void *own = dlopen(path, RTLD_NOW);
    if (!own) return puts(dlerror()), 1;
    printf("%d\n", ((int (*)(void))dlsym(own, "own"))());
    return dlclose(own);
}
#endif
