// Many threads open and close namespaces at once, call, allocate and start threads inside; in the end there is no more of
// anything than in the beginning. (Libraries that need libstdc++
// would stay: it defines unique symbols. glibc runs out of static TLS here, for it only takes back what it gave last.)
//#Library: opened.so: -Wl,--as-needed
//#Library: keeper.so: -Wl,--as-needed
//#Program: -ldl
//#Only-on: folio
//#Env: GLIBC_TUNABLES=glibc.rtld.nns=16
#include <dlfcn.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <atomic>
#include <thread>
#include <vector>
#if defined OPENED
static thread_local char local[64] = "local";
extern "C" int work(int value) {
    char *copy = strdup(local);
    snprintf(local, sizeof local, "%.5s%d", copy, value);
    free(copy);
    return (int)strlen(local) - 5;
}
#elif defined KEEPER
extern "C" int kept(int value) { return value + 1; }
#else
static std::atomic<int> failures, rounds;
static void fail(const char *what) {
    const char *error = dlerror();
    fprintf(stderr, "%s: %s\n", what, error ? error : "");
    failures++;
}
static void one(int number) {
    for (int round = 0; round < 15; round++) {
        void *opened = dlmopen(LM_ID_NEWLM, "./opened.so", RTLD_NOW);
        if (!opened) { fail("open"); continue; }
        Lmid_t id;
        if (dlinfo(opened, RTLD_DI_LMID, &id) || id < 1 || id > 15) fail("number");
        auto work = (int (*)(int))dlsym(opened, "work");
        if (!work || work(5) != 1) fail("work");
        std::thread inside([&] { if (work(10) != 2) fail("inside"); });
        inside.join();
        if (dlclose(opened)) fail("close");
        rounds++;
    }
}
static int mappings() {
    FILE *maps = fopen("/proc/self/maps", "r");
    char line[4096];
    int files = 0;
    while (fgets(line, sizeof line, maps)) files += strchr(line, '/') != nullptr;
    fclose(maps);
    return files;
}
static int show(struct dl_phdr_info *, size_t, void *count) { return ++*(int *)count, 0; }
int main() {
    one(1);
    int before = mappings();
    void *keeper = dlmopen(LM_ID_NEWLM, "./keeper.so", RTLD_NOW);
    std::vector<std::thread> threads;
    for (int number = 0; number < 5; number++) threads.emplace_back(one, number);
    for (auto &thread : threads) thread.join();
    if (((int (*)(int))dlsym(keeper, "kept"))(6) != 7 || dlclose(keeper)) fail("keeper");
    int objects = 0;
    dl_iterate_phdr(show, &objects);
    // Of files: stacks of threads that have ended are kept, and each libc's malloc leaves its arenas behind.
    int grown = mappings() - before;
    printf("%d rounds, %d failures, %s\n", rounds.load(), failures.load(), grown == 0 ? "no leak" : "a leak");
    return failures != 0;
}
#endif
