// STT_GNU_IFUNC in the program and in a library: called, by GLOB_DAT, in initialised data, through R_X86_64_IRELATIVE,
// and a resolver that needs a relocated variable of another library.
//#Library: liblevel.so:
//#Library: libifunc.so: -L. -llevel -Wl,-rpath,'$ORIGIN'
//#Program: -L. -lifunc -llevel -Wl,-rpath,'$ORIGIN' -ldl
//#Mode: pie nopie
#include <dlfcn.h>
#if defined LIBLEVEL
int level = 3;
int *const level_pointer = &level;
#elif defined LIBIFUNC
extern int *const level_pointer;
static int low(void) { return 1; }
static int high(void) { return 2; }
static int (*resolve(void))(void) { return *level_pointer == 3 ? high : low; }
int chosen(void) __attribute__((ifunc("resolve")));
static int hidden_chosen(void) __attribute__((ifunc("resolve"), visibility("hidden")));
int (*chosen_in_data)(void) = chosen;
static int (*hidden_in_data)(void) = hidden_chosen;
int call_hidden(void) { return hidden_chosen() + hidden_in_data(); }
#else
int chosen(void), call_hidden(void);
extern int (*chosen_in_data)(void);
static int own_low(void) { return 10; }
static int own_high(void) { return 20; }
static int (*own_resolve(void))(void) { return __builtin_cpu_init(), __builtin_cpu_supports("sse2") ? own_high : own_low; }
int own(void) __attribute__((ifunc("own_resolve")));
static int (*volatile own_in_data)(void) = own;
static int (*volatile theirs_in_data)(void) = chosen;
int main(void) {
    if (chosen() != 2 || chosen_in_data() != 2 || theirs_in_data() != 2) return 1;
    if (call_hidden() != 4) return 2;
    if (own() != 20 || own_in_data() != 20) return 3;
    if (theirs_in_data != chosen_in_data) return 4;
    int (*found)(void) = (int (*)(void))dlsym(RTLD_DEFAULT, "chosen");
    return found && found() == 2 ? 0 : 5;
}
#endif
