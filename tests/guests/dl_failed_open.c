// A dlopen that fails leaves no mapping, no list entry, no thread-local storage and no binding behind, wherever it fails;
// afterwards the same library opens once its reason is gone.
//#Library: libtls.so: -ftls-model=initial-exec
//#Library: libsmall.so: -ftls-model=global-dynamic
//#Library: libhost.so:
//#Library: libbad.so: -L. -Wl,--no-as-needed -ltls -lsmall -Wl,--unresolved-symbols=ignore-all
//#Library: libtoolarge.so: -ftls-model=initial-exec -L. -Wl,--no-as-needed -lsmall
//#Shell: printf 'int gone;' | gcc -x c -shared -fPIC -o libgone.so -Wl,-soname,libgone.so -
//#Library: libneedsgone.so: -L. -Wl,--no-as-needed -lsmall -lgone
//#Shell: rm libgone.so; echo 'int main(){return 0;}' | gcc -x c -pie -fPIE -o pie -
//#Program: -ldl -Wl,--disable-new-dtags,-rpath,'$ORIGIN'
#define _GNU_SOURCE
#if defined LIBTLS
static __thread char block[300] = "initial";
char *tls(void) { return block; }
#elif defined LIBSMALL
__thread int small = 3;
int *small_address(void) { return &small; }
#elif defined LIBHOST
int late_function(void) { return 11; }
#elif defined LIBBAD
int late_function(void);
char *tls(void);
int bad(void) { return late_function() + tls()[0]; }
#elif defined LIBTOOLARGE
static __thread char block[1 << 20];
char *large(void) { return block; }
#elif defined LIBNEEDSGONE
int needsgone;
#else
#include <dlfcn.h>
#include <link.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
static int mappings(void) {
    FILE *maps = fopen("/proc/self/maps", "r");
    int lines = 0;
    for (int c; (c = getc(maps)) != EOF;) lines += c == '\n';
    fclose(maps);
    return lines;
}
static long pages(void) {
    FILE *statm = fopen("/proc/self/statm", "r");
    long size = 0;
    if (fscanf(statm, "%ld", &size) != 1) exit(20);
    fclose(statm);
    return size;
}
static int count(struct dl_phdr_info *info, size_t size, void *data) { return ++*(int *)data, 0; }
static int objects(void) { int total = 0; dl_iterate_phdr(count, &total); return total; }
static void *touch(void *address) { return ((void *(*)(void))address)(); }
int main(void) {
    const char *const names[] = {"libbad.so", "libtoolarge.so", "libneedsgone.so", "./pie", "/dev/null", "libnowhere.so"};
    dlerror();
    for (int warm = 0; warm < 2; warm++) for (int i = 0; i < 6; i++) if (dlopen(names[i], RTLD_NOW)) return 1; else dlerror();
    int before = mappings(), loaded = objects();
    long size = pages();
    for (int round = 0; round < 500; round++)
        for (int i = 0; i < 6; i++) {
            if (dlopen(names[i], RTLD_NOW)) return 2;
            char *error = dlerror();
            // The folder's own name depends on how the program was started.
            char *file = strstr(error, "/lib");
            if (!round) puts(file ? file : error);
        }
    printf("mappings %+d, objects %+d\n", mappings() - before, objects() - loaded);
    if (pages() - size > 64) return 21;
    printf("%d %d\n", !!dlopen("libtls.so", RTLD_NOW | RTLD_NOLOAD), !!dlopen("libsmall.so", RTLD_NOW | RTLD_NOLOAD));
    // The function turns up; the same library opens again and again, with static TLS from the surplus each time.
    if (!dlopen("libhost.so", RTLD_NOW | RTLD_GLOBAL)) return 3;
    for (int round = 0; round < 100; round++) {
        void *bad = dlopen("libbad.so", RTLD_NOW);
        if (!bad) { puts(dlerror()); return 4; }
        int value = ((int (*)(void))dlsym(bad, "bad"))();
        if (value != 11 + 'i') { printf("%d\n", value); return 5; }
        ((char *(*)(void))dlsym(bad, "tls"))()[0] = 'x';
        pthread_t thread;
        void *small = NULL;
        if (pthread_create(&thread, NULL, touch, dlsym(bad, "small_address")) || pthread_join(thread, &small) || !small) return 6;
        if (dlclose(bad)) return 7;
    }
    printf("%d\n", !!dlopen("libbad.so", RTLD_NOW | RTLD_NOLOAD));
    return 0;
}
#endif
