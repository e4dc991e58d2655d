// Segments aligned to 2 MiB, data aligned to 64 KiB, in the program and in a library.
//#Library: libaligned.so: -Wl,-z,max-page-size=0x200000 -Wl,-z,common-page-size=0x200000
//#Program: -L. -laligned -Wl,-rpath,'$ORIGIN' -Wl,-z,max-page-size=0x200000
//#Mode: pie nopie
//#Ways: interp direct
#ifdef LIBALIGNED
__attribute__((aligned(0x10000))) int aligned_data = 1;
__attribute__((aligned(0x10000))) int aligned_bss;
#else
#include <stdint.h>
extern int aligned_data, aligned_bss;
__attribute__((aligned(0x10000))) static int own_data = 2;
__attribute__((aligned(0x10000))) static int own_bss;
int *volatile pointers[] = {&aligned_data, &aligned_bss, &own_data, &own_bss};
int main(void) {
    for (int i = 0; i < 4; i++) if ((uintptr_t)pointers[i] % 0x10000) return i + 1;
    return *pointers[0] == 1 && *pointers[1] == 0 && *pointers[2] == 2 && *pointers[3] == 0 ? 0 : 5;
}
#endif
