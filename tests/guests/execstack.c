// PT_GNU_STACK: the stack is executable exactly when the program asks for it, and also once a library asks.
//#Library: libexecstack.so: -Wl,-z,execstack
//#Program: -L. -Wl,-rpath,'$ORIGIN' -Wl,-z,noexecstack -ldl
//#Run: none
//#Run: ./libexecstack.so
//#Mode: pie nopie
#ifdef LIBEXECSTACK
int execstack;
#else
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>
static void show(void) {
    char line[512];
    FILE *maps = fopen("/proc/self/maps", "r");
    while (fgets(line, sizeof line, maps)) if (strstr(line, "[stack]")) printf("%.4s\n", strchr(line, ' ') + 1);
    fclose(maps);
}
int main(int argc, char **argv) {
    show();
    if (argc > 1 && argv[1][0] == '.' && !dlopen(argv[1], RTLD_NOW)) puts(dlerror());
    show();
    return 0;
}
#endif
