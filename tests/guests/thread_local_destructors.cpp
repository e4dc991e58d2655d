// Destructors of thread_local objects run at the end of their thread, and keep their library loaded until then.
//#Library: late.so:
//#Program: -ldl
#include <cstdio>
#include <dlfcn.h>
#include <thread>
struct Speaker {
    const char *name;
    explicit Speaker(const char *name) : name(name) {}
    ~Speaker() { std::printf("%s destroyed\n", name); }
};
#ifdef LATE
thread_local Speaker late("late");
extern "C" const char *touch() { return late.name; }
#else
thread_local Speaker own("own");
int main() {
    std::thread([] {
        std::puts(own.name);
        void *library = dlopen("./late.so", RTLD_NOW);
        if (!library) { std::puts(dlerror()); return; }
        std::puts(reinterpret_cast<const char *(*)()>(dlsym(library, "touch"))());
        dlclose(library);
        std::puts("thread ends");
    }).join();
    std::puts(own.name);
    std::puts("main ends");
    return 0;
}
#endif
