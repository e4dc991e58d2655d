// Sixty-four threads at once, each with its own thread-local data, errno and stack; a second round reuses the stacks.
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
enum { THREADS = 64 };
static __thread int mine = 1;
static pthread_barrier_t barrier;
static pthread_key_t key;
static int destroyed;
static void destroy(void *value) { __atomic_add_fetch(&destroyed, 1, __ATOMIC_SEQ_CST); free(value); }
static void *thread(void *argument) {
    int id = (int)(long)argument;
    if (mine != 1 || pthread_getspecific(key)) return (void *)1;
    mine = id;
    char *block = malloc(1000);
    pthread_setspecific(key, block);
    memset(block, id, 1000);
    errno = id;
    pthread_barrier_wait(&barrier);
    if (mine != id || errno != id || block[999] != (char)id) return (void *)2;
    return 0;
}
int main(void) {
    pthread_key_create(&key, destroy);
    for (int round = 0; round < 3; round++) {
        pthread_t id[THREADS];
        pthread_barrier_init(&barrier, 0, THREADS);
        for (long i = 0; i < THREADS; i++) if (pthread_create(&id[i], 0, thread, (void *)(i + 2))) return 3;
        for (int i = 0; i < THREADS; i++) {
            void *failed;
            pthread_join(id[i], &failed);
            if (failed) return (int)(long)failed;
        }
        pthread_barrier_destroy(&barrier);
    }
    return destroyed == 3 * THREADS && mine == 1 ? 0 : 4;
}
