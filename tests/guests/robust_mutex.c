// Robust mutexes: the owner's death is told to the next one, between threads (the main one too) and processes.
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
static void *lock_and_die(void *mutex) { pthread_mutex_lock(mutex); return 0; }
int main(void) {
    pthread_mutex_t *mutex = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pthread_mutexattr_t attributes;
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
    pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    pthread_mutex_init(mutex, &attributes);
    pthread_t id;
    pthread_create(&id, 0, lock_and_die, mutex);
    pthread_join(id, 0);
    if (pthread_mutex_lock(mutex) != EOWNERDEAD) return 1;
    pthread_mutex_consistent(mutex);
    pthread_mutex_unlock(mutex);
    pid_t process = fork();
    if (!process) { lock_and_die(mutex); _exit(0); }
    waitpid(process, 0, 0);
    if (pthread_mutex_lock(mutex) != EOWNERDEAD) return 2;
    pthread_mutex_consistent(mutex);
    pthread_mutex_unlock(mutex);
    return pthread_mutex_lock(mutex) ? 3 : 0;
}
