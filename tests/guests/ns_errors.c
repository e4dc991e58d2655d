// What dlmopen refuses, in glibc's words; how many namespaces there can be; and numbers that are free again.
//#Library: opened.so:
//#Library: bare.so: -nostdlib
//#Library: broken.so: -Wl,--unresolved-symbols=ignore-all
//#Library: libgone.so:
//#Library: lost.so: -L. -lgone
//#Shell: rm libgone.so
//#Program: -ldl
//#Normalise: requester
//#Run:
//#Run: GLIBC_TUNABLES=glibc.rtld.nns=16
//#Run: GLIBC_TUNABLES=glibc.rtld.nns=1
#define _GNU_SOURCE
#include <dlfcn.h>
#if defined BARE
int bare = 1;
#elif defined BROKEN
int nowhere(void);
int broken(void) { return nowhere(); }
#elif defined LIBGONE
int gone(void) { return 1; }
#elif defined LOST
int gone(void);
int lost(void) { return gone(); }
#elif defined OPENED
#include <stdlib.h>
void *opened(void) { return malloc(1); }
#else
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>
static Lmid_t number_of(void *handle) { Lmid_t number = -9; dlinfo(handle, RTLD_DI_LMID, &number); return number; }
static void *attempt(Lmid_t where, const char *file, int mode) {
    void *handle = dlmopen(where, file, mode);
    const char *error = dlerror();
    printf("%ld %s: %s\n", where, file ? file : "(null)", handle ? "opened" : error ? error : "nothing");
    return handle;
}
static void *wait(void *nothing) { pause(); return nothing; }
int main(void) {
    attempt(LM_ID_NEWLM, "./absent.so", RTLD_NOW);
    attempt(LM_ID_NEWLM, "./broken.so", RTLD_NOW);
    attempt(LM_ID_NEWLM, "./lost.so", RTLD_NOW);
    attempt(LM_ID_NEWLM, "./opened.so", 0);
    attempt(LM_ID_NEWLM, "./opened.so", RTLD_NOW | RTLD_GLOBAL);
    attempt(LM_ID_NEWLM, "./opened.so", RTLD_NOW | RTLD_NOLOAD);
    attempt(LM_ID_NEWLM, NULL, RTLD_NOW);
    attempt(LM_ID_BASE, NULL, RTLD_NOW);
    attempt(1, "./opened.so", RTLD_NOW);
    attempt(3, "./opened.so", RTLD_NOW);
    attempt(16, "./opened.so", RTLD_NOW);
    attempt(-3, "./opened.so", RTLD_NOW);
    void *bare[20];
    int count = 0;
    while (count < 20 && (bare[count] = attempt(LM_ID_NEWLM, "./bare.so", RTLD_NOW)))
        printf("number %ld\n", number_of(bare[count++]));
    attempt(LM_ID_BASE, "./bare.so", RTLD_NOW);
    attempt(5, "./bare.so", RTLD_NOW);
    if (dlclose(bare[4]) || dlclose(bare[4]) || dlclose(bare[2])) return 1;
    attempt(3, "./bare.so", RTLD_NOW);
    bare[2] = attempt(LM_ID_NEWLM, "./bare.so", RTLD_NOW);
    printf("number %ld\n", number_of(bare[2]));
    for (int index = 0; index < count; index++)
        if (index != 4 && dlclose(bare[index])) return 2;
    // With libc: as many as static TLS has room for. (Folio has more room as long as there is one thread.)
    pthread_t thread;
    if (pthread_create(&thread, NULL, wait, NULL)) return 1;
    int libcs = 0;
    while (libcs < 20 && attempt(LM_ID_NEWLM, "./opened.so", RTLD_NOW)) libcs++;
    printf("%d libcs\n", libcs);
    return 0;
}
#endif
