// Programs read the CPUID leaves that the loader recorded: whoever asks, and however late it was bound, sees all of them.
//#Library: libasks.so:
//#Program: -ldl
//#Run: direct {dir}
//#Run: dlsym {dir}
//#Run: opened {dir}
//#Run: namespace {dir}
//#Run: GLIBC_TUNABLES=glibc.cpu.hwcaps=-AVX2,-XSAVEC opened {dir}
//#Expect: leaf 4
#define _GNU_SOURCE
#include <stdio.h>
#include <sys/platform/x86.h>
#if defined LIBASKS
typedef const struct cpuid_feature *reader(unsigned);
reader *leaf_reader(void) { return __x86_get_cpuid_feature_leaf; }
#else
#include <dlfcn.h>
#include <string.h>
typedef const struct cpuid_feature *reader(unsigned);
__attribute__((weak)) const struct cpuid_feature *__x86_get_cpuid_feature_leaf(unsigned);
static int show(reader *read) {
    if (!read) return 3;
    for (unsigned leaf = 0; leaf < 8; leaf++) {
        const struct cpuid_feature *feature = read(leaf);
        if (!feature) return 4;
        unsigned cpuid[4], active[4];
        memcpy(cpuid, feature->cpuid_array, sizeof cpuid);
        memcpy(active, feature->active_array, sizeof active);
        // The number of the processor that ran the loader.
        if (leaf == 0) cpuid[1] &= 0x00ffffff;
        printf("leaf %u: %x %x %x %x active %x %x %x %x\n", leaf, cpuid[0], cpuid[1], cpuid[2], cpuid[3], active[0],
               active[1], active[2], active[3]);
    }
    return 0;
}
int main(int argc, char **argv) {
    if (!strcmp(argv[1], "dlsym")) return show((reader *)dlsym(RTLD_DEFAULT, "__x86_get_cpuid_feature_leaf"));
    if (!strcmp(argv[1], "direct")) return show(__x86_get_cpuid_feature_leaf);
    char path[4096];
    snprintf(path, sizeof path, "%s/libasks.so", argv[2]);
    void *handle = strcmp(argv[1], "opened") ? dlmopen(LM_ID_NEWLM, path, RTLD_NOW) : dlopen(path, RTLD_LAZY);
    if (!handle) return 5;
    return show(((reader * (*)(void)) dlsym(handle, "leaf_reader"))());
}
#endif
