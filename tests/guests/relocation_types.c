// Relocation types that compilers seldom emit: SIZE64, and 64 with an addend into the middle of an object.
//#Library: libtypes.so: -Wl,-z,notext -Wl,-soname,libtypes.so
//#Program: -L. -ltypes -Wl,-rpath,'$ORIGIN'
#ifdef LIBTYPES
int table[10] = {0, 1, 2, 3};
int *third_by_addend = &table[3];
extern const unsigned long size_of_table, size_plus;
__asm__(".pushsection .data\n.globl size_of_table, size_plus\n.p2align 3\n"
        "size_of_table: .quad table@SIZE\nsize_plus: .quad table@SIZE + 2\n"
        ".type size_of_table, @object\n.size size_of_table, 8\n.type size_plus, @object\n.size size_plus, 8\n.popsection");
const unsigned long *sizes(void) { return &size_of_table; }
#else
extern int table[10];
extern int *third_by_addend;
const unsigned long *sizes(void);
int main(void) {
    if (third_by_addend != &table[3] || *third_by_addend != 3) return 1;
    if (sizes()[0] != 40 || sizes()[1] != 42) return 2;
    return 0;
}
#endif
