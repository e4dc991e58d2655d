// -Bsymbolic (DT_SYMBOLIC): a library looks into itself before the scope.
//#Library: libsymbolic.so: -Wl,-Bsymbolic
//#Library: libordinary.so:
//#Program: -L. -lsymbolic -lordinary -Wl,-rpath,'$ORIGIN' -rdynamic -ldl
#if defined LIBSYMBOLIC
int value = 1;
int fn(void) { return 1; }
int symbolic(void) { return fn() * 10 + value; }
#elif defined LIBORDINARY
int value = 3;
int fn(void) { return 3; }
int ordinary(void) { return fn() * 10 + value; }
#else
int value = 2;
int fn(void) { return 2; }
int symbolic(void), ordinary(void);
int main(void) {
    if (symbolic() != 11) return 1;
    return ordinary() == 22 ? 0 : 2;
}
#endif
