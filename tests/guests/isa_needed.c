// GNU_PROPERTY_X86_ISA_1_NEEDED: what needs a level that no processor has yet is refused, in dlopen and as a dependency of
// what is opened; the levels of this processor are not.
//#Library: libfuture.so: -DNEEDED=0x8000
//#Library: libneeds.so: -L. -Wl,--no-as-needed -lfuture
//#Library: libbaseline.so: -DNEEDED=1
//#Library: libmarked.so: -Wl,-z,x86-64-v2
//#Program: -Wl,--disable-new-dtags,-rpath,'$ORIGIN' -ldl
//#Expect: CPU ISA level is lower than required
#ifdef NEEDED
#define TEXT(x) #x
#define VALUE(x) TEXT(x)
__asm__(".pushsection .note.gnu.property,\"a\",@note\n.balign 8\n.long 4, 16, 5\n.asciz \"GNU\"\n"
        ".long 0xc0008002, 4, " VALUE(NEEDED) ", 0\n.popsection");
#endif
#ifdef PROGRAM
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>
int main(void) {
    const char *names[] = {"libfuture.so", "libneeds.so", "libbaseline.so", "libmarked.so", "libfuture.so"};
    for (int i = 0; i < 5; i++) {
        void *handle = dlopen(names[i], RTLD_NOW);
        const char *error = handle ? "open" : strrchr(dlerror(), '/') + 1;
        printf("%s: %s\n", names[i], error);
        if (!handle && dlopen(names[i], RTLD_NOW | RTLD_NOLOAD)) puts("it is there all the same");
    }
    return 0;
}
#else
int answer(void) { return 42; }
#endif
