// $ORIGIN in names that the program opens, where nothing at its start has the token, and what dlinfo says of it then; and in
// LD_PRELOAD.
//#Library: libnear.so:
//#Library: other/libfar.so:
//#Program: -ldl
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#if defined LIBNEAR || defined LIBFAR
int number(void) { return 7; }
#else
int main(int argc, char **argv) {
    char origin[4096];
    printf("preloaded %d\n", dlsym(RTLD_DEFAULT, "number") != NULL);
    if (chdir("/")) return 1;
    void *far = dlopen("$ORIGIN/other/libfar.so", RTLD_NOW);
    printf("far %d\n", far ? ((int (*)(void))dlsym(far, "number"))() : -1);
    if (dlinfo(dlopen(NULL, RTLD_NOW), RTLD_DI_ORIGIN, origin)) return puts(dlerror()), 1;
    puts(origin);
    void *again = dlopen("${ORIGIN}/libnear.so", RTLD_NOW);
    printf("near %d\n", again ? ((int (*)(void))dlsym(again, "number"))() : -1);
    if (argc > 1) return 0;
    fflush(stdout);
    setenv("LD_PRELOAD", "$ORIGIN/libnear.so", 1);
    strcat(origin, "/program");
    return execl(origin, argv[0], "again", NULL);
}
#endif
