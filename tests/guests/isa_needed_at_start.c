// A library of the start, or one that is preloaded, that needs a level that no processor has yet.
//#Library: libfuture.so:
//#Library: libneeds.so: -L. -Wl,--no-as-needed -lfuture
//#Program: -L. -Wl,--no-as-needed -lneeds -Wl,-rpath-link,. -Wl,--disable-new-dtags,-rpath,'$ORIGIN'
//#Ways: interp patchelf
//#Expect-status: 127
//#Expect: libfuture.so: CPU ISA level is lower than required
#ifdef LIBFUTURE
__asm__(".pushsection .note.gnu.property,\"a\",@note\n.balign 8\n.long 4, 16, 5\n.asciz \"GNU\"\n"
        ".long 0xc0008002, 4, 0x8000, 0\n.popsection");
int answer(void) { return 42; }
#elif defined LIBNEEDS
int other(void) { return 42; }
#else
int main(void) { return 0; }
#endif
