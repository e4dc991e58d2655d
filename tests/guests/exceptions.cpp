// C++ exceptions thrown in one library, passed through a second, caught in the program, also from a dlopened one and
// out of a callback; type information compares equal between libraries; a cleanup runs on the way.
//#Library: libthrow.so:
//#Library: libpass.so: -L. -lthrow -Wl,-rpath,'$ORIGIN'
//#Library: late.so: -L. -lthrow -Wl,-rpath,'$ORIGIN'
//#Program: -L. -lpass -lthrow -Wl,-rpath,'$ORIGIN' -ldl
//#Mode: pie nopie
#include <cstdio>
#include <dlfcn.h>
#include <stdexcept>
#include <thread>
struct Fault : std::runtime_error { using std::runtime_error::runtime_error; };
struct Cleanup { int &count; ~Cleanup() { count++; } };
void throw_it(int depth);
int pass_it(int depth);
#if defined LIBTHROW
void throw_it(int depth) { if (depth) throw_it(depth - 1); else throw Fault("fault"); }
#elif defined LIBPASS
int pass_it(int depth) { int count = 0; try { Cleanup cleanup{count}; throw_it(depth); } catch (Fault &) { if (count != 1) return -1; throw; } return 0; }
#elif defined LATE
extern "C" int late() { try { throw_it(3); } catch (std::exception &fault) { return fault.what()[0]; } return 0; }
extern "C" void late_throw() { throw Fault("late"); }
#else
static int check() {
    try { pass_it(5); return 1; } catch (Fault &fault) { if (std::string("fault") != fault.what()) return 2; }
    void *library = dlopen("./late.so", RTLD_NOW);
    if (!library) { std::puts(dlerror()); return 3; }
    if (reinterpret_cast<int (*)()>(dlsym(library, "late"))() != 'f') return 4;
    try { reinterpret_cast<void (*)()>(dlsym(library, "late_throw"))(); return 5; } catch (const Fault &fault) { std::puts(fault.what()); }
    dlclose(library);
    try { throw 5; } catch (int value) { return value == 5 ? 0 : 6; }
    return 7;
}
int main() {
    if (int failed = check()) return failed;
    int failed = 0;
    std::thread threads[4];
    for (auto &thread : threads) thread = std::thread([&] { for (int i = 0; i < 50; i++) if (int f = check()) failed = f; });
    for (auto &thread : threads) thread.join();
    return failed;
}
#endif
