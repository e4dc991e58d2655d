// Ordinary work of libc that leans on processor features chosen by the loader: strings, memory, maths, printf, qsort.
//#Program: -lm
//#Mode: pie nopie
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <wchar.h>
static int compare(const void *a, const void *b) { return *(const int *)a - *(const int *)b; }
int main(void) {
    setlocale(LC_ALL, "");
    int numbers[1000];
    for (int i = 0; i < 1000; i++) numbers[i] = (i * 7919) % 1000;
    qsort(numbers, 1000, sizeof *numbers, compare);
    printf("%d %d %.17g %.17g %.17g %La\n", numbers[0], numbers[999], sin(1.5), exp(0.3), pow(1.1, 2.2), 1.25L);
    for (size_t size = 1; size < 1 << 20; size = size * 3 + 1) {
        char *from = malloc(size), *to = calloc(1, size);
        memset(from, 'x', size);
        from[size - 1] = 0;
        memcpy(to, from, size);
        if (memcmp(to, from, size) || strlen(to) != size - 1 || strchr(to, 'y') || strcmp(from, to)) return 1;
        memmove(to, to + size / 2, size - size / 2);
        free(from), free(to);
    }
    char when[64];
    time_t zero = 0;
    strftime(when, sizeof when, "%c", gmtime(&zero));
    wprintf(L"%ls\n", L"wide");
    printf("%s %s\n", when, strerror(2));
    return 0;
}
