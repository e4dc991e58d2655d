// A dlopened library with initial-exec access (DF_STATIC_TLS) fits into the static surplus; one that asks for more than
// there is gives an error, not a crash.
//#Library: small.so: -ftls-model=initial-exec -DSIZE=64
//#Library: huge.so: -ftls-model=initial-exec -DSIZE=1000000
//#Program: -ldl
#if defined SMALL || defined HUGE
__thread char block[SIZE] = {3};
char *at(void) { return block; }
#else
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
static char *(*at)(void);
static pthread_barrier_t barrier;
static void *thread(void *argument) {
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier);
    return (void *)(long)(*at() != 3);
}
int main(void) {
    pthread_t id;
    void *failed;
    pthread_barrier_init(&barrier, 0, 2);
    pthread_create(&id, 0, thread, 0);
    pthread_barrier_wait(&barrier);
    void *small = dlopen("./small.so", RTLD_NOW);
    if (!small) { puts(dlerror()); return 1; }
    at = (char *(*)(void))dlsym(small, "at");
    pthread_barrier_wait(&barrier);
    pthread_join(id, &failed);
    if (failed || *at() != 3) return 2;
    if (dlopen("./huge.so", RTLD_NOW)) return 3;
    puts(dlerror());
    return 0;
}
#endif
