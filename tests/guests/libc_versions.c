// Two versions of one name in libc itself: memcpy@GLIBC_2.2.5 and memcpy@@GLIBC_2.14 are different functions.
//#Program: -ldl
#define _GNU_SOURCE
#include <dlfcn.h>
#include <string.h>
void *old_memcpy(void *, const void *, unsigned long);
__asm__(".symver old_memcpy, memcpy@GLIBC_2.2.5");
int main(void) {
    char text[32] = "0123456789";
    old_memcpy(text + 2, text, 8);
    if (strcmp(text, "0101234567")) return 1;
    if (!dlvsym(RTLD_DEFAULT, "memcpy", "GLIBC_2.14")) return 2;
    if (dlvsym(RTLD_DEFAULT, "realpath", "GLIBC_2.2.5") == dlvsym(RTLD_DEFAULT, "realpath", "GLIBC_2.3")) return 3;
    if (dlsym(RTLD_DEFAULT, "realpath") != dlvsym(RTLD_DEFAULT, "realpath", "GLIBC_2.3")) return 4;
    return 0;
}
