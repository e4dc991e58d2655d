// A weak function that nobody defined when its caller was opened is found when it is called, once a library that is opened
// later defines it; whether it was there is answered by its address, which stays null.
//#Library: libuses.so: -Wl,-z,lazy
//#Library: libdefines.so: -L. -Wl,--no-as-needed -luses -Wl,-rpath,'$ORIGIN'
//#Program: -ldl -D_GNU_SOURCE
#if defined LIBDEFINES
int weak_function(int value) { return value + 30; }
#elif defined LIBUSES
// Assembly, so that the call goes by its own entry of the PLT and not by the address that is compared.
__asm__(".text\n.weak weak_function\n.globl call_it\n.type call_it, @function\ncall_it: jmp weak_function@plt\n.size call_it, . - call_it\n");
extern int unseen_function(void) __attribute__((weak));
int is_there(void) { return unseen_function != 0; }
#else
#include <dlfcn.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>
static void nothing_there(int signal, siginfo_t *info, void *context) {
    (void)signal, (void)context;
    printf("call of address %p\n", info->si_addr);
    fflush(stdout);
    _exit(0);
}
int main(void) {
    void *uses = dlopen("./libuses.so", RTLD_LAZY);
    if (!uses) { puts(dlerror()); return 1; }
    int (*call_it)(int) = (int (*)(int))dlsym(uses, "call_it");
    void *defines = dlopen("./libdefines.so", RTLD_LAZY);
    if (!defines) { puts(dlerror()); return 2; }
    printf("%d, there: %d\n", call_it(1), ((int (*)(void))dlsym(uses, "is_there"))());
    // Another copy, which nobody helps.
    void *alone = dlmopen(LM_ID_NEWLM, "./libuses.so", RTLD_LAZY);
    if (!alone) { puts(dlerror()); return 3; }
    struct sigaction action = {.sa_sigaction = nothing_there, .sa_flags = SA_SIGINFO};
    sigaction(SIGSEGV, &action, 0);
    return ((int (*)(int))dlsym(alone, "call_it"))(1);
}
#endif
