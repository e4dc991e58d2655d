// The four access models of thread-local storage, and descriptors, in the program and in libraries, in two threads.
//#Library: libgd.so: -ftls-model=global-dynamic
//#Library: libdesc.so: -mtls-dialect=gnu2 -ftls-model=global-dynamic
//#Library: libie.so: -ftls-model=initial-exec
//#Library: libld.so: -ftls-model=local-dynamic
//#Program: -L. -lgd -ldesc -lie -lld -Wl,-rpath,'$ORIGIN'
//#Mode: pie nopie
#define ACCESS(prefix) \
    __thread int prefix##_data = 7; \
    __thread char prefix##_bss[100]; \
    static __thread int prefix##_local = 8; \
    int prefix##_use(void) { prefix##_bss[99]++; return prefix##_data++ * 100 + prefix##_local++ * 10 + prefix##_bss[99]; }
#if defined LIBGD
ACCESS(gd)
#elif defined LIBDESC
ACCESS(desc)
#elif defined LIBIE
ACCESS(ie)
#elif defined LIBLD
ACCESS(ld)
#else
#include <pthread.h>
int gd_use(void), desc_use(void), ie_use(void), ld_use(void);
extern __thread int gd_data, ie_data;
static __thread int own = 3;
static __thread char own_bss[5];
static void *thread(void *argument) {
    long failed = 0;
    if (gd_data != 7 || ie_data != 7 || own != 3 || own_bss[4]) failed = 1;
    for (int i = 0; i < 2; i++) {
        int expected = (7 + i) * 100 + (8 + i) * 10 + 1 + i;
        if (gd_use() != expected) failed = 2;
        if (desc_use() != expected) failed = 3;
        if (ie_use() != expected) failed = 4;
        if (ld_use() != expected) failed = 5;
    }
    if (gd_data != 9 || ie_data != 9) failed = 6;
    own++, own_bss[4]++;
    return (void *)failed;
}
int main(void) {
    void *result = thread(0);
    for (int i = 0; i < 3 && !result; i++) {
        pthread_t id;
        pthread_create(&id, 0, thread, 0);
        pthread_join(id, &result);
    }
    return (int)(long)result;
}
#endif
