// What dlopen and dlsym say when they fail.
//#Library: broken_need.so: -L. -Wl,--unresolved-symbols=ignore-all
//#Shell: printf 'int gone;' | gcc -x c -shared -fPIC -o libgone.so -Wl,-soname,libgone.so -
//#Library: needs_gone.so: -L. -Wl,--no-as-needed -lgone
//#Shell: rm libgone.so; echo text > text.so; : > empty.so; mkdir -p folder.so; head -c 100 broken_need.so > short.so
//#Shell: cp broken_need.so machine.so; printf '\267' | dd of=machine.so bs=1 seek=18 conv=notrunc 2>/dev/null
//#Shell: cp broken_need.so class.so; printf '\001' | dd of=class.so bs=1 seek=4 conv=notrunc 2>/dev/null
//#Program: -ldl
#ifdef BROKEN_NEED
extern int nowhere_data;
int *broken(void) { return &nowhere_data; }
#elif defined NEEDS_GONE
int needs;
#else
#include <dlfcn.h>
#include <stdio.h>
int main(void) {
    const char *const names[] = {"libnowhere.so.9", "./nowhere.so", "./text.so", "./empty.so", "./folder.so", "./short.so",
                                 "./machine.so", "./class.so", "./needs_gone.so", "./broken_need.so", "/dev/null"};
    for (unsigned i = 0; i < sizeof names / sizeof *names; i++) {
        if (dlopen(names[i], RTLD_NOW)) printf("%s opened\n", names[i]);
        else puts(dlerror());
    }
    if (dlopen("./text.so", 0)) return 1;
    puts(dlerror());
    if (dlsym(RTLD_DEFAULT, "nowhere")) return 2;
    puts(dlerror());
    if (dlvsym(RTLD_DEFAULT, "puts", "GLIBC_9")) return 3;
    puts(dlerror());
    return 0;
}
#endif
