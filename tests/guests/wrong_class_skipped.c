// A library of another class or machine in a searched folder is passed over, and the search goes on.
//#Library: right/libseek.so: -Wl,-soname,libseek.so
//#Shell: mkdir -p bits machine; cp right/libseek.so bits/; printf '\001' | dd of=bits/libseek.so bs=1 seek=4 conv=notrunc 2>/dev/null
//#Shell: cp right/libseek.so machine/; printf '\267' | dd of=machine/libseek.so bs=1 seek=18 conv=notrunc 2>/dev/null
//#Program: -Lright -lseek -Wl,-rpath,'$ORIGIN/bits:$ORIGIN/machine:$ORIGIN/right'
#ifdef LIBSEEK
int seek(void) { return 3; }
#else
int seek(void);
int main(void) { return seek() == 3 ? 0 : 1; }
#endif
