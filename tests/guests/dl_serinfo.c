// dlinfo's search path: of an object with DT_RPATH, with DT_RUNPATH, with neither, with DF_1_NODEFLIB, and of the program.
//#Library: librpath.so: -Wl,--disable-new-dtags,-rpath,'$ORIGIN/r1:/nowhere/r2:relative::/'
//#Library: librunpath.so: -Wl,--enable-new-dtags,-rpath,'$ORIGIN/u1:/usr/lib'
//#Library: libplain.so: -Wl,-z,nodefaultlib
//#Library: libmissing.so: -Wl,--disable-new-dtags,-rpath,/nowhere/a:/nowhere/b
//#Program: -ldl -Wl,--disable-new-dtags,-rpath,'$ORIGIN:$ORIGIN/p1'
//#Ways: interp patchelf
//#Run:
//#Run: LD_LIBRARY_PATH=/e1:e2;/nowhere/e3::
#define _GNU_SOURCE
#ifdef PROGRAM
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
static void tell(const char *name) {
    void *handle = dlopen(name, RTLD_NOW);
    if (!handle) { puts(dlerror()); exit(1); }
    Dl_serinfo size;
    if (dlinfo(handle, RTLD_DI_SERINFOSIZE, &size)) { puts(dlerror()); exit(2); }
    Dl_serinfo *info = malloc(size.dls_size);
    memset(info, 0xee, size.dls_size);
    if (dlinfo(handle, RTLD_DI_SERINFOSIZE, info) || dlinfo(handle, RTLD_DI_SERINFO, info)) { puts(dlerror()); exit(3); }
    printf("%s: %u directories, %zu bytes\n", name ? name : "program", info->dls_cnt, info->dls_size);
    for (unsigned i = 0; i < info->dls_cnt; i++) printf("  %s %u\n", info->dls_serpath[i].dls_name, info->dls_serpath[i].dls_flags);
    free(info);
    dlclose(handle);
}
int main(void) {
    for (int round = 0; round < 2; round++) {
        tell(NULL);
        tell("librpath.so");
        tell("librunpath.so");
        tell("libplain.so");
        tell("libmissing.so");
        tell("libc.so.6");
        // A search that learns which directories there are.
        if (dlopen("libnowhere.so.9", RTLD_NOW)) return 4;
    }
    return 0;
}
#else
int unused;
#endif
