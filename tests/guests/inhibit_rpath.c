// --inhibit-rpath: the DT_RUNPATH of a library that is named by its whole path is not used.
//#Library: deep/libdeep.so: -Wl,-soname,libdeep.so
//#Library: near/libnear.so: -Ldeep -ldeep -Wl,-soname,libnear.so -Wl,-rpath,'$ORIGIN/../deep'
//#Program: -Lnear -lnear -Wl,-rpath-link,deep
//#Loader: --library-path {dir}/near --inhibit-rpath {dir}/near/libnear.so {program}
//#Loader: --library-path {dir}/near --inhibit-rpath other:{dir}/near/libnear.so {program}
//#Normalise: requester
//#Expect-status: 127
//#Expect: libdeep.so: cannot open shared object file
#ifdef LIBDEEP
int deep(void) { return 7; }
#elif defined LIBNEAR
int deep(void);
int near(void) { return deep() + 1; }
#else
int near(void);
int main(void) { return near() == 8 ? 0 : 1; }
#endif
