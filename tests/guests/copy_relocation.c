// A program at a fixed address holds its own copy of a library's data (R_X86_64_COPY), and the library uses that copy.
//#Library: libdata.so: -Wl,-soname,libdata.so
//#Program: -L. -ldata -Wl,-rpath,'$ORIGIN'
//#Mode: nopie pie
#ifdef LIBDATA
int number = 42;
char text[64] = "shared";
int *number_seen_by_library(void) { return &number; }
char *text_seen_by_library(void) { return text; }
#else
#include <string.h>
extern int number;
extern char text[64];
int *number_seen_by_library(void);
char *text_seen_by_library(void);
int main(void) {
    if (number != 42 || &number != number_seen_by_library()) return 1;
    if (strcmp(text, "shared") || text != text_seen_by_library()) return 2;
    number = 43;
    return *number_seen_by_library() == 43 ? 0 : 3;
}
#endif
