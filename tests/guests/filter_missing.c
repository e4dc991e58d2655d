// A DT_FILTER that cannot be loaded ends the start as a missing DT_NEEDED does.
//#Library: libfilter.so: -Wl,-F,libmissing.so
//#Program: -L. -Wl,--no-as-needed -lfilter -Wl,--disable-new-dtags,-rpath,'$ORIGIN'
//#Normalise: requester
//#Expect-status: 127
//#Expect: libmissing.so: cannot open shared object file: No such file or directory
#ifdef LIBFILTER
int answer(void) { return 42; }
#else
int main(void) { return 0; }
#endif
