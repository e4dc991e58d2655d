// DT_RPATH of the program serves the libraries that it needs too; DT_RUNPATH serves only its own object.
// (ld.so(8), "Dynamic string tokens" and search order; glibc elf/dl-load.c, _dl_map_object.)
//#Library: deep/libdeep.so: -Wl,-soname,libdeep.so
//#Library: near/libnear.so: -Ldeep -ldeep -Wl,-soname,libnear.so
//#Program: -Lnear -lnear -Wl,-rpath-link,deep -Wl,--disable-new-dtags,-rpath,'$ORIGIN/near:$ORIGIN/deep'
#ifdef LIBDEEP
int deep(void) { return 7; }
#elif defined LIBNEAR
int deep(void);
int near(void) { return deep() + 1; }
#else
int near(void);
int main(void) { return near() == 8 ? 0 : 1; }
#endif
