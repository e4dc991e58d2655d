// Where libraries look symbols up once the library that had them loaded is closed, promotion to RTLD_GLOBAL with and without
// RTLD_NOLOAD, opening a library that was loaded as a dependency, RTLD_DEEPBIND, and RTLD_NEXT without a loader.
//#Library: libbottom.so:
//#Library: libdependency.so: -L. -lbottom
//#Library: libroot.so: -L. -ldependency -Wl,-rpath-link,.
//#Library: libsecond.so: -L. -ldependency -Wl,-rpath-link,.
//#Library: libdeep.so:
//#Library: liblazy.so: -Wl,--unresolved-symbols=ignore-all -Wl,-z,lazy
//#Program: -ldl -rdynamic -Wl,--disable-new-dtags,-rpath,'$ORIGIN'
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
typedef int function(void);
#if defined LIBBOTTOM
int bottom(void) { return 1; }
int shared_name(void) { return 101; }
#elif defined LIBDEPENDENCY
int bottom(void);
int dependency(void) { return bottom() + 1; }
int shared_name(void) { return 102; }
void *find(const char *name) { return dlsym(RTLD_DEFAULT, name); }
void *find_next(const char *name) { return dlsym(RTLD_NEXT, name); }
#elif defined LIBROOT
int dependency(void);
int root(void) { return dependency() + 10; }
int shared_name(void) { return 103; }
#elif defined LIBSECOND
int dependency(void);
int second(void) { return dependency() + 20; }
int shared_name(void) { return 104; }
#elif defined LIBDEEP
int interposed(void) { return 2; }
int deep(void) { return interposed(); }
#elif defined LIBLAZY
int root(void);
int lazy(void) { return root(); }
#else
int interposed(void) { return 3; }
static int call(void *handle, const char *name) {
    function *found = (function *)dlsym(handle, name);
    if (!found) { printf("%s\n", dlerror()); return -1; }
    return found();
}
static void *open_it(const char *name, int mode) {
    void *handle = dlopen(name, mode);
    if (!handle) { puts(dlerror()); exit(1); }
    return handle;
}
static void look(void *dependency, const char *when) {
    void *(*find)(const char *) = (void *(*)(const char *))dlsym(dependency, "find");
    void *(*find_next)(const char *) = (void *(*)(const char *))dlsym(dependency, "find_next");
    function *found = (function *)find("shared_name"), *next = (function *)find_next("shared_name");
    function *root = (function *)find("root"), *second = (function *)find("second");
    printf("%s: default %d next %d root %d second %d\n", when, found ? found() : 0, next ? next() : 0, root ? root() : 0,
           second ? second() : 0);
}
int main(void) {
    void *root = open_it("libroot.so", RTLD_NOW);
    printf("%d\n", call(root, "root"));
    void *dependency = open_it("libdependency.so", RTLD_NOW);
    look(dependency, "root and dependency");
    void *second = open_it("libsecond.so", RTLD_NOW);
    look(dependency, "second too");
    if (dlclose(root)) return 2;
    look(dependency, "root closed");
    if (dlclose(second)) return 3;
    look(dependency, "second closed");
    if (dlclose(dependency)) return 4;
    printf("%s\n", dlopen("libdependency.so", RTLD_NOW | RTLD_NOLOAD) ? "there" : "gone");
    printf("%s\n", dlopen("libbottom.so", RTLD_NOW | RTLD_NOLOAD) ? "there" : "gone");

    // A dependency that outlives its loader without ever having been opened.
    root = open_it("libroot.so", RTLD_NOW);
    second = open_it("libsecond.so", RTLD_NOW);
    if (dlclose(root)) return 5;
    printf("%d\n", call(second, "second"));
    look(second, "never opened");
    // Promotion.
    if (dlsym(RTLD_DEFAULT, "second")) return 6;
    void *promoted = open_it("libsecond.so", RTLD_NOW | RTLD_NOLOAD | RTLD_GLOBAL);
    if (promoted != second) return 7;
    void *self = dlopen(NULL, RTLD_NOW);
    printf("%d %d\n", call(self, "dependency"), call(self, "bottom"));
    if (dlclose(second) || dlclose(promoted)) return 8;
    printf("%s\n", dlsym(self, "dependency") ? "still global" : dlerror());
    printf("%s\n", dlopen("libsecond.so", RTLD_NOW | RTLD_NOLOAD) ? "there" : "gone");
    // A global dependency loaded by a local root.
    root = open_it("libroot.so", RTLD_LAZY);
    dependency = open_it("libdependency.so", RTLD_LAZY | RTLD_GLOBAL);
    printf("%d\n", call(self, "dependency"));
    printf("%s\n", dlsym(self, "root") ? "root is global" : dlerror());
    if (dlclose(dependency)) return 9;
    printf("%d\n", call(self, "dependency"));
    if (dlclose(root)) return 10;
    printf("%s\n", dlsym(self, "dependency") ? "still global" : dlerror());
    // A library opened lazily whose function appears later.
    void *lazy = open_it("liblazy.so", RTLD_LAZY);
    root = open_it("libroot.so", RTLD_NOW | RTLD_GLOBAL);
    printf("%d\n", call(lazy, "lazy"));
    if (dlclose(root)) return 11;
    printf("%d\n", call(lazy, "lazy"));
    if (dlclose(lazy)) return 12;
    printf("%s\n", dlopen("libroot.so", RTLD_NOW | RTLD_NOLOAD) ? "there" : "gone");

    void *deep = open_it("libdeep.so", RTLD_NOW);
    printf("%d\n", call(deep, "deep"));
    if (dlclose(deep)) return 13;
    deep = open_it("libdeep.so", RTLD_NOW | RTLD_DEEPBIND);
    printf("%d\n", call(deep, "deep"));
    if (dlclose(deep)) return 14;
    return 0;
}
#endif
