// Stack protector and pointer guard: the canary is random, its low byte zero, and a smashed stack ends the program.
//#Program: -fstack-protector-all
//#Run:
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/auxv.h>
int main(void) {
    uintptr_t canary, guard;
    jmp_buf buffer;
    __asm__("mov %%fs:0x28, %0" : "=r"(canary));
    __asm__("mov %%fs:0x30, %0" : "=r"(guard));
    if (!canary || canary & 0xff || !guard || guard == canary) return 1;
    const uintptr_t *random = (const uintptr_t *)getauxval(AT_RANDOM);
    if (canary != (random[0] & ~0xffUL) || guard != random[1]) return 2;
    if (!setjmp(buffer)) longjmp(buffer, 1);
    return 0;
}
