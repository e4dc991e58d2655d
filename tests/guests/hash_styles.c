// A library with only the SysV hash table, one with only the GNU hash table, and a program of each kind.
//#Library: libsysv.so: -Wl,--hash-style=sysv
//#Library: libgnu.so: -Wl,--hash-style=gnu
//#Program: -L. -lsysv -lgnu -Wl,-rpath,'$ORIGIN' -Wl,--hash-style=sysv -ldl -rdynamic
#include <dlfcn.h>
#if defined LIBSYSV
#define MANY(n) int sysv_##n(void) { return n; }
#elif defined LIBGNU
#define MANY(n) int gnu_##n(void) { return n; }
#else
#define MANY(n) int sysv_##n(void), gnu_##n(void); int own_##n(void) { return n; }
#endif
MANY(1) MANY(2) MANY(3) MANY(4) MANY(5) MANY(6) MANY(7) MANY(8) MANY(9)
#if !defined LIBSYSV && !defined LIBGNU
int main(void) {
    if (sysv_1() + sysv_5() + sysv_9() != 15 || gnu_2() + gnu_4() + gnu_8() != 14) return 1;
    if (!dlsym(RTLD_DEFAULT, "own_7") || !dlsym(RTLD_DEFAULT, "sysv_3") || !dlsym(RTLD_DEFAULT, "gnu_6")) return 2;
    if (dlsym(RTLD_DEFAULT, "sysv_10") || dlsym(RTLD_DEFAULT, "gnu_0")) return 3;
    return 0;
}
#endif
