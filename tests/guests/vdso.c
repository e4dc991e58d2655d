// The vDSO: clocks are read without a system call, and its symbols can be found by dlopen and dlvsym.
//#Program: -ldl
#define _GNU_SOURCE
#include <dlfcn.h>
#include <sched.h>
#include <stdio.h>
#include <sys/auxv.h>
#include <time.h>
int main(void) {
    struct timespec a, b;
    if (clock_gettime(CLOCK_MONOTONIC, &a)) return 1;
    void *vdso = dlopen("linux-vdso.so.1", RTLD_NOW | RTLD_NOLOAD);
    printf("%d\n", vdso != 0);
    if (vdso) {
        int (*clock)(clockid_t, struct timespec *) = (int (*)(clockid_t, struct timespec *))dlvsym(vdso, "__vdso_clock_gettime", "LINUX_2.6");
        if (!clock || clock(CLOCK_MONOTONIC, &b) || b.tv_sec < a.tv_sec) return 2;
    }
    return sched_getcpu() >= 0 ? 0 : 3;
}
