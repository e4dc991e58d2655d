// A function that nobody defined at the start is found when it is called, once a library that defines it was opened. One of the
// calls is made from the top of a stack that ends where memory does: what saves and restores the registers meanwhile touches
// nothing above. Processors with tile registers (AMX) have eight KiB more of them.
//#Library: libdefines.so:
//#Library: libuses.so:
//#Program: -L. -luses -Wl,--unresolved-symbols=ignore-all -Wl,-rpath,'$ORIGIN' -Wl,-z,lazy -ldl
#if defined LIBDEFINES
double late(double a, double b, long c) { return a * b + (double)c; }
#elif defined LIBUSES
double late(double, double, long);
double use(void) { return late(3.0, 4.0, 5); }
#else
#include <dlfcn.h>
#include <stdio.h>
#include <sys/mman.h>
#include <ucontext.h>
double use(void);
static ucontext_t main_context, top;
static double result;
static void at_the_top(void) { result = use(); }
static int use_at_the_top(void) {
    enum { STACK = 256 * 1024, BEYOND = 64 * 1024 };
    char *stack = mmap(0, STACK + BEYOND, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (stack == MAP_FAILED || mprotect(stack + STACK, BEYOND, PROT_NONE) || getcontext(&top)) return 4;
    top.uc_stack.ss_sp = stack;
    top.uc_stack.ss_size = STACK;
    top.uc_link = &main_context;
    makecontext(&top, at_the_top, 0);
    if (swapcontext(&main_context, &top)) return 5;
    return result == 17.0 ? 0 : 6;
}
int main(void) {
    if (!dlopen("./libdefines.so", RTLD_NOW | RTLD_GLOBAL)) { puts(dlerror()); return 1; }
    if (use() != 17.0) return 2;
    if (use() != 17.0) return 3;
    return use_at_the_top();
}
#endif
