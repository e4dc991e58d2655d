// An auditor sends searches elsewhere, by the name that is asked for or by the path that is tried, and makes libraries missing.
//#Library: libaudit.so:
//#Library: liba.so: -DANSWER=1
//#Shell: mkdir other && printf 'int answer(void) { return 2; }' | gcc -x c -shared -fPIC -Wl,-soname,liba.so -o other/liba.so -
//#Shell: printf 'int answer(void) { return 3; }' | gcc -x c -shared -fPIC -o libthird.so -
//#Program: -L. -la -ldl -Wl,-rpath,'$ORIGIN'
//#Run: LD_AUDIT={dir}/libaudit.so HERE={dir}
//#Expect: known 1
//#Run: LD_AUDIT={dir}/libaudit.so HERE={dir} REDIRECT_NAME=1
//#Run: LD_AUDIT={dir}/libaudit.so HERE={dir} REDIRECT_PATH=1
//#Run: LD_AUDIT={dir}/libaudit.so HERE={dir} REFUSE_PATH=1 LD_LIBRARY_PATH={dir}/other
//#Run: LD_AUDIT={dir}/libaudit.so HERE={dir} REFUSE_OPENED=1
#if defined LIBAUDIT
#define _GNU_SOURCE
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
unsigned la_version(unsigned version) { return version; }
static char path[4096];
char *la_objsearch(const char *name, uintptr_t *cookie, unsigned what) {
    const char *slash = strrchr(name, '/');
    if (getenv("REFUSE_OPENED") && strstr(name, "libthird")) return 0;
    if (strcmp(slash ? slash + 1 : name, "liba.so")) return (char *)name;
    snprintf(path, sizeof path, "%s/other/liba.so", getenv("HERE"));
    if (getenv("REDIRECT_NAME") && what == LA_SER_ORIG) return path;
    if (getenv("REDIRECT_PATH") && what == LA_SER_RUNPATH) return path;
    if (getenv("REFUSE_PATH") && what == LA_SER_RUNPATH) return 0;
    return (char *)name;
}
#elif defined LIBA
int answer(void) { return ANSWER; }
#else
#define _GNU_SOURCE
#include <dlfcn.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
int answer(void);
static int show(struct dl_phdr_info *info, size_t size, void *data) {
    if (strstr(info->dlpi_name, "liba.so") || strstr(info->dlpi_name, "libthird")) printf("loaded %s\n", strstr(info->dlpi_name, "other/") ?: strrchr(info->dlpi_name, '/'));
    return 0;
}
int main(void) {
    printf("answer %d\n", answer());
    printf("known %d\n", dlopen("liba.so", RTLD_NOW | RTLD_NOLOAD) != 0);
    char third[4096];
    snprintf(third, sizeof third, "%s/libthird.so", getenv("HERE"));
    printf("third %d\n", dlopen(third, RTLD_NOW) != 0);
    return dl_iterate_phdr(show, 0);
}
#endif
