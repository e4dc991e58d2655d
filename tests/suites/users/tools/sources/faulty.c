/* One fault of each kind that a checker is to find, beside a library that has none. */
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
static int shared;
static void *race(void *argument) {
    shared++;
    return argument;
}
__attribute__((noinline)) static void leak(void) {
    char *volatile lost = malloc(77);
    (void)lost;
    lost = 0;
}
/* What is left of the lost address below the stack would count as a use. */
__attribute__((noinline)) static void wipe(void) {
    volatile char area[100000];
    for (unsigned at = 0; at < sizeof area; at++) area[at] = 0;
}
int main(int count, char **arguments) {
    setvbuf(stdout, 0, _IONBF, 0);
    void *handle = dlopen("./libplugin.so", RTLD_NOW);
    int (*call)(int) = (int (*)(int))dlsym(handle, "plugged");
    printf("%d\n", call(1));
    if (count < 2) return 0;
    int *volatile memory = malloc(4);
    switch (arguments[1][0]) {
    case 'l': leak(); wipe(); break;
    case 'u': free(memory); return printf("%d\n", memory[0] == 1) == 0;
    case 'i': if (*memory == 3) puts("three"); break;
    case 'o': return count << (30 + count) == 5;
    case 'r':
        for (int round = 0; round < 20; round++) {
            pthread_t threads[2];
            for (int n = 0; n < 2; n++) pthread_create(&threads[n], 0, race, 0);
            for (int n = 0; n < 2; n++) pthread_join(threads[n], 0);
        }
    }
    free(memory);
    return 0;
}
