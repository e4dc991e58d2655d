// What libc takes of a thread's stack for static TLS is what it takes under glibc: 16 KiB, the least that may be asked for,
// are enough for as much as there.
//#Library: libtls.so:
//#Program: -L. -Wl,--no-as-needed -ltls -Wl,--disable-new-dtags,-rpath,'$ORIGIN'
#define _GNU_SOURCE
#if defined LIBTLS
__thread int variable[50] = {42};
#else
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <sys/mman.h>
extern __thread int variable[50];
static void *deep(void *size) {
    char space[(size_t)size];
    memset(space, 1, sizeof space);
    __asm__ volatile("" ::"r"(space) : "memory");
    char here;
    pthread_attr_t attributes;
    void *start;
    size_t all;
    pthread_getattr_np(pthread_self(), &attributes);
    pthread_attr_getstack(&attributes, &start, &all);
    printf("%zu of %zu bytes, %d above\n", sizeof space, all, (char *)start + all - &here < 9000);
    return variable[0] == 42 ? &variable : 0;
}
int main(void) {
    printf("%ld %d\n", sysconf(_SC_THREAD_STACK_MIN), PTHREAD_STACK_MIN);
    for (size_t size = 16384; size <= 65536; size += 8192) {
        pthread_t thread;
        pthread_attr_t attributes;
        pthread_attr_init(&attributes);
        printf("%zu: %d\n", size, pthread_attr_setstacksize(&attributes, size));
        void *result;
        int status = pthread_create(&thread, &attributes, deep, (void *)(size - 10240));
        int outcome = status ? status : pthread_join(thread, &result) || !result;
        printf("%d %d\n", status, outcome);
        void *own = mmap(0, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        pthread_attr_setstack(&attributes, own, size);
        status = pthread_create(&thread, &attributes, deep, (void *)(size - 10240));
        outcome = status ? status : pthread_join(thread, &result) || !result;
        printf("%d %d\n", status, outcome);
    }
    return 0;
}
#endif
