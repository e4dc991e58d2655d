// An auditor of calls changes arguments in vector registers by either of the two copies that it is shown, or by both, and
// sees at the return what it left there.
//#Library: libaudit.so:
//#Library: libwork.so: -mavx -Wl,-z,lazy
//#Program: -mavx -L. -Wl,--no-as-needed -lwork -Wl,-z,lazy -Wl,-rpath,'$ORIGIN'
//#Run: LD_AUDIT={dir}/libaudit.so
#if defined LIBAUDIT
#define _GNU_SOURCE
#include <link.h>
#include <stdio.h>
#include <string.h>
unsigned la_version(unsigned version) { return version; }
unsigned la_objopen(struct link_map *map, Lmid_t namespace, uintptr_t *cookie) { return LA_FLG_BINDTO | LA_FLG_BINDFROM; }
static void fill(void *place, int count, double value) {
    for (int i = 0; i < count; i++) memcpy((char *)place + 8 * i, &value, sizeof value);
}
static void show(const char *what, const void *place, int count) {
    fprintf(stderr, "%s", what);
    for (int i = 0; i < count; i++) {
        double value;
        memcpy(&value, (const char *)place + 8 * i, sizeof value);
        fprintf(stderr, " %g", value);
    }
    fprintf(stderr, "\n");
}
Elf64_Addr la_x86_64_gnu_pltenter(Elf64_Sym *symbol, unsigned index, uintptr_t *from, uintptr_t *to,
                                  La_x86_64_regs *registers, unsigned *flags, const char *name, long *frame) {
    if (strcmp(name, "work")) return symbol->st_value;
    *frame = 128;
    for (int i = 0; i < 4; i++) show("enter", &registers->lr_vector[i], 4);
    fill(&registers->lr_vector[0], 4, 10);
    fill(&registers->lr_xmm[1], 2, 20);
    fill(&registers->lr_vector[1], 4, 20);
    fill(&registers->lr_xmm[2], 2, 30);
    return symbol->st_value;
}
unsigned la_x86_64_gnu_pltexit(Elf64_Sym *symbol, unsigned index, uintptr_t *from, uintptr_t *to,
                               const La_x86_64_regs *registers, La_x86_64_retval *results, const char *name) {
    if (strcmp(name, "work")) return 0;
    show("exit", &registers->lr_vector[0], 4);
    show("exit", &registers->lr_xmm[0], 2);
    show("exit", &registers->lr_vector[1], 4);
    show("exit", &registers->lr_xmm[1], 2);
    show("exit", &registers->lr_vector[2], 2);
    show("exit", &registers->lr_vector[3], 4);
    show("result", &results->lrv_vector0, 4);
    fill(&results->lrv_vector0, 4, 7);
    return 0;
}
#else
#include <immintrin.h>
#ifdef LIBWORK
__m256d work(__m256d a, __m256d b, __m256d c, __m256d d) {
    double low[4];
    _mm256_storeu_pd(low, b);
    return a[3] == 10 && low[0] == 20 && low[1] == 20 && c[1] == 30 && c[2] == 0 && d[3] == 4 ? a + d : a - a;
}
#else
#include <stdio.h>
__m256d work(__m256d, __m256d, __m256d, __m256d);
int main(void) {
    if (!__builtin_cpu_supports("avx")) return 0;
    __m256d result = work(_mm256_set1_pd(1), _mm256_set1_pd(2), _mm256_set1_pd(3), _mm256_set1_pd(4));
    printf("%g %g %g %g\n", result[0], result[1], result[2], result[3]);
    return 0;
}
#endif
#endif
