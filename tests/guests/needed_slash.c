// A DT_NEEDED with a slash is a path, relative to the working folder, and is not searched for.
//#Library: sub/libslash.so:
//#Program: sub/libslash.so
//#Run: LD_LIBRARY_PATH=/nonexistent
#ifdef LIBSLASH
int slash(void) { return 5; }
#else
int slash(void);
int main(void) { return slash() == 5 ? 0 : 1; }
#endif
