/* Calls the counter library on demand: one letter on standard input, one line of answer. */
#include <stdio.h>

int count(void);
int look(void);
const void *where_is_i(void);

int main(void) {
    int letter;
    setvbuf(stdout, NULL, _IOLBF, 0);
    while ((letter = getchar()) != EOF) {
        if (letter == 'w')
            printf("%p %p\n", (const void *)count, where_is_i());
        else if (letter == 'l')
            printf("%d\n", look());
        else if (letter == 'c')
            printf("%d\n", count());
    }
    return 0;
}
