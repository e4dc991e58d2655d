// A namespace that is opened and closed a hundred times leaves no mapping behind, and gives its number and its place in
// static TLS back; so do several at a time.
//#Library: opened.so: -lm
//#Program: -ldl
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#ifdef OPENED
#include <math.h>
#include <stdlib.h>
#include <string.h>
static __thread char local[100] = "own";
double work(double x) { char *copy = strdup(local); double y = cos(x) + strlen(copy); free(copy); return y; }
#else
static int mappings(void) {
    FILE *maps = fopen("/proc/self/maps", "r");
    int lines = 0;
    for (int c; (c = getc(maps)) != EOF;) lines += c == '\n';
    fclose(maps);
    return lines;
}
static int once(Lmid_t wanted) {
    void *opened = dlmopen(LM_ID_NEWLM, "./opened.so", RTLD_NOW);
    if (!opened) { puts(dlerror()); return 1; }
    Lmid_t number;
    if (dlinfo(opened, RTLD_DI_LMID, &number) || number != wanted) return 2;
    if (((double (*)(double))dlsym(opened, "work"))(0) != 4) return 3;
    return dlclose(opened) ? 4 : 0;
}
int main(void) {
    // A namespace's malloc keeps its first arena: warm up what is the program's own.
    for (int round = 0; round < 3; round++)
        if (once(1)) return 1;
    int before = mappings();
    for (int round = 0; round < 100; round++) {
        int failed = once(1);
        if (failed) { printf("round %d: %d\n", round, failed); return 2; }
    }
    int grown = mappings() - before;
    printf("a hundred times: %s\n", grown <= 1 ? "no mapping more" : "mappings leak");
    for (int round = 0; round < 20; round++) {
        void *opened[3];
        for (int index = 0; index < 3; index++) {
            opened[index] = dlmopen(LM_ID_NEWLM, "./opened.so", RTLD_NOW);
            if (!opened[index]) { puts(dlerror()); return 3; }
        }
        for (int index = 3; index-- > 0;)
            if (dlclose(opened[index])) return 4;
    }
    printf("three at a time: %s\n", mappings() - before <= 1 ? "no mapping more" : "mappings leak");
    return 0;
}
#endif
