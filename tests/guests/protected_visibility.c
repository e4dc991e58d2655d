// A protected definition binds inside its own library, while others see the one found first in the scope.
//#Library: libprotected.so: -Wl,-soname,libprotected.so
//#Program: -L. -lprotected -Wl,-rpath,'$ORIGIN' -rdynamic
//#Mode: pie nopie
#ifdef LIBPROTECTED
__attribute__((visibility("protected"))) int guarded(void) { return 1; }
int open_to_all(void) { return 1; }
int ask_guarded(void) { return guarded(); }
int ask_open(void) { return open_to_all(); }
#else
int guarded(void) { return 2; }
int open_to_all(void) { return 2; }
int ask_guarded(void), ask_open(void);
int main(void) {
    if (guarded() != 2 || open_to_all() != 2) return 1;
    if (ask_guarded() != 1) return 2;
    return ask_open() == 2 ? 0 : 3;
}
#endif
