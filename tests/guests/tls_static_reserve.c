// Initial-exec variables of libraries that are opened before there are threads: up to 64 KiB, where glibc gives up at 1664
// bytes. Threads that are made later have them too; beside running threads glibc's surplus is left, and again what was closed.
//#Library: liblarge.so: -ftls-model=initial-exec -DSIZE=40000
//#Library: libmedium.so: -ftls-model=initial-exec -DSIZE=20000
//#Library: libsmall.so: -ftls-model=initial-exec -DSIZE=1000
//#Library: libother.so: -ftls-model=initial-exec -DSIZE=60000
//#Program: -Wl,--disable-new-dtags,-rpath,'$ORIGIN' -ldl
//#Only-on: folio
#if defined SIZE
static __thread char variables[SIZE] = {1, 2, 3};
int check(void) {
    int good = variables[0] == 1 && variables[2] == 3;
    for (int i = 3; i < SIZE; i++) good &= !variables[i];
    return good;
}
#else
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
static void *handles[4];
static pthread_barrier_t opened, checked;
static int check_all(void) {
    for (int i = 0; i < 4; i++)
        if (handles[i] && !((int (*)(void))dlsym(handles[i], "check"))()) return 0;
    return 1;
}
static void *late(void *argument) {
    char space[32768];
    memset(space, 5, sizeof space);
    __asm__ volatile("" ::"r"(space) : "memory");
    return check_all() ? argument : 0;
}
static void *running(void *argument) {
    pthread_barrier_wait(&opened);
    pthread_barrier_wait(&checked);
    return late(argument);
}
static int in_threads(void *(*function)(void *), int (*meanwhile)(void)) {
    pthread_t threads[8];
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, 160 * 1024);
    int failures = 0;
    for (int i = 0; i < 8; i++) failures += pthread_create(&threads[i], &attributes, function, &threads[i]) != 0;
    failures += meanwhile();
    for (int i = 0; i < 8; i++) {
        void *result;
        failures += pthread_join(threads[i], &result) || result != &threads[i];
    }
    return failures;
}
static int nothing(void) { return 0; }
static int open_small(void) {
    pthread_barrier_wait(&opened);
    handles[2] = dlopen("libsmall.so", RTLD_NOW);
    int failures = !handles[2];
    if (dlopen("libother.so", RTLD_NOW)) failures++;
    else failures += !strstr(dlerror(), "cannot allocate memory in static TLS block");
    pthread_barrier_wait(&checked);
    return failures;
}
int main(void) {
    pthread_barrier_init(&opened, 0, 9);
    pthread_barrier_init(&checked, 0, 9);
    if (in_threads(late, nothing)) return 1;
    for (int round = 0; round < 3; round++) {
        handles[0] = dlopen("liblarge.so", RTLD_NOW);
        handles[1] = dlopen("libmedium.so", RTLD_NOW);
        if (!handles[0] || !handles[1]) return puts(dlerror()), 2;
        if (!check_all()) return 3;
        if (in_threads(late, nothing)) return 4;
        if (dlopen("libother.so", RTLD_NOW)) return 5;
        if (!strstr(dlerror(), "cannot allocate memory in static TLS block")) return 6;
        if (in_threads(running, open_small)) return 7;
        for (int i = 2; i >= 0; i--) {
            if (dlclose(handles[i])) return 8;
            handles[i] = 0;
        }
        void *other = dlopen("libother.so", RTLD_NOW);
        if (!other || !((int (*)(void))dlsym(other, "check"))()) return 9;
        dlclose(other);
    }
    return 0;
}
#endif
