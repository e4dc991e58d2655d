// Forty modules with thread-local storage, half of them opened while threads run; each value is each thread's own.
//#Shell: for i in $(seq 40); do printf '__thread int v = %d; __thread int *p; int *at(void) { if (!p) p = &v; return p; }' $i | gcc -x c -fPIC -shared -o m$i.so - ; done
//#Program: -ldl
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
enum { MODULES = 40, THREADS = 8 };
static int *(*at[MODULES])(void);
static pthread_barrier_t barrier;
static int open_from(int first, int last) {
    for (int i = first; i < last; i++) {
        char name[32];
        sprintf(name, "./m%d.so", i + 1);
        void *library = dlopen(name, RTLD_NOW);
        if (!library) { puts(dlerror()); return 0; }
        at[i] = (int *(*)(void))dlsym(library, "at");
    }
    return 1;
}
static long check(int last) {
    for (int i = 0; i < last; i++) if (*at[i]() != i + 1) return i + 1;
    return 0;
}
static void *thread(void *argument) {
    long failed = check(MODULES / 2);
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier);
    if (!failed) failed = check(MODULES);
    for (int i = 0; i < MODULES; i++) *at[i]() = -1;
    return (void *)failed;
}
int main(void) {
    pthread_t id[THREADS];
    if (!open_from(0, MODULES / 2)) return 100;
    pthread_barrier_init(&barrier, 0, THREADS + 1);
    for (int i = 0; i < THREADS; i++) pthread_create(&id[i], 0, thread, 0);
    pthread_barrier_wait(&barrier);
    if (!open_from(MODULES / 2, MODULES)) return 101;
    pthread_barrier_wait(&barrier);
    for (int i = 0; i < THREADS; i++) {
        void *failed;
        pthread_join(id[i], &failed);
        if (failed) return (int)(long)failed;
    }
    return (int)check(MODULES);
}
