// A module of thread-local storage is given its place in static TLS, by the opening of a library with an initial-exec
// reference to it, in the very moment in which threads use it for the first time: what they write is not overwritten by
// the module's image. Who is first decides; if it is a thread, the library cannot be opened (and glibc says so too).
//#Library: libowner.so:
//#Library: libplacer.so: -ftls-model=initial-exec -L. -lowner
//#Program: -ldl -Wl,--disable-new-dtags,-rpath,'$ORIGIN' -L. -Wl,-rpath-link,.
//#Expect: lost: 0
#if defined LIBOWNER
// Large, so that copying it takes a while.
thread_local int numbers[256] = {1, 2, 3};
extern "C" int *at(int index) { return &numbers[index]; }
#elif defined LIBPLACER
extern thread_local int numbers[256];
int place() { return numbers[2]; }
#else
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <dlfcn.h>
#include <pthread.h>
static const int sleepers = 400;
static std::atomic<int *(*)(int)> function;
static std::atomic<bool> begun;
static std::atomic<long> moment;
static std::atomic<int> lost;
static pthread_barrier_t both, all;
static void fail(const char *what) { printf("%s: %s\n", what, dlerror()); _Exit(1); }
static long now() {
    timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000000000 + time.tv_nsec;
}
static void *use(void *) {
    for (;;) {
        pthread_barrier_wait(&both);
        auto at = function.load();
        if (!at) return nullptr;
        while (!begun) {}
        while (now() < moment) {}
        int *number = at(3);
        *number = 5;
        pthread_barrier_wait(&both);
        // Now the library is open, or has been refused.
        if (*number != 5 || at(3) != number || *at(1) != 2) lost++;
        pthread_barrier_wait(&both);
    }
}
static void *sleep_on(void *) { pthread_barrier_wait(&all); return nullptr; }
int main() {
    pthread_barrier_init(&both, nullptr, 2);
    pthread_barrier_init(&all, nullptr, sleepers + 1);
    pthread_attr_t small_stack;
    pthread_attr_init(&small_stack);
    pthread_attr_setstacksize(&small_stack, 64 * 1024);
    pthread_t user, threads[sleepers];
    // The blocks of threads that only sleep are filled too, and before that of the user, which is older.
    if (pthread_create(&user, nullptr, use, nullptr)) fail("thread");
    for (auto &thread : threads) if (pthread_create(&thread, &small_stack, sleep_on, nullptr)) fail("thread");
    unsigned seed = 1;
    long duration = 0, end = now() + 3000000000;
    int placed = 0;
    do {
        void *owner = dlopen("libowner.so", RTLD_NOW);
        if (!owner) fail("libowner.so");
        function = reinterpret_cast<int *(*)(int)>(dlsym(owner, "at"));
        begun = false;
        pthread_barrier_wait(&both);
        long begin = now();
        moment = begin + (duration ? rand_r(&seed) % duration : 0);
        begun = true;
        void *placer = dlopen("libplacer.so", RTLD_NOW);
        if (placer) duration = now() - begin;
        pthread_barrier_wait(&both);
        pthread_barrier_wait(&both);
        if (placer ? dlclose(placer) : !dlerror()) fail("libplacer.so");
        placed += placer != nullptr;
        if (dlclose(owner)) fail("dlclose");
    } while (now() < end && !lost);
    function = nullptr;
    pthread_barrier_wait(&both);
    pthread_join(user, nullptr);
    pthread_barrier_wait(&all);
    for (auto &thread : threads) pthread_join(thread, nullptr);
    printf("lost: %d\n", lost.load());
    if (!placed) return 2;
    return lost != 0;
}
#endif
