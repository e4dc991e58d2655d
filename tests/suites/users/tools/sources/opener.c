/* Opens the library, calls it in threads that are all there at one time, closes it, opens it again. */
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
static __thread int mine = 7;
static pthread_barrier_t barrier;
static int (*call)(int);
static void *work(void *argument) {
    mine += (int)(long)argument;
    call(mine);
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier);
    return 0;
}
void together(void) { puts("together"); }
static void *open_plugin(void) {
    void *handle = dlopen("./libplugin.so", RTLD_NOW);
    if (!handle || !(call = (int (*)(int))dlsym(handle, "plugged"))) {
        puts(dlerror());
        exit(1);
    }
    return handle;
}
int main(void) {
    void *handle = open_plugin();
    printf("%d\n", call(3));
    pthread_t threads[3];
    pthread_barrier_init(&barrier, 0, 4);
    for (long n = 0; n < 3; n++) pthread_create(&threads[n], 0, work, (void *)n);
    pthread_barrier_wait(&barrier);
    together();
    pthread_barrier_wait(&barrier);
    for (int n = 0; n < 3; n++) pthread_join(threads[n], 0);
    dlclose(handle);
    handle = open_plugin();
    printf("%d\n", call(1));
    puts("end");
    return 0;
}
