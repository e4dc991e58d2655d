// An auditor of calls sees arguments and results in all registers and on the stack, changes them, sends calls elsewhere, and
// says which calls it does not want to see; the program's own state in the registers stays.
//#Library: libaudit.so: -mno-avx
//#Library: libwork.so: -Wl,-z,lazy
//#Program: -L. -Wl,--no-as-needed -lwork -lm -Wl,-z,lazy -Wl,-rpath,'$ORIGIN'
//#Run: LD_AUDIT={dir}/libaudit.so
//#Run: LD_AUDIT={dir}/libaudit.so LD_BIND_NOW=1
//#Run: LD_AUDIT={dir}/libaudit.so AUDIT_BINDINGS=1
//#Expect: sum 110
#if defined LIBAUDIT
#define _GNU_SOURCE
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
static int is_watched(const uintptr_t *from, const uintptr_t *to) {
    return !strcmp((char *)*from, "main") && !strcmp((char *)*to, "work");
}
unsigned la_version(unsigned version) { return version; }
unsigned la_objopen(struct link_map *map, Lmid_t namespace, uintptr_t *cookie) {
    *cookie = (uintptr_t)(strstr(map->l_name, "libwork") ? "work" : *map->l_name ? "other" : "main");
    return LA_FLG_BINDTO | LA_FLG_BINDFROM;
}
static int other_function(int value) { return value * 1000; }
uintptr_t la_symbind64(Elf64_Sym *symbol, unsigned index, uintptr_t *from, uintptr_t *to, unsigned *flags, const char *name) {
    if (!is_watched(from, to)) return symbol->st_value;
    fprintf(stderr, "bind %s flags %x\n", name, *flags);
    if (!strcmp(name, "quiet")) *flags |= LA_SYMB_NOPLTENTER | LA_SYMB_NOPLTEXIT;
    if (!strcmp(name, "entered")) *flags |= LA_SYMB_NOPLTEXIT;
    if (!strcmp(name, "replaced")) return (uintptr_t)other_function;
    return symbol->st_value;
}
#define ENTRY la_x86_64_gnu_pltenter
#define RETURN la_x86_64_gnu_pltexit
Elf64_Addr ENTRY(Elf64_Sym *symbol, unsigned index, uintptr_t *from, uintptr_t *to, La_x86_64_regs *registers,
                 unsigned *flags, const char *name, long *frame) {
    if (!is_watched(from, to)) return symbol->st_value;
    fprintf(stderr, "enter %s flags %x", name, *flags);
    *frame = 128;
    if (!strcmp(name, "add")) {
        fprintf(stderr, " %d %d", (int)registers->lr_rdi, (int)registers->lr_rsi);
        registers->lr_rsi += 100;
    } else if (!strcmp(name, "many")) {
        long *stack = (long *)registers->lr_rsp;
        fprintf(stderr, " %ld %ld %ld %ld", (long)registers->lr_rcx, (long)registers->lr_r8, stack[1], stack[4]);
    } else if (!strcmp(name, "scale")) {
        double values[2];
        memcpy(values, &registers->lr_xmm[1], sizeof values);
        fprintf(stderr, " %g", values[0]);
        values[0] *= 2;
        memcpy(&registers->lr_xmm[1], values, sizeof values);
    } else if (!strcmp(name, "once")) {
        *flags |= LA_SYMB_NOPLTENTER | LA_SYMB_NOPLTEXIT;
    }
    fprintf(stderr, "\n");
    return symbol->st_value;
}
unsigned RETURN(Elf64_Sym *symbol, unsigned index, uintptr_t *from, uintptr_t *to, const La_x86_64_regs *registers,
                La_x86_64_retval *results, const char *name) {
    if (!is_watched(from, to)) return 0;
    fprintf(stderr, "exit %s %d", name, (int)registers->lr_rdi == 3);
    if (!strcmp(name, "add")) {
        fprintf(stderr, " %d", (int)results->lrv_rax);
        results->lrv_rax += 1;
    } else if (!strcmp(name, "scale")) {
        double value;
        memcpy(&value, &results->lrv_xmm0, sizeof value);
        fprintf(stderr, " %g", value);
        value += 0.5;
        memcpy(&results->lrv_xmm0, &value, sizeof value);
    } else if (!strcmp(name, "extended")) {
        fprintf(stderr, " %Lg", results->lrv_st0);
        results->lrv_st0 *= 2;
    } else if (!strcmp(name, "pair")) {
        fprintf(stderr, " %ld %ld", (long)results->lrv_rax, (long)results->lrv_rdx);
    }
    fprintf(stderr, "\n");
    return 0;
}
#elif defined LIBWORK
struct pair { long first, second; };
int add(int a, int b) { return a + b; }
long many(long a, long b, long c, long d, long e, long f, long g, long h, long i, long j) {
    return a + 2 * b + 3 * c + 4 * d + 5 * e + 6 * f + 7 * g + 8 * h + 9 * i + 10 * j;
}
double scale(double a, double b, float c) { return a * b + c; }
long double extended(long double value) { return value / 3; }
_Complex long double both(long double value) { return value * 3 + value * 5i; }
struct pair pair(long a) { return (struct pair){a, -a}; }
int quiet(int value) { return value + 1; }
int entered(int value) { return value + 2; }
int replaced(int value) { return value + 3; }
int once(int value) { return value + 4; }
int sum(const char *format, ...) {
    __builtin_va_list list;
    __builtin_va_start(list, format);
    double total = 0;
    for (; *format; format++) total += *format == 'd' ? __builtin_va_arg(list, double) : __builtin_va_arg(list, int);
    __builtin_va_end(list);
    return total;
}
#else
#include <complex.h>
#include <stdio.h>
struct pair { long first, second; };
int add(int, int), quiet(int), entered(int), replaced(int), once(int), sum(const char *, ...);
long many(long, long, long, long, long, long, long, long, long, long);
double scale(double, double, float);
long double extended(long double);
_Complex long double both(long double);
struct pair pair(long);
int main(void) {
    setbuf(stdout, 0);
    for (int round = 0; round < 2; round++) {
        printf("add %d\n", add(3, 4));
        printf("many %ld\n", many(1, 2, 3, 4, 5, 6, 7, 8, 9, 10));
        printf("scale %g\n", scale(1.5, 2.5, 0.25f));
        printf("extended %Lg\n", extended(4.5L));
        long double _Complex two = both(1.25L);
        printf("both %Lg %Lg\n", creall(two), cimagl(two));
        struct pair two_longs = pair(7);
        printf("pair %ld %ld\n", two_longs.first, two_longs.second);
        printf("quiet %d entered %d replaced %d once %d\n", quiet(1), entered(1), replaced(1), once(1));
        printf("sum %d\n", sum("dididididdd", 1.0, 2, 3.0, 4, 5.0, 6, 7.0, 8, 9.0, 10.0, 55.0));
        // More results in the x87 than it has registers, if each return left one behind.
        long double product = 1;
        for (int i = 0; i < 20; i++) product *= 1 + (add(i, -100) != i + 1);
        printf("x87 %Lg\n", product * extended(3));
    }
    return 0;
}
#endif
