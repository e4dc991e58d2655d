// The pointer guard and the stack canary are where they have to be, and the loader leaves no copy behind: the whole of what can
// be read is searched for them.
//#Program:
//#Mode: pie nopie
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#define MASK 0x5a5a5a5a5a5a5a5aul
enum { STEP = 1 << 16 };
// How often a word, given masked so that no copy of it is made here, is in memory outside the buffer that is searched.
// At any address: the kernel's random bytes are not aligned. Frames of functions that are protected hold the canary, so the
// stack tells nothing of that.
__attribute__((noinline)) static void count(const char *what, uintptr_t masked, int with_stack, char *buffer, int memory) {
    static char line[4096];
    int in_stack = 0, elsewhere = 0;
    FILE *maps = fopen("/proc/self/maps", "r");
    while (fgets(line, sizeof line, maps)) {
        unsigned long start, end;
        char permissions[8];
        if (sscanf(line, "%lx-%lx %7s", &start, &end, permissions) != 3 || permissions[1] != 'w') continue;
        if (start <= (uintptr_t)buffer && (uintptr_t)buffer < end) continue;
        for (unsigned long at = start; at < end; at += STEP) {
            unsigned long length = end - at < STEP ? end - at : STEP;
            long got = pread(memory, buffer, length + 7, at);
            for (long byte = 0; byte + 8 <= got; byte++) {
                if ((*(uintptr_t *)(buffer + byte) ^ MASK) != masked) continue;
                if (strstr(line, "[stack]")) in_stack++; else elsewhere++;
            }
        }
    }
    fclose(maps);
    if (with_stack) printf("%s: %d in the stack\n", what, in_stack);
    printf("%s: %d elsewhere\n", what, elsewhere);
}
int main(void) {
    uintptr_t guard, canary;
    setvbuf(stdout, 0, _IONBF, 0);
    int memory = open("/proc/self/mem", O_RDONLY);
    char *buffer = mmap(0, STEP + 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    __asm__("mov %%fs:0x30, %0; xor %1, %0" : "=&r"(guard) : "r"(MASK));
    count("pointer guard", guard, 1, buffer, memory);
    __asm__("mov %%fs:0x28, %0; xor %1, %0" : "=&r"(canary) : "r"(MASK));
    count("canary", canary, 0, buffer, memory);
    return guard == MASK || canary == MASK;
}
