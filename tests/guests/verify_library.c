// --verify on something that can be loaded but is no program says nothing, and its status is 2.
//#Library: libverify.so:
//#Loader: --verify ./libverify.so
//#Expect-status: 2
#ifdef LIBVERIFY
int verify;
#else
int main(void) { return 9; }
#endif
