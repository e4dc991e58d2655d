// A hundred and twenty modules opened and closed by some threads and used by others: each new one begins with its image,
// whichever id it was given; a thread's destructors keep the library that they are in.
//#Library: libmodule.so:
//#Shell: for i in $(seq 120); do cp libmodule.so libmodule$i.so; done
//#Library: libdestructor.so:
//#Program: -Wl,--disable-new-dtags,-rpath,'$ORIGIN' -ldl
//#Expect: wrong: 0
#if defined LIBMODULE
static thread_local int small = 5;
static thread_local char large[5000] = {1, 2};
extern "C" int use() {
    int good = small == 5 && large[0] == 1 && large[1] == 2 && !large[4999];
    small = large[0] = large[4999] = 9;
    return good;
}
#elif defined LIBDESTRUCTOR
#include <cstdio>
struct Witness {
    int value = 1;
    ~Witness() { printf("destroyed %d\n", value); }
};
static thread_local Witness witness;
extern "C" int use() { return witness.value++; }
#else
#include <atomic>
#include <cstdio>
#include <dlfcn.h>
#include <pthread.h>
static std::atomic<int> wrong;
static const int MODULES = 120, THREADS = 6;
static void *handles[MODULES + 1];
static pthread_barrier_t barrier;
static void open_one(int i) {
    char name[40];
    snprintf(name, sizeof name, "libmodule%d.so", i);
    handles[i] = dlopen(name, i % 2 ? RTLD_NOW : RTLD_LAZY);
    if (!handles[i]) wrong++;
}
static void use(int i) {
    auto use = reinterpret_cast<int (*)()>(dlsym(handles[i], "use"));
    if (!use || !use()) wrong++;
}
static void *work(void *argument) {
    int self = static_cast<int>(reinterpret_cast<size_t>(argument));
    for (int round = 0; round < 6; round++) {
        for (int i = 1 + self; i <= MODULES; i += THREADS) open_one(i);
        pthread_barrier_wait(&barrier);
        // Some threads use modules in one round and not in the next.
        for (int i = 1; i <= MODULES; i++) if ((i + self + round) % 3) use(i);
        pthread_barrier_wait(&barrier);
        for (int i = 1 + self; i <= MODULES; i += THREADS) {
            if (dlclose(handles[i])) wrong++;
            handles[i] = nullptr;
        }
        pthread_barrier_wait(&barrier);
    }
    return nullptr;
}
static bool is_loaded() { return dlopen("libdestructor.so", RTLD_NOW | RTLD_NOLOAD) != nullptr; }
static void *destroy(void *) {
    void *handle = dlopen("libdestructor.so", RTLD_NOW);
    auto use = reinterpret_cast<int (*)()>(dlsym(handle, "use"));
    printf("used %d\n", use() + use());
    dlclose(handle);
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier);
    return nullptr;
}
int main() {
    pthread_barrier_init(&barrier, nullptr, THREADS);
    pthread_t threads[THREADS];
    for (size_t i = 0; i < THREADS; i++) pthread_create(&threads[i], nullptr, work, reinterpret_cast<void *>(i));
    for (pthread_t thread : threads) pthread_join(thread, nullptr);
    printf("wrong: %d\n", wrong.load());
    pthread_barrier_init(&barrier, nullptr, 2);
    pthread_create(&threads[0], nullptr, destroy, nullptr);
    pthread_barrier_wait(&barrier);
    bool during = is_loaded();
    if (during) dlclose(dlopen("libdestructor.so", RTLD_NOW | RTLD_NOLOAD));
    pthread_barrier_wait(&barrier);
    pthread_join(threads[0], nullptr);
    printf("%d during, %d after\n", during, is_loaded());
    return 0;
}
#endif
