// Threads that open, use and close libraries at once, while others walk the list of objects.
//#Shell: for i in 1 2 3 4; do printf 'static int n; __thread int t = %d; int fn(void) { n++; return t; }' $i | gcc -x c -fPIC -shared -o m$i.so - ; done
//#Program: -ldl
#define _GNU_SOURCE
#include <dlfcn.h>
#include <link.h>
#include <pthread.h>
#include <stdio.h>
static int count(struct dl_phdr_info *info, size_t size, void *data) { ++*(int *)data; return 0; }
static void *churn(void *argument) {
    for (int i = 0; i < 200; i++) {
        char name[16];
        long which = (i + (long)argument) % 4 + 1;
        sprintf(name, "./m%ld.so", which);
        void *library = dlopen(name, i & 1 ? RTLD_NOW : RTLD_LAZY);
        if (!library) { puts(dlerror()); return (void *)1; }
        int (*fn)(void) = (int (*)(void))dlsym(library, "fn");
        if (!fn || fn() != which) return (void *)2;
        if (dlclose(library)) return (void *)3;
    }
    return 0;
}
static void *walk(void *argument) {
    for (int i = 0; i < 2000; i++) {
        int objects = 0;
        Dl_info info;
        dl_iterate_phdr(count, &objects);
        if (objects < 3 || !dladdr((void *)walk, &info)) return (void *)4;
    }
    return 0;
}
int main(void) {
    pthread_t id[8];
    for (long i = 0; i < 8; i++) pthread_create(&id[i], 0, i < 6 ? churn : walk, (void *)i);
    for (int i = 0; i < 8; i++) {
        void *failed;
        pthread_join(id[i], &failed);
        if (failed) return (int)(long)failed;
    }
    return 0;
}
