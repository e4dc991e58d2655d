// $ORIGIN where the loader is run with a program that is named by a roundabout path: through a symbolic link, or with dots.
//#Library: libnear.so: -DNEAR=1
//#Library: other/libnear.so: -DNEAR=2
//#Shell: ln -s ../program other/link
//#Program: -L. -lnear -ldl -Wl,-rpath,'$ORIGIN'
//#Loader: ./program
//#Loader: {dir}/program
//#Loader: {dir}/./other/../program
//#Loader: ./other/../program
//#Loader: ./other/link
//#Loader: {dir}/other/link
//#Loader: --library-path {dir}/other --inhibit-cache ./program
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#ifdef LIBNEAR
int near(void) { return NEAR; }
#else
int near(void);
int main(void) {
    char origin[4096];
    if (dlinfo(dlopen(NULL, RTLD_NOW), RTLD_DI_ORIGIN, origin)) return puts(dlerror()), 1;
    printf("near %d\n%s\n", near(), origin);
    void *again = dlopen("$ORIGIN/libnear.so", RTLD_NOW);
    printf("again %d\n", again ? ((int (*)(void))dlsym(again, "near"))() : -1);
    return 0;
}
#endif
