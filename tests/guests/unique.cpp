// STB_GNU_UNIQUE: a static of an inline function is one object in the process, even between libraries that were opened
// with RTLD_LOCAL and do not see each other.
//#Library: one.so:
//#Library: two.so:
//#Program: -ldl
#include <dlfcn.h>
#include <cstdio>
inline int &counter() { static int count = 0; return count; }
template <typename T> struct Holder { static T value; };
template <typename T> T Holder<T>::value = T(5);
#if defined ONE || defined TWO
extern "C" int *counter_address() { counter()++; return &counter(); }
extern "C" int *holder_address() { return &Holder<int>::value; }
#else
using Address = int *(*)();
int main() {
    void *one = dlopen("./one.so", RTLD_NOW | RTLD_LOCAL), *two = dlopen("./two.so", RTLD_NOW | RTLD_LOCAL);
    if (!one || !two) { std::puts(dlerror()); return 1; }
    auto a = Address(dlsym(one, "counter_address")), b = Address(dlsym(two, "counter_address"));
    if (a() != b() || *a() != 3) return 2;
    a = Address(dlsym(one, "holder_address")), b = Address(dlsym(two, "holder_address"));
    if (a() != b() || *b() != 5) return 3;
    // A library that defines a unique symbol that is in use is never unloaded.
    if (dlclose(one) || dlclose(two)) return 4;
    std::puts(dlopen("./one.so", RTLD_NOW | RTLD_NOLOAD) ? "stays" : "gone");
    return 0;
}
#endif
