// A block of dynamic TLS comes from the program's own malloc and goes back to its free: leak checkers and race detectors,
// which replace both, see what only a thread-local variable points to.
//#Library: libblock.so:
//#Program: -pthread -ldl
#ifdef LIBBLOCK
static __thread char small[100];
static __thread char aligned[5000] __attribute__((aligned(256)));
char *find_small(void) { return small; }
char *find_aligned(void) { return aligned; }
#else
#include <dlfcn.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
extern void *__libc_malloc(size_t);
extern void __libc_free(void *);
static _Atomic(char *) holder;
static _Atomic(size_t) held;
static _Atomic(int) frees;
/* Remembers every allocation that is large enough for the block, newest wins: nobody else asks for that much. */
void *malloc(size_t size) {
    char *memory = __libc_malloc(size);
    if (size > 5000 && size < 6500) {
        holder = memory;
        held = size;
    }
    return memory;
}
void free(void *memory) {
    if (memory && memory == holder) frees++;
    __libc_free(memory);
}
static char *(*find_small)(void), *(*find_aligned)(void);
static void *work(void *argument) {
    char *small = find_small(), *aligned = find_aligned();
    printf("%d %d %d\n", small >= holder && small + 100 <= holder + held,
           aligned >= holder && aligned + 5000 <= holder + held, (int)((uintptr_t)aligned % 256));
    return argument;
}
int main(void) {
    setvbuf(stdout, 0, _IONBF, 0);
    void *library = dlopen("./libblock.so", RTLD_NOW);
    if (!library) return puts(dlerror()), 1;
    find_small = (char *(*)(void))dlsym(library, "find_small");
    find_aligned = (char *(*)(void))dlsym(library, "find_aligned");
    pthread_t thread;
    for (int n = 0; n < 3; n++) {
        if (pthread_create(&thread, 0, work, 0)) return 2;
        pthread_join(thread, 0);
    }
    /* A dead thread's blocks go at the latest when its stack is used again. */
    printf("%d\n", frees >= 2);
    work(0);
    return 0;
}
#endif
