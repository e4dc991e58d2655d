// DT_RELR: packed relative relocations, in the program and in a library, in runs longer than one bitmap.
//#Library: librelr.so: -Wl,-z,pack-relative-relocs
//#Program: -L. -lrelr -Wl,-rpath,'$ORIGIN' -Wl,-z,pack-relative-relocs
//#Mode: pie nopie
#define TEN(x) x, x, x, x, x, x, x, x, x, x
#define HUNDRED(x) TEN(x), TEN(x), TEN(x), TEN(x), TEN(x), TEN(x), TEN(x), TEN(x), TEN(x), TEN(x)
static int target = 5;
static struct { int *many[200]; long gap; int *few[3]; long wide[100]; int *last; } table = {
    {HUNDRED(&target), HUNDRED(&target)}, 1, {&target, 0, &target}, {0}, &target};
static int check(void) {
    for (int i = 0; i < 200; i++) if (table.many[i] != &target) return 0;
    return table.gap == 1 && table.few[0] == &target && !table.few[1] && table.few[2] == &target && table.last == &target;
}
#ifdef LIBRELR
int check_library(void) { return check(); }
#else
int check_library(void);
int main(void) { return !check() ? 1 : !check_library() ? 2 : 0; }
#endif
