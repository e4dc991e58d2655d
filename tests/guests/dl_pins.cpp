// What keeps a library although it is closed: RTLD_NODELETE, DF_1_NODELETE, a unique symbol, a thread-local object whose
// destructor is still to run, a dlsym by the program; and that what it needs stays with it.
//#Library: libneeded.so:
//#Library: libmode.so: -L. -Wl,--no-as-needed -lneeded
//#Library: libflag.so: -Wl,-z,nodelete -L. -Wl,--no-as-needed -lneeded
//#Library: libunique.so:
//#Library: liblocal.so:
//#Library: libfound.so:
//#Library: libfree.so:
//#Library: libbroken.so: -Wl,--unresolved-symbols=ignore-all
//#Program: -ldl -Wl,--disable-new-dtags,-rpath,'$ORIGIN'
#include <cstdio>
#include <unistd.h>
static void say(const char *what, const char *who) {
    char line[80];
    if (write(1, line, snprintf(line, sizeof line, "%s %s\n", what, who)) < 0) _exit(9);
}
struct Object {
    const char *who;
    explicit Object(const char *who) : who(who) { say("construct", who); }
    ~Object() { say("destroy", who); }
};
#if defined LIBNEEDED
static Object object("needed");
#elif defined LIBMODE
static Object object("mode");
#elif defined LIBFLAG
static Object object("flag");
#elif defined LIBUNIQUE
static Object object("unique");
template <class T> struct Counter { static int value; };
template <class T> int Counter<T>::value = 1;
extern "C" int count() { return Counter<int>::value++; }
#elif defined LIBBROKEN
template <class T> struct Counter { static int value; };
template <class T> int Counter<T>::value = 1;
int nowhere();
extern "C" int count() { return Counter<long>::value++ + nowhere(); }
#elif defined LIBLOCAL
static Object object("local");
extern "C" void touch() { static thread_local Object per_thread("thread's own"); (void)per_thread; }
#elif defined LIBFOUND
static Object object("found");
extern "C" int found_function() { return 5; }
#elif defined LIBFREE
static Object object("free");
#else
#include <dlfcn.h>
#include <pthread.h>
#include <cstdlib>
#include <cstring>
#include <initializer_list>
static void loaded(const char *when) {
    printf("%s:", when);
    for (const char *name : {"needed", "mode", "flag", "unique", "local", "found", "free", "broken"}) {
        char file[64];
        snprintf(file, sizeof file, "lib%s.so", name);
        if (void *handle = dlopen(file, RTLD_NOW | RTLD_NOLOAD)) { printf(" %s", name); dlclose(handle); }
    }
    puts("");
}
static void *open_it(const char *name, int mode) {
    void *handle = dlopen(name, mode);
    if (!handle) { puts(dlerror()); exit(1); }
    return handle;
}
static pthread_barrier_t barrier;
static void *local;
static void *run(void *) {
    reinterpret_cast<void (*)()>(dlsym(local, "touch"))();
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier);
    return nullptr;
}
int main() {
    setvbuf(stdout, nullptr, _IONBF, 0);
    dlclose(open_it("libfree.so", RTLD_NOW | RTLD_GLOBAL));
    loaded("free");
    dlclose(open_it("libmode.so", RTLD_NOW | RTLD_NODELETE));
    loaded("mode");
    dlclose(open_it("libflag.so", RTLD_NOW));
    loaded("flag");
    void *unique = open_it("libunique.so", RTLD_NOW);
    printf("count %d\n", reinterpret_cast<int (*)()>(dlsym(unique, "count"))());
    dlclose(unique);
    loaded("unique");
    unique = open_it("libunique.so", RTLD_NOW);
    printf("count %d\n", reinterpret_cast<int (*)()>(dlsym(unique, "count"))());
    // A unique name whose library cannot be opened after all pins nothing.
    for (int i = 0; i < 3; i++) if (!dlopen("libbroken.so", RTLD_NOW)) puts(strrchr(dlerror(), '/'));
    loaded("broken");
    // A thread's object outlives the handle.
    pthread_barrier_init(&barrier, nullptr, 2);
    local = open_it("liblocal.so", RTLD_NOW);
    pthread_t thread;
    pthread_create(&thread, nullptr, run, nullptr);
    pthread_barrier_wait(&barrier);
    dlclose(local);
    loaded("local, thread running");
    pthread_barrier_wait(&barrier);
    pthread_join(thread, nullptr);
    loaded("local, thread gone");
    // The next dlclose of anything sees that nobody needs it.
    dlclose(open_it("libfree.so", RTLD_NOW));
    loaded("another closed");
    // What the program found by dlsym(RTLD_DEFAULT) it may use for good.
    void *found = open_it("libfound.so", RTLD_NOW | RTLD_GLOBAL);
    void *function = dlsym(RTLD_DEFAULT, "found_function");
    dlclose(found);
    loaded("found");
    printf("%d\n", reinterpret_cast<int (*)()>(function)());
    return 0;
}
#endif
