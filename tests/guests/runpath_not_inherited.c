// DT_RUNPATH of the program is not used for the needs of its libraries: this start must fail.
//#Library: deep/libdeep.so: -Wl,-soname,libdeep.so
//#Library: near/libnear.so: -Ldeep -ldeep -Wl,-soname,libnear.so
//#Program: -Lnear -lnear -Wl,-rpath-link,deep -Wl,--enable-new-dtags,-rpath,'$ORIGIN/near:$ORIGIN/deep'
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
