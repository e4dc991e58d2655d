// Calls from many threads under the eyes of an auditor: arguments and results are each thread's own, exceptions pass, and
// libraries come and go meanwhile.
//#Library: libaudit.so:
//#Library: libwork.so: -Wl,-z,lazy
//#Program: -pthread -ldl -Wl,-z,lazy
//#Run: LD_AUDIT={dir}/libaudit.so {dir}
//#Expect: 8 threads
#if defined LIBAUDIT
#include <atomic>
#include <cstring>
#include <link.h>
#include <unistd.h>
static std::atomic<long> entered, left;
extern "C" {
unsigned la_version(unsigned version) { return version; }
unsigned la_objopen(link_map *map, Lmid_t, uintptr_t *cookie) {
    *cookie = std::strstr(map->l_name, "libwork") != nullptr;
    return LA_FLG_BINDTO | LA_FLG_BINDFROM;
}
uintptr_t la_symbind64(Elf64_Sym *symbol, unsigned, uintptr_t *, uintptr_t *, unsigned *, const char *) { return symbol->st_value; }
Elf64_Addr la_x86_64_gnu_pltenter(Elf64_Sym *symbol, unsigned, uintptr_t *from, uintptr_t *, La_x86_64_regs *, unsigned *,
                                  const char *name, long *frame) {
    if (*from && !std::strcmp(name, "take_step")) entered++, *frame = 64;
    return symbol->st_value;
}
unsigned la_x86_64_gnu_pltexit(Elf64_Sym *, unsigned, uintptr_t *, uintptr_t *, const La_x86_64_regs *, La_x86_64_retval *results,
                               const char *) {
    left++;
    results->lrv_rax += 1;
    return 0;
}
unsigned la_objclose(uintptr_t *cookie) {
    if (*cookie && entered && left && entered < left) _exit(9);
    return 0;
}
}
#elif defined LIBWORK
#include <stdexcept>
extern "C" __attribute__((noinline)) long take_step(long value) {
    if (value % 7 == 0) throw std::runtime_error("seven");
    return value;
}
extern "C" long run(long from) {
    long total = 0;
    for (long i = from; i < from + 50; i++) {
        try { total += take_step(i) - i; } catch (const std::runtime_error &) { total += 1; }
    }
    return total;
}
#else
#include <cstdio>
#include <dlfcn.h>
#include <string>
#include <thread>
#include <vector>
int main(int, char **argv) {
    std::vector<std::thread> threads;
    std::vector<long> results(8);
    for (int number = 0; number < 8; number++)
        threads.emplace_back([&, number] {
            for (int round = 0; round < 40; round++) {
                void *handle = dlopen((std::string(argv[1]) + "/libwork.so").c_str(), RTLD_LAZY);
                if (!handle) std::puts(dlerror()), std::exit(2);
                auto run = reinterpret_cast<long (*)(long)>(dlsym(handle, "run"));
                results[number] += run(number * 100 + round);
                dlclose(handle);
            }
        });
    for (auto &thread : threads) thread.join();
    for (long result : results) if (result != 40 * 50) return std::printf("%ld\n", result), 3;
    std::printf("%zu threads\n", threads.size());
}
#endif
