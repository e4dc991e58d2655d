// Threads that all open, call, throw past and close the same libraries, and allocate meanwhile.
#include <dlfcn.h>
#include <iostream>
#include <map>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>
static int open_and_call(const char *name, int n) {
    void *handle = dlopen(name, RTLD_NOW);
    if (!handle) throw std::runtime_error(dlerror());
    int result = reinterpret_cast<int (*)(int)>(dlsym(handle, "plugged"))(n);
    reinterpret_cast<void (*)()>(dlsym(handle, "forget"))();
    dlclose(handle);
    if (result > 0) throw std::out_of_range("thrown past a closed library");
    return result;
}
int main() {
    // Once before there are threads: race detectors do not see that libgcc fills its tables only once.
    try {
        throw std::out_of_range("first");
    } catch (const std::out_of_range &) {
    }
    std::vector<std::thread> threads;
    std::vector<size_t> sums(6);
    for (int t = 0; t < 6; t++)
        threads.emplace_back([t, &sums] {
            for (int round = 0; round < 12; round++) {
                std::map<int, std::string> words;
                for (int n = 0; n < 100; n++) words[n * 7919 % 1000] = std::string(n % 300, 'x');
                try {
                    open_and_call(t % 2 ? "./libplugin.so" : "./libsecond.so", round);
                } catch (const std::out_of_range &) {
                    sums[t] += words.size();
                }
            }
        });
    size_t sum = 0;
    for (auto &thread : threads) thread.join();
    for (size_t part : sums) sum += part;
    std::cout << sum << std::endl;
}
