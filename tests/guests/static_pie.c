// A static program has no interpreter; run by the interpreter it is refused or run, just as glibc's loader does.
//#Mode: static-pie
#include <stdio.h>
int main(void) { puts("static"); return 0; }
