// Twelve threads open libraries with thread-local storage, call them, throw through them and close them, while others
// create threads and look at all objects: no mapping is left at the end.
//#Library: libbelow.so:
//#Library: libdynamic.so: -L. -lbelow
//#Library: libdescriptor.so: -mtls-dialect=gnu2 -L. -lbelow
//#Library: libstatic.so: -ftls-model=initial-exec -L. -lbelow
//#Library: libother.so:
//#Program: -ldl -Wl,--disable-new-dtags,-rpath,'$ORIGIN' -L. -Wl,-rpath-link,.
//#Env: MALLOC_ARENA_MAX=1
//#Expect: mappings left: 0
#include <stdexcept>
#if defined LIBBELOW
static thread_local int depth = 5;
extern "C" void below(int value) { if (depth == 5 && value) throw std::runtime_error("below"); }
#elif defined PROGRAM
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <dlfcn.h>
#include <link.h>
#include <pthread.h>
static std::atomic<bool> stop;
static std::atomic<long> rounds;
static const char *const names[] = {"libdynamic.so", "libdescriptor.so", "libstatic.so", "libother.so"};
static void fail(const char *what) { printf("%s: %s\n", what, dlerror()); _Exit(1); }
static void *work(void *argument) {
    unsigned seed = static_cast<unsigned>(reinterpret_cast<size_t>(argument));
    for (int i = 0; !stop; i++) {
        const char *name = names[rand_r(&seed) % 4];
        void *handle = dlopen(name, i % 2 ? RTLD_NOW : RTLD_LAZY);
        if (!handle) fail(name);
        auto call = reinterpret_cast<int (*)(int)>(dlsym(handle, "call"));
        if (!call) fail("dlsym");
        for (int value = 0; value < 2; value++) {
            try {
                if (call(value) != 42 || value) fail("no exception");
            } catch (const std::runtime_error &error) {
                if (!value) fail("exception");
            }
        }
        if (dlsym(handle, "nothing")) fail("nothing");
        dlerror();
        if (dlclose(handle)) fail("dlclose");
        rounds++;
    }
    return nullptr;
}
static int look(dl_phdr_info *info, size_t, void *sum) { *static_cast<size_t *>(sum) += info->dlpi_phnum; return 0; }
static void *watch(void *) {
    while (!stop) {
        size_t sum = 0;
        dl_iterate_phdr(look, &sum);
        Dl_info info;
        if (!sum || !dladdr(reinterpret_cast<void *>(&look), &info)) fail("look");
    }
    return nullptr;
}
static void *look_up(void *) {
    void *handle = dlopen("libother.so", RTLD_NOW | RTLD_NOLOAD);
    if (!handle) dlerror();
    return handle;
}
static pthread_attr_t small_stack;
static void *spawn(void *) {
    while (!stop) {
        pthread_t thread;
        void *handle;
        if (pthread_create(&thread, &small_stack, look_up, nullptr) || pthread_join(thread, &handle)) fail("thread");
        if (handle && dlclose(handle)) fail("dlclose");
    }
    return nullptr;
}
static int mappings() {
    int lines = 0;
    FILE *maps = fopen("/proc/self/maps", "r");
    for (int c; (c = getc(maps)) != EOF;) lines += c == '\n';
    fclose(maps);
    return lines;
}
static void run(int seconds) {
    stop = false;
    pthread_t threads[15];
    for (size_t i = 0; i < 15; i++) {
        auto role = i < 12 ? work : i == 12 ? spawn : watch;
        if (pthread_create(&threads[i], &small_stack, role, reinterpret_cast<void *>(i + 1))) fail("thread");
    }
    timespec pause = {seconds, 0};
    nanosleep(&pause, nullptr);
    stop = true;
    for (pthread_t thread : threads) pthread_join(thread, nullptr);
}
int main() {
    // libgcc prepares itself under pthread_once(3), which helgrind does not know.
    try { throw 1; } catch (int) {}
    pthread_attr_init(&small_stack);
    pthread_attr_setstacksize(&small_stack, 256 * 1024);
    // Thread stacks and the loader's own memory are there after the first run.
    run(1);
    int before = mappings();
    run(3);
    printf("mappings left: %d\n", mappings() - before);
    for (const char *name : names) if (dlopen(name, RTLD_NOW | RTLD_NOLOAD)) printf("%s is left\n", name);
    return rounds > 100 ? 0 : 3;
}
#else
extern "C" void below(int);
struct Witness {
    int *count;
    ~Witness() { --*count; }
};
static thread_local int answer = 42;
static thread_local int alive;
extern "C" int call(int value) {
    ++alive;
    Witness witness{&alive};
#ifdef LIBOTHER
    if (value) throw std::runtime_error("other");
#else
    below(value);
#endif
    return answer + alive - 1;
}
#endif
