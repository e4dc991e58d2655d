// dlclose of the last handle runs finalizers and unmaps the library and what only it needed; opened again, its data is
// fresh. What something else still needs stays.
//#Library: libbelow.so:
//#Library: libkept.so:
//#Library: closing.so: -L. -Wl,--no-as-needed -lbelow -lkept -Wl,-rpath,'$ORIGIN'
//#Library: other.so: -L. -Wl,--no-as-needed -lkept -Wl,-rpath,'$ORIGIN'
//#Program: -ldl
#include <stdio.h>
#if defined LIBBELOW || defined LIBKEPT || defined CLOSING || defined OTHER
#ifdef LIBBELOW
#define NAME "below"
#elif defined LIBKEPT
#define NAME "kept"
#elif defined CLOSING
#define NAME "closing"
int closing_data = 6;
#else
#define NAME "other"
#endif
__attribute__((constructor)) static void construct(void) { puts(NAME " constructed"); }
__attribute__((destructor)) static void destruct(void) { puts(NAME " destructed"); }
#else
#include <dlfcn.h>
#include <string.h>
static int mapped(const char *name) {
    char line[4096];
    int count = 0;
    FILE *maps = fopen("/proc/self/maps", "r");
    while (fgets(line, sizeof line, maps)) count += strstr(line, name) != 0;
    fclose(maps);
    return count != 0;
}
int main(void) {
    for (int round = 0; round < 3; round++) {
        void *closing = dlopen("./closing.so", RTLD_NOW), *again = dlopen("./closing.so", RTLD_NOW);
        void *other = dlopen("./other.so", RTLD_NOW);
        if (!closing || again != closing || !other) return 1;
        int *data = dlsym(closing, "closing_data");
        printf("data %d\n", *data);
        *data = 7;
        if (dlclose(again) || !mapped("/closing.so")) return 2;
        puts("one handle left");
        if (dlclose(closing)) return 3;
        printf("closing %d below %d kept %d\n", mapped("/closing.so"), mapped("/libbelow.so"), mapped("/libkept.so"));
        if (dlclose(other)) return 4;
        printf("kept %d\n", mapped("/libkept.so"));
    }
    return 0;
}
#endif
