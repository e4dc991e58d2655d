// Sixty-four threads open libraries with thread-local storage, call them, throw through them and close them; two of them
// fork meanwhile, and the child opens, calls, throws and closes too. No mapping is left at the end.
//#Library: libbelow.so:
//#Library: libdynamic.so: -L. -lbelow
//#Library: libdescriptor.so: -mtls-dialect=gnu2 -L. -lbelow
//#Library: libstatic.so: -ftls-model=initial-exec -L. -lbelow
//#Library: libother.so:
//#Program: -ldl -Wl,--disable-new-dtags,-rpath,'$ORIGIN' -L. -Wl,-rpath-link,.
//#Env: MALLOC_ARENA_MAX=1
//#Only-on: folio
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
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>
static std::atomic<bool> stop;
static std::atomic<long> rounds, forks;
static const char *const names[] = {"libdynamic.so", "libdescriptor.so", "libstatic.so", "libother.so"};
static int fail(const char *what) {
    const char *error = dlerror();
    fprintf(stderr, "%s: %s\n", what, error ? error : "");
    _exit(1);
}
static void open_and_call(unsigned *seed) {
    const char *name = names[rand_r(seed) % 4];
    void *handle = dlopen(name, rand_r(seed) % 2 ? RTLD_NOW : RTLD_LAZY);
    if (!handle) fail(name);
    auto call = reinterpret_cast<int (*)(int)>(dlsym(handle, "call"));
    if (!call) fail("dlsym");
    for (int value = 0; value < 2; value++) {
        try {
            if (call(value) != 42 || value) fail("no exception");
        } catch (const std::runtime_error &) {
            if (!value) fail("exception");
        }
    }
    if (dlsym(handle, "nothing")) fail("nothing");
    dlerror();
    if (dlclose(handle)) fail("dlclose");
    rounds++;
}
static void *work(void *argument) {
    for (auto seed = static_cast<unsigned>(reinterpret_cast<size_t>(argument)); !stop;) open_and_call(&seed);
    return nullptr;
}
static void *work_with_arg(void *) {
    unsigned seed = 1;
    open_and_call(&seed);
    return nullptr;
}
static void *fork_too(void *argument) {
    auto seed = static_cast<unsigned>(reinterpret_cast<size_t>(argument));
    while (!stop) {
        pid_t child = fork();
        if (child < 0) fail("fork");
        if (child == 0) {
            alarm(30);
            for (int i = 0; i < 8; i++) open_and_call(&seed);
            pthread_t thread;
            if (pthread_create(&thread, nullptr, work_with_arg, nullptr) || pthread_join(thread, nullptr)) _exit(2);
            _exit(7);
        }
        int status;
        if (waitpid(child, &status, 0) != child || !WIFEXITED(status) || WEXITSTATUS(status) != 7) {
            fprintf(stderr, "child: %#x\n", status);
            _exit(1);
        }
        rand_r(&seed);
        forks++;
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
static void run(int seconds, size_t threads) {
    stop = false;
    pthread_t ids[64];
    pthread_attr_t small_stack;
    pthread_attr_init(&small_stack);
    pthread_attr_setstacksize(&small_stack, 256 * 1024);
    for (size_t i = 0; i < threads; i++)
        if (pthread_create(&ids[i], &small_stack, i < 2 ? fork_too : work, reinterpret_cast<void *>(i + 1))) fail("thread");
    timespec pause = {seconds, 0};
    nanosleep(&pause, nullptr);
    stop = true;
    for (size_t i = 0; i < threads; i++) pthread_join(ids[i], nullptr);
}
int main(int argc, char **argv) {
    // libgcc prepares itself under pthread_once(3), which helgrind does not know.
    try { throw 1; } catch (int) {}
    const char *all = getenv("FOLIO_ALL");
    size_t threads = argc > 1 ? atoi(argv[1]) : 64;
    int seconds = argc > 2 ? atoi(argv[2]) : all && *all == '1' ? 60 : 4;
    // Thread stacks and the loader's own memory are there after the first run.
    run(1, threads);
    int before = mappings();
    run(seconds, threads);
    int left = mappings() - before;
    for (const char *name : names) if (dlopen(name, RTLD_NOW | RTLD_NOLOAD)) fail("still loaded");
    fprintf(stderr, "mappings left: %d, rounds %ld, forks %ld\n", left, rounds.load(), forks.load());
    return left != 0 ? 3 : rounds > 100 && forks > 4 ? 0 : 4;
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
