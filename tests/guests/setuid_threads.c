// setresuid applies to every thread, by a signal that libc sends to each in its list of stacks.
#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>
enum { THREADS = 8 };
static pthread_barrier_t barrier;
static void *thread(void *argument) {
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier);
    return (void *)(long)syscall(SYS_getuid);
}
int main(void) {
    pthread_t id[THREADS];
    if (getuid()) { puts("not root: nothing to change"); return 0; }
    pthread_barrier_init(&barrier, 0, THREADS + 1);
    for (int i = 0; i < THREADS; i++) pthread_create(&id[i], 0, thread, 0);
    pthread_barrier_wait(&barrier);
    if (setresuid(65534, 65534, 65534)) return 1;
    pthread_barrier_wait(&barrier);
    for (int i = 0; i < THREADS; i++) {
        void *uid;
        pthread_join(id[i], &uid);
        if ((long)uid != 65534) return 2;
    }
    return 0;
}
