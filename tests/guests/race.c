// Two threads write a variable without a lock: thread checkers have to see it.
#include <pthread.h>
#include <stdio.h>
int shared;
__attribute__((noinline)) void *race_on_purpose(void *count) {
    for (long i = 0; i < (long)count; i++) shared++;
    return 0;
}
int main(void) {
    pthread_t thread;
    pthread_create(&thread, 0, race_on_purpose, (void *)1000);
    race_on_purpose((void *)1000);
    pthread_join(thread, 0);
    puts(shared > 0 ? "done" : "nothing");
    return 0;
}
