// Zero-filled memory: a few bytes after data in the same page, a page, many pages, 256 MiB; all zero, all writable.
//#Library: libbss.so:
//#Library: libtail.so:
//#Program: -L. -lbss -ltail -Wl,-rpath,'$ORIGIN'
//#Mode: pie nopie
#if defined LIBTAIL
int tail_data[3] = {1, 2, 3};
char tail[5];
#elif defined LIBBSS
char page[4096 * 3 + 17];
int data = 9;
#else
#include <stddef.h>
extern char page[4096 * 3 + 17], tail[5];
extern int data;
static char large[256 << 20];
static char own[3];
static int zero_and_writable(char *bytes, size_t size, size_t step) {
    for (size_t i = 0; i < size; i += step) { if (bytes[i]) return 0; bytes[i] = 1; }
    if (bytes[size - 1] && (size - 1) % step) return 0;
    bytes[size - 1] = 1;
    return 1;
}
int main(void) {
    if (!zero_and_writable(page, sizeof page, 1)) return 1;
    if (!zero_and_writable(tail, sizeof tail, 1)) return 2;
    if (!zero_and_writable(large, sizeof large, 1 << 20)) return 3;
    if (!zero_and_writable(own, sizeof own, 1)) return 4;
    return data == 9 ? 0 : 5;
}
#endif
