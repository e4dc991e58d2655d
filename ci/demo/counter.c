/* A library that is not reentrant: one counter, kept between calls. */

/* The counter has a page of the library's data to itself, so that nothing else can be the reason why that page is
   written: it lies in .data with a full page around it, holds no address that would have to be relocated, and the
   zeroed data (.bss) that follows begins on another page. */
static struct {
    int i;
    char rest_of_the_page[4096 - sizeof(int)];
} page __attribute__((aligned(4096), section(".data")));

int count(void) {
    return ++page.i;
}

/* Reads the counter and changes nothing. */
int look(void) {
    return *(volatile int *)&page.i;
}

const void *where_is_i(void) {
    return &page.i;
}
