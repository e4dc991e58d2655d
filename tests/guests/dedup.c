// One file is one object, whether by soname, by symbolic link, by hard link or by another spelling of the path.
//#Library: libone.so.1: -Wl,-soname,libone.so.1
//#Shell: ln -sf libone.so.1 libone.so; ln -f libone.so.1 libhard.so; mkdir -p sub; ln -sf ../libone.so.1 sub/link.so; cp libone.so.1 copy.so
//#Program: -L. -l:libone.so.1 -Wl,-rpath,'$ORIGIN'
#ifdef LIBONE
static int constructed;
__attribute__((constructor)) static void construct(void) { constructed++; }
int count(void) { return constructed; }
#else
#include <dlfcn.h>
#include <stdio.h>
int count(void);
int main(void) {
    const char *const names[] = {"libone.so.1", "./libone.so.1", "./libone.so", "./libhard.so", "./sub/link.so", "sub/../sub/link.so"};
    void *first = dlopen(names[0], RTLD_NOW);
    if (!first) return 1;
    for (int i = 1; i < 6; i++) {
        void *again = dlopen(names[i], RTLD_NOW);
        if (again != first) { printf("%s is another object\n", names[i]); return 2; }
    }
    if (count() != 1) return 3;
    void *copy = dlopen("./copy.so", RTLD_NOW);
    // The copy's soname is that of an object that is loaded, but a path is matched by file, not by soname.
    printf("copy is %s\n", copy == first ? "the same" : "another");
    return 0;
}
#endif
