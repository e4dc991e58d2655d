/* A library to open: a thread-local variable, memory that only such a variable points to, a constructor. */
#include <stdlib.h>
#include <string.h>
static __thread int per_thread = 5;
static __thread char *kept;
static int opened;
int plugged(int n) {
    per_thread += n;
    free(kept);
    kept = malloc(123);
    memset(kept, n, 123);
    return per_thread + kept[122] - n; /* stop here */
}
void forget(void) { free(kept); kept = 0; }
__attribute__((constructor)) static void up(void) { opened = 1; }
__attribute__((destructor)) static void down(void) { opened = 0; }
