// Blanks separate LD_PRELOAD as colons do.
//#Library: first.so:
//#Library: second.so:
//#Env: LD_PRELOAD=./first.so  ./second.so :
//#Ways: interp direct
#include <stdio.h>
#if defined FIRST
__attribute__((constructor)) static void construct(void) { puts("first"); }
#elif defined SECOND
__attribute__((constructor)) static void construct(void) { puts("second"); }
#else
int main(void) { return 0; }
#endif
