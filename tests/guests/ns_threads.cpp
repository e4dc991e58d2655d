// Threads that a namespace starts, their thread-local variables and exceptions; and threads of the program that enter a
// namespace whose libc is younger than they are.
//#Library: opened.so:
//#Program: -ldl
//#Mode: pie nopie
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ctype.h>
#include <errno.h>
#include <unistd.h>
#include <sys/wait.h>
#include <atomic>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>
#ifdef OPENED
static thread_local int calls = 40;
static std::atomic<int> finished;
struct Farewell { ~Farewell() { finished++; } };
extern "C" int throw_and_catch(int value) {
    static thread_local Farewell farewell;
    (void)farewell;
    try {
        calls++;
        std::string text(value + 20, 'x');
        throw std::runtime_error(text + std::to_string(value));
    } catch (const std::exception &error) {
        errno = value;
        char *copy = strdup(error.what());
        int result = calls * 1000 + (int)strlen(copy) + (errno == value ? 0 : 1000000);
        free(copy);
        return result;
    }
}
extern "C" int run_threads(int count) {
    std::vector<std::thread> threads;
    std::atomic<int> sum{0};
    for (int index = 0; index < count; index++)
        threads.emplace_back([&sum, index] {
            for (int round = 0; round < 50; round++) throw_and_catch(index);
            sum += calls;
        });
    for (auto &thread : threads) thread.join();
    return sum * 100 + finished;
}
extern "C" int fork_inside() {
    pid_t child = fork();
    if (child == 0) {
        void *again = dlopen("libm.so.6", RTLD_NOW);
        _exit(again && dlsym(again, "cos") && throw_and_catch(1) ? 7 : 8);
    }
    int status;
    if (waitpid(child, &status, 0) != child) return -1;
    return WEXITSTATUS(status);
}
extern "C" void *handler(void *) { pthread_exit((void *)5); }
extern "C" int cancelled() {
    pthread_t thread;
    void *result;
    if (pthread_create(&thread, nullptr, handler, nullptr) || pthread_join(thread, &result)) return -1;
    return (int)(long)result;
}
#else
#define _(name) ((int (*)(int))dlsym(opened, name))
static pthread_barrier_t barrier;
static void *opened;
static void *early(void *) {
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier);
    return (void *)(long)_("throw_and_catch")(3);
}
int main() {
    pthread_t threads[3];
    pthread_barrier_init(&barrier, nullptr, 4);
    for (auto &thread : threads) pthread_create(&thread, nullptr, early, nullptr);
    pthread_barrier_wait(&barrier);
    opened = dlmopen(LM_ID_NEWLM, "./opened.so", RTLD_NOW);
    if (!opened) { puts(dlerror()); return 1; }
    pthread_barrier_wait(&barrier);
    for (auto &thread : threads) {
        void *result;
        pthread_join(thread, &result);
        printf("early %ld\n", (long)result);
    }
    printf("inside %d\n", _("throw_and_catch")(2));
    printf("threads %d\n", _("run_threads")(8));
    printf("exit %d\n", _("cancelled")(0));
    printf("fork %d\n", _("fork_inside")(0));
    std::vector<std::thread> late;
    std::atomic<int> sum{0};
    for (int index = 0; index < 4; index++) late.emplace_back([&sum] { sum += _("throw_and_catch")(5); });
    for (auto &thread : late) thread.join();
    printf("late %d\n", sum.load());
    printf("closed %d\n", dlclose(opened));
    return 0;
}
#endif
