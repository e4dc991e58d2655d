/* Compiled without -fPIC: its instructions hold addresses, which are known only when the library is loaded. */
static int numbers[1024];
int *where = numbers;

int sum(int count) {
    int total = 0;
    while (count > 0) total += numbers[--count] + *where;
    return total;
}
