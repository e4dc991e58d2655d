// --inhibit-rpath compares with the name in the link map, which for the program itself is empty.
//#Library: libopt.so: -Wl,-soname,libopt.so
//#Program: -L. -lopt -Wl,-rpath,'$ORIGIN'
//#Loader: --inhibit-rpath {program} {program}
//#Loader: --inhibit-rpath ./program ./program
#ifdef LIBOPT
int opt(void) { return 1; }
#else
int opt(void);
int main(void) { return opt() - 1; }
#endif
