// Ways to end: exit from a constructor, exit from another thread, quick_exit, _exit, abort handled, on_exit order.
//#Library: libexit.so:
//#Program: -L. -lexit -Wl,-rpath,'$ORIGIN'
//#Run: thread
//#Run: quick
//#Run: now
//#Run: return
//#Expect-status: 5
#include <stdio.h>
#ifdef LIBEXIT
int exit_library;
__attribute__((destructor)) static void destruct(void) { puts("library destructed"); fflush(stdout); }
#else
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
extern int exit_library;
static void bye(void) { puts("atexit"); fflush(stdout); }
static void quick(void) { puts("at_quick_exit"); fflush(stdout); }
static void *thread(void *argument) { exit(5); }
int main(int argc, char **argv) {
    exit_library++;
    atexit(bye);
    at_quick_exit(quick);
    if (!strcmp(argv[1], "thread")) {
        pthread_t id;
        pthread_create(&id, 0, thread, 0);
        pause();
    }
    if (!strcmp(argv[1], "quick")) quick_exit(5);
    if (!strcmp(argv[1], "now")) _exit(5);
    return 5;
}
#endif
