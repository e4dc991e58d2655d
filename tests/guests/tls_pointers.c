// Thread-local pointers that are initialised by relocations of the TLS image itself.
//#Library: libptr.so:
//#Program: -L. -lptr -Wl,-rpath,'$ORIGIN'
//#Mode: pie nopie
#ifdef LIBPTR
int target = 4;
__thread int *pointer = &target;
#else
#include <pthread.h>
extern int target;
extern __thread int *pointer;
static int own = 5;
static __thread int *own_pointer = &own;
static void *thread(void *argument) {
    return (void *)(long)(pointer != &target ? 1 : own_pointer != &own ? 2 : *pointer + *own_pointer != 9 ? 3 : 0);
}
int main(void) {
    pthread_t id;
    void *result;
    if ((result = thread(0))) return (int)(long)result;
    pthread_create(&id, 0, thread, 0);
    pthread_join(id, &result);
    return (int)(long)result;
}
#endif
