// Stack size, guard and a caller's own stack; the default size follows RLIMIT_STACK; pthread_getattr_np of main.
#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
static void *thread(void *argument) {
    pthread_attr_t attributes;
    void *stack;
    size_t size, guard;
    char local;
    if (pthread_getattr_np(pthread_self(), &attributes)) return (void *)1;
    pthread_attr_getstack(&attributes, &stack, &size);
    pthread_attr_getguardsize(&attributes, &guard);
    if (&local < (char *)stack || &local >= (char *)stack + size) return (void *)2;
    printf("size %zu guard %zu\n", argument ? size : 0, guard);
    return 0;
}
static int run(pthread_attr_t *attributes, int exact) {
    pthread_t id;
    void *failed;
    if (pthread_create(&id, attributes, thread, exact ? &id : 0)) return 3;
    pthread_join(id, &failed);
    return (int)(long)failed;
}
int main(void) {
    pthread_attr_t attributes;
    if (thread(0)) return 1;
    pthread_attr_init(&attributes);
    size_t size;
    pthread_attr_getstacksize(&attributes, &size);
    struct rlimit limit;
    getrlimit(RLIMIT_STACK, &limit);
    printf("default %zu\n", size);
    if (run(0, 1)) return 2;
    pthread_attr_setstacksize(&attributes, 1 << 20);
    pthread_attr_setguardsize(&attributes, 1 << 16);
    if (run(&attributes, 1)) return 3;
    void *own = mmap(0, 1 << 18, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    pthread_attr_init(&attributes);
    pthread_attr_setstack(&attributes, own, 1 << 18);
    return run(&attributes, 1) ? 4 : 0;
}
