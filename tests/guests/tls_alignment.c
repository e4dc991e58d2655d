// Thread-local storage aligned to 256 and to 4096 bytes, static and in a dlopened library, in every thread.
//#Library: libalign.so:
//#Library: late.so:
//#Program: -L. -lalign -Wl,-rpath,'$ORIGIN' -ldl
//#Mode: pie nopie
#include <stdint.h>
#if defined LIBALIGN
__thread char before = 1;
__attribute__((aligned(256))) __thread char aligned_tls[3] = {1, 2, 3};
#elif defined LATE
__attribute__((aligned(4096))) __thread char late_tls[3] = {4, 5, 6};
char *late(void) { return late_tls; }
#else
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
extern __thread char before, aligned_tls[3];
__attribute__((aligned(64))) static __thread int own = 9;
static char *(*late)(void);
static void *thread(void *argument) {
    if ((uintptr_t)aligned_tls % 256 || aligned_tls[2] != 3 || before != 1) return (void *)1;
    if ((uintptr_t)&own % 64 || own != 9) return (void *)2;
    if (late && ((uintptr_t)late() % 4096 || late()[2] != 6)) return (void *)3;
    return 0;
}
int main(void) {
    void *result = thread(0);
    void *library = dlopen("./late.so", RTLD_NOW);
    if (!library) { puts(dlerror()); return 4; }
    late = (char *(*)(void))dlsym(library, "late");
    for (int i = 0; i < 4 && !result; i++) {
        pthread_t id;
        pthread_create(&id, 0, thread, 0);
        pthread_join(id, &result);
    }
    return result ? (int)(long)result : (int)(long)thread(0);
}
#endif
