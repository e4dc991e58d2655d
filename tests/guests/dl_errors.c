// What dlerror says, word for word: files that are no libraries, missing dependencies and symbols, wrong uses of handles.
//#Shell: echo "V_1 { global: plain; local: *; };" > plain.map
//#Library: plain.so: -Wl,--version-script=plain.map
//#Shell: printf 'int gone;' | gcc -x c -shared -fPIC -o libgone.so -Wl,-soname,libgone.so -
//#Library: middle.so: -L. -Wl,--no-as-needed -lgone
//#Shell: rm libgone.so
//#Library: outer.so: -L. -Wl,--no-as-needed -l:middle.so -Wl,-rpath,'$ORIGIN' -Wl,--allow-shlib-undefined
//#Library: undefined.so: -Wl,--unresolved-symbols=ignore-all
//#Library: static_tls.so: -ftls-model=initial-exec
//#Library: noopen.so: -Wl,-z,nodlopen
//#Shell: echo text > text.so; echo 'int main(){return 0;}' | gcc -x c -pie -fPIE -o pie - ; echo 'int main(){return 0;}' | gcc -x c -no-pie -o nopie -
//#Program: -ldl
#if defined PLAIN
int plain = 4;
#elif defined MIDDLE || defined OUTER || defined NOOPEN
int unused;
#elif defined UNDEFINED
int nowhere(void);
int undefined(void) { return nowhere(); }
#elif defined STATIC_TLS
__thread char large[1 << 20];
char *use(void) { return large; }
#else
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
static void say(const char *what, int failed) {
    const char *error = dlerror();
    printf("%s: %s: %s\n", what, failed ? "failed" : "done", error ? error : "no error");
}
static void try(const char *name, int mode) {
    void *handle = dlopen(name, mode);
    say(name ? name : "NULL", !handle);
    if (handle) dlclose(handle);
}
int main(void) {
    try("./nowhere.so", RTLD_NOW);
    try("libnowhere.so.77", RTLD_NOW);
    try("./text.so", RTLD_NOW);
    try("./pie", RTLD_NOW);
    try("./nopie", RTLD_NOW);
    try("./middle.so", RTLD_LAZY);
    try("./outer.so", RTLD_LAZY);
    try("./undefined.so", RTLD_NOW);
    try("./undefined.so", RTLD_LAZY);
    try("./static_tls.so", RTLD_NOW);
    try("./static_tls.so", RTLD_LAZY);
    try("./noopen.so", RTLD_NOW);
    try("./plain.so", 0);
    try("./plain.so", RTLD_GLOBAL);
    try("./plain.so", RTLD_NOW | 0x40000);
    try("./plain.so", RTLD_NOW | RTLD_NOLOAD);
    try("./nowhere.so", RTLD_NOW | RTLD_NOLOAD);
    try("libnowhere.so.77", RTLD_LAZY | RTLD_NOLOAD);
    try("./text.so", RTLD_LAZY | RTLD_NOLOAD);
    try("$NOWHERE/plain.so", RTLD_NOW);
    try("${ORIGIN/plain.so", RTLD_NOW);
    try("$ORIGIN/plain.so", RTLD_NOW);
    try("${ORIGIN}/nowhere.so", RTLD_NOW);
    try("$LIB", RTLD_NOW);
    try("", RTLD_NOW);
    try(NULL, RTLD_NOW);
    try(NULL, 0);

    void *plain = dlopen("./plain.so", RTLD_NOW);
    dlsym(plain, "absent"); say("dlsym", 1);
    dlsym(RTLD_DEFAULT, "plain"); say("dlsym default", 1);
    dlsym(RTLD_NEXT, "main"); say("dlsym next", 1);
    dlvsym(plain, "plain", "V_9"); say("dlvsym version", 1);
    dlvsym(plain, "absent", "V_1"); say("dlvsym name", 1);
    dlvsym(RTLD_DEFAULT, "puts", "GLIBC_1.0"); say("dlvsym default", 1);
    say("dlvsym found", !dlvsym(plain, "plain", "V_1"));
    say("close", dlclose(plain));

    void *libc = dlopen("libc.so.6", RTLD_NOW);
    say("close libc", dlclose(libc));
    say("close libc again", dlclose(libc));
    void *self = dlopen(NULL, RTLD_LAZY);
    say("close self", dlclose(self));
    say("close self again", dlclose(self));
    void *kept = dlopen("./plain.so", RTLD_NOW | RTLD_NODELETE);
    for (int i = 0; i < 3; i++) say("close kept", dlclose(kept));
    Lmid_t id;
    say("dlinfo", dlinfo(kept, 99, &id));
    return 0;
}
#endif
