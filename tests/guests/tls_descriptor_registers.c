// A TLS descriptor's call preserves every register but rax: general ones, SSE, AVX and AVX-512, on its fast way and on the
// slow one, which makes the thread's block; in the main thread, in others, and after many modules have come.
//#Library: libdescriptor.so: -mtls-dialect=gnu2
//#Library: libmany.so:
//#Shell: for i in $(seq 40); do cp libmany.so libmany$i.so; done
//#Program: -Wl,--disable-new-dtags,-rpath,'$ORIGIN' -ldl
//#Only-on: folio
#if defined LIBDESCRIPTOR
__thread char before[100];
__thread long variable = 42;
// probe(in, out, registers): loads the state from `in`, calls the descriptor, saves the state in `out` and 15 registers.
__asm__(".globl probe\n.type probe, @function\nprobe:\n"
        "push %rbx\npush %rbp\npush %r12\npush %r13\npush %r14\npush %r15\npush %rdx\npush %rsi\n"
        "mov $-1, %eax\nmov $-1, %edx\nxrstor64 (%rdi)\n"
        "mov $101, %rbx\nmov $102, %rcx\nmov $103, %rdx\nmov $104, %rsi\nmov $105, %rdi\nmov $106, %rbp\n"
        "mov $108, %r8\nmov $109, %r9\nmov $110, %r10\nmov $111, %r11\nmov $112, %r12\nmov $113, %r13\nmov $114, %r14\nmov $115, %r15\n"
        "lea variable@TLSDESC(%rip), %rax\ncall *variable@TLSCALL(%rax)\n"
        "push %r15\npush %r14\npush %r13\npush %r12\npush %r11\npush %r10\npush %r9\npush %r8\n"
        "push %rbp\npush %rdi\npush %rsi\npush %rdx\npush %rcx\npush %rbx\npush %rax\n"
        "mov 120(%rsp), %rdi\nmov $-1, %eax\nmov $-1, %edx\nxsave64 (%rdi)\n"
        "mov 128(%rsp), %rdi\nmov %rsp, %rsi\nmov $15, %ecx\ncld\nrep movsq\n"
        "add $136, %rsp\npop %r15\npop %r14\npop %r13\npop %r12\npop %rbp\npop %rbx\nret\n");
long *address(void) { return &variable; }
char *nearby(void) { return before; }
#elif defined LIBMANY
__thread int many = 7;
int *get(void) { return &many; }
#else
#include <cpuid.h>
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#define FAIL(...) (printf(__VA_ARGS__), puts(""), failures++)
static int failures, wide;
static void (*probe)(void *, void *, long *);
static unsigned char template_[16384] __attribute__((aligned(64)));
static struct { unsigned offset, size; } parts[20];
static void prepare(void) {
    unsigned a, b, c, d;
    __asm__ volatile("xsave64 (%0)" ::"r"(template_), "a"(-1), "d"(-1) : "memory");
    parts[1].offset = 160, parts[1].size = 256;
    unsigned long mask = 2;
    static const int components[] = {2, 5, 6, 7};
    for (int i = 0; i < 4; i++) {
        unsigned low, high;
        __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
        if (!(low >> components[i] & 1)) continue;
        __cpuid_count(13, components[i], a, b, c, d);
        parts[components[i]].offset = b, parts[components[i]].size = a;
        mask |= 1ul << components[i];
        wide += components[i];
    }
    *(unsigned long *)(template_ + 512) |= mask;
    for (int part = 1; part < 20; part++)
        for (unsigned i = 0; i < parts[part].size; i++) template_[parts[part].offset + i] = (unsigned char)(i * 7 + part * 31 + 1);
}
static void check(const char *where) {
    static __thread unsigned char out[16384] __attribute__((aligned(64)));
    long registers[15];
    memset(out, 0, sizeof out);
    probe(template_, out, registers);
    for (int part = 1; part < 20; part++)
        if (memcmp(template_ + parts[part].offset, out + parts[part].offset, parts[part].size)) FAIL("%s: component %d differs", where, part);
    for (int i = 1; i < 15; i++)
        if (registers[i] != 100 + i + (i > 6)) FAIL("%s: register %d is %ld", where, i, registers[i]);
    long self;
    __asm__("mov %%fs:0, %0" : "=r"(self));
    if (*(long *)(self + registers[0]) != 42) FAIL("%s: %ld", where, *(long *)(self + registers[0]));
}
static void *thread(void *many) {
    check("thread, slow way");
    check("thread, fast way");
    char name[40];
    if (many)
        for (int i = 1; i <= 40; i++) {
            snprintf(name, sizeof name, "libmany%d.so", i);
            void *handle = dlopen(name, RTLD_NOW);
            int *(*get)(void) = dlsym(handle, "get");
            if (*get() != 7) FAIL("%s", name);
            check("behind other modules");
            if (i % 2) dlclose(handle);
            check("after a module is gone");
        }
    return 0;
}
int main(void) {
    prepare();
    void *handle = dlopen("libdescriptor.so", RTLD_NOW);
    if (!handle) return puts(dlerror()), 1;
    probe = dlsym(handle, "probe");
    check("main, slow way");
    check("main, fast way");
    for (int i = 0; i < 4; i++) {
        pthread_t id;
        pthread_create(&id, 0, thread, i == 2 ? handle : 0);
        pthread_join(id, 0);
    }
    check("main again");
    printf("%d failures, components %d\n", failures, wide);
    return failures != 0;
}
#endif
