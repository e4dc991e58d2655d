// pthread_cancel, deferred and asynchronous, with cleanup handlers, which unwind through libgcc_s, opened by libc.
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>
static int cleaned;
static void clean(void *argument) { cleaned += *(int *)argument; }
static void *deferred(void *argument) {
    int one = 1;
    pthread_cleanup_push(clean, &one);
    for (;;) pause();
    pthread_cleanup_pop(0);
    return 0;
}
static void *asynchronous(void *argument) {
    int ten = 10;
    pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, 0);
    pthread_cleanup_push(clean, &ten);
    *(volatile int *)argument = 1;
    for (;;) __asm__ volatile("pause");
    pthread_cleanup_pop(0);
    return 0;
}
static void *exits(void *argument) {
    int hundred = 100;
    pthread_cleanup_push(clean, &hundred);
    pthread_exit(argument);
    pthread_cleanup_pop(0);
    return 0;
}
int main(void) {
    pthread_t id;
    void *result;
    volatile int running = 0;
    pthread_create(&id, 0, deferred, 0);
    pthread_cancel(id);
    pthread_join(id, &result);
    if (result != PTHREAD_CANCELED || (cleaned != 1 && cleaned != 0)) return 1;
    cleaned = 0;
    pthread_create(&id, 0, asynchronous, (void *)&running);
    while (!running) usleep(100);
    pthread_cancel(id);
    pthread_join(id, &result);
    if (result != PTHREAD_CANCELED || cleaned != 10) return 2;
    pthread_create(&id, 0, exits, &id);
    pthread_join(id, &result);
    return result == &id && cleaned == 110 ? 0 : 3;
}
