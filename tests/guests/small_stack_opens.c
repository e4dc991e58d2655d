// A thread with the smallest stack that may be asked for has room to open libraries, look symbols up, close again, and leave.
//#Library: libneeded.so: -Wl,-soname,libneeded.so
//#Library: libopened.so: -L. -lneeded -Wl,-rpath,'$ORIGIN'
//#Program: -ldl
#if defined LIBNEEDED
int needed(void) { return 3; }
#elif defined LIBOPENED
int needed(void);
int opened(void) { return needed() + 1; }
#else
#include <dlfcn.h>
#include <limits.h>
#include <pthread.h>
#include <stdint.h>
static void *opener(void *unused) {
    (void)unused;
    void *handle = dlopen("./libopened.so", RTLD_NOW);
    if (!handle) return (void *)1;
    int (*opened)(void) = (int (*)(void))dlsym(handle, "opened");
    if (!opened || opened() != 4) return (void *)2;
    if (dlsym(handle, "nowhere") || !dlerror()) return (void *)3;
    if (dlopen("libnowhere.so.9", RTLD_NOW) || !dlerror()) return (void *)4;
    return dlclose(handle) ? (void *)5 : 0;
}
// The first one loads libgcc_s for itself, by libc.
static void *leaver(void *unused) {
    (void)unused;
    pthread_exit(0);
}
int main(void) {
    void *(*const functions[])(void *) = {leaver, opener, opener};
    for (int i = 0; i < 3; i++) {
        pthread_attr_t attributes;
        pthread_t thread;
        void *result;
        pthread_attr_init(&attributes);
        if (pthread_attr_setstacksize(&attributes, PTHREAD_STACK_MIN)) return 10;
        if (pthread_create(&thread, &attributes, functions[i], 0) || pthread_join(thread, &result)) return 11;
        if (result) return (int)(intptr_t)result;
    }
    return 0;
}
#endif
