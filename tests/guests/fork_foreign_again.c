// A thread of a child runs a constructor as the child forks in its turn: that fork waits for it, also where the parent's
// fork has waited in vain for another constructor, which was too slow. (glibc's fork waits for no constructor.)
//#Library: slow.so:
//#Library: brief.so:
//#Program: -ldl -rdynamic
//#Only-on: folio
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
extern volatile int stage;
static inline void pause_for(long milliseconds) {
    struct timespec time = {0, milliseconds * 1000000};
    nanosleep(&time, 0);
}
#if defined SLOW || defined BRIEF
__attribute__((constructor)) static void construct(void) {
    stage = 1;
#ifdef SLOW
    pause_for(500);
#else
    pause_for(20);
#endif
    stage = 2;
}
#else
volatile int stage;
static void *open_one(void *name) { return dlopen(name, RTLD_NOW); }
static pthread_t begin(const char *name) {
    pthread_t thread;
    stage = 0;
    if (pthread_create(&thread, 0, open_one, (void *)name)) _exit(9);
    while (stage == 0) pause_for(1);
    return thread;
}
static int child(void) {
    pthread_t thread = begin("./brief.so");
    pid_t grandchild = fork();
    if (grandchild == 0) _exit(stage);
    int status;
    pthread_join(thread, 0);
    if (waitpid(grandchild, &status, 0) != grandchild || !WIFEXITED(status)) return 3;
    return WEXITSTATUS(status) == 2 ? 0 : 4;
}
static int parent(void) {
    pthread_t thread = begin("./slow.so");
    pid_t process = fork();
    if (process == 0) _exit(stage == 1 ? child() : 5);
    int status;
    pthread_join(thread, 0);
    if (waitpid(process, &status, 0) != process || !WIFEXITED(status)) return 6;
    return WEXITSTATUS(status);
}
int main(void) {
    // On a busy machine even the brief constructor may be slower than a fork is patient.
    for (int attempt = 0; attempt < 8; attempt++) {
        pid_t process = fork();
        if (process == 0) _exit(parent());
        int status;
        if (waitpid(process, &status, 0) != process) return 7;
        if (status == 0) return 0;
        fprintf(stderr, "status %#x\n", status);
    }
    return 1;
}
#endif
