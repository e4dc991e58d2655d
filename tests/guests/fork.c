// fork from the main thread and from others, with atfork handlers; the child can start threads and open libraries.
//#Library: late.so:
//#Program: -ldl
#ifdef LATE
__thread int late_tls = 5;
int late(void) { return late_tls; }
#else
#include <dlfcn.h>
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>
static int prepared, in_parent, in_child;
static void prepare(void) { prepared++; }
static void parent(void) { in_parent++; }
static void child(void) { in_child++; }
static void *nothing(void *argument) { return argument; }
static int in_child_all_works(void) {
    pthread_t id;
    void *result;
    if (!in_child || pthread_create(&id, 0, nothing, &id) || pthread_join(id, &result) || result != &id) return 20;
    void *library = dlopen("./late.so", RTLD_NOW);
    return library && ((int (*)(void))dlsym(library, "late"))() == 5 ? 0 : 21;
}
static int fork_once(void) {
    int status;
    pid_t process = fork();
    if (process == 0) _exit(in_child_all_works());
    if (waitpid(process, &status, 0) != process || !WIFEXITED(status)) return 22;
    return WEXITSTATUS(status);
}
static void *forker(void *argument) {
    for (int i = 0; i < 5; i++) { int failed = fork_once(); if (failed) return (void *)(long)failed; }
    return 0;
}
int main(void) {
    pthread_t id[4];
    pthread_atfork(prepare, parent, child);
    if (fork_once() || prepared != 1 || in_parent != 1 || in_child) return 1;
    for (int i = 0; i < 4; i++) pthread_create(&id[i], 0, forker, 0);
    for (int i = 0; i < 4; i++) {
        void *failed;
        pthread_join(id[i], &failed);
        if (failed) return (int)(long)failed;
    }
    return 0;
}
#endif
