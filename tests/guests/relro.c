// PT_GNU_RELRO: what is relocated and then constant cannot be written afterwards, in the program and in a library,
// with full and with partial relro; .data stays writable.
//#Library: libfull.so: -Wl,-z,relro,-z,now -Wl,-soname,libfull.so
//#Library: libpartial.so: -DLIBFULL -DPARTIAL -Wl,-z,relro,-z,lazy -Wl,-soname,libpartial.so
//#Program: -L. -lfull -lpartial -Wl,-rpath,'$ORIGIN' -Wl,-z,relro,-z,now
//#Mode: pie nopie
#ifdef LIBFULL
int writable = 1;
#ifdef PARTIAL
int *const partial_constant = &writable;
#else
int *const full_constant = &writable;
#endif
#else
#include <setjmp.h>
#include <signal.h>
extern int *const full_constant, *const partial_constant;
extern int writable;
static int own_target;
static int *const own_constant __attribute__((section(".data.rel.ro"))) = &own_target;
static sigjmp_buf back;
static void on_fault(int number) { siglongjmp(back, number); }
static int faults(int *const *where) {
    if (sigsetjmp(back, 1)) return 1;
    *(int **)(unsigned long)where = 0;
    return 0;
}
int main(void) {
    signal(SIGSEGV, on_fault);
    if (!faults(&full_constant)) return 1;
    if (!faults(&partial_constant)) return 2;
    if (!faults(&own_constant)) return 3;
    writable = 2;
    return *full_constant == 2 ? 0 : 4;
}
#endif
