// The program's own file cannot be opened as a library, whichever way the program was started.
//#Program: -ldl
//#Mode: pie nopie
#include <dlfcn.h>
#include <stdio.h>
int main(void) {
    if (dlopen("./program", RTLD_LAZY | RTLD_NOLOAD)) return 1;
    puts(dlerror() ? "an error" : "no error");
    if (dlopen("./program", RTLD_LAZY)) return 2;
    puts(dlerror());
    return dlopen(NULL, RTLD_LAZY) ? 0 : 3;
}
