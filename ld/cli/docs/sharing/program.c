/* Calls each of the three libraries, and waits to be looked at. */
#include <stdio.h>

int count(void);
int sum(int);
const char *name(int);

int main(void) {
    count();
    printf("%d %d %s\n", count(), sum(3), name(1));
    return getchar() == 0;
}
