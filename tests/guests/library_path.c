// LD_LIBRARY_PATH: colon and semicolon, empty element (the working folder), relative folders, and --library-path.
//#Library: one/libpath.so: -DWHO=1 -Wl,-soname,libpath.so
//#Library: two/libpath.so: -DWHO=2 -Wl,-soname,libpath.so
//#Library: libpath.so: -DWHO=3 -Wl,-soname,libpath.so
//#Program: -Lone -lpath
//#Run: LD_LIBRARY_PATH={dir}/one:{dir}/two 1
//#Run: LD_LIBRARY_PATH={dir}/two;{dir}/one 2
//#Run: LD_LIBRARY_PATH=/nonexistent:two 2
//#Run: LD_LIBRARY_PATH=/nonexistent: 3
//#Run: LD_LIBRARY_PATH=:two 3
//#Run: LD_LIBRARY_PATH=one/// 1
//#Loader: --library-path {dir}/two {program} 2
//#Loader: LD_LIBRARY_PATH={dir}/two --library-path {dir}/one {program} 1
//#Loader: LD_LIBRARY_PATH={dir}/two {program} 2
#ifdef LIBPATH
int who(void) { return WHO; }
#else
#include <stdlib.h>
int who(void);
int main(int argc, char **argv) { return argc == 2 && who() == atoi(argv[1]) ? 0 : 1; }
#endif
