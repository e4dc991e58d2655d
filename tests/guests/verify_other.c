// --verify on something that is no ELF file says nothing, and its status is 1.
//#Shell: echo text > text
//#Loader: --verify ./text
//#Expect-status: 1
int main(void) { return 9; }
