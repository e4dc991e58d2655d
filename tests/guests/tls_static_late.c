// A library that is open, and whose variables nobody has used yet, gets its static TLS when another one with initial-exec
// references to it is opened beside running threads: all of them see its image.
//#Library: libowner.so:
//#Library: libuser.so: -ftls-model=initial-exec -L. -lowner
//#Program: -Wl,--disable-new-dtags,-rpath,'$ORIGIN' -ldl
#if defined LIBOWNER
__thread int owned[20] = {42, 43};
#elif defined LIBUSER
extern __thread int owned[20];
int get(int index) { return owned[index]++; }
#else
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
static pthread_barrier_t started, opened;
static int (*get)(int);
static void *run(void *argument) {
    pthread_barrier_wait(&started);
    pthread_barrier_wait(&opened);
    return get(0) == 42 && get(1) == 43 && get(2) == 0 && get(0) == 43 ? argument : 0;
}
int main(void) {
    pthread_barrier_init(&started, 0, 9);
    pthread_barrier_init(&opened, 0, 9);
    for (int round = 0; round < 3; round++) {
        pthread_t threads[8];
        void *owner = dlopen("libowner.so", RTLD_NOW);
        if (!owner) return puts(dlerror()), 1;
        for (int i = 0; i < 8; i++) pthread_create(&threads[i], 0, run, &threads[i]);
        pthread_barrier_wait(&started);
        void *user = dlopen("libuser.so", RTLD_NOW);
        if (!user) return puts(dlerror()), 2;
        get = dlsym(user, "get");
        pthread_barrier_wait(&opened);
        for (int i = 0; i < 8; i++) {
            void *result;
            pthread_join(threads[i], &result);
            printf("%d", result == &threads[i]);
        }
        printf(" %d\n", get(0));
        dlclose(user);
        dlclose(owner);
    }
    return 0;
}
#endif
