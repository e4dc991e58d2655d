// A program that needs a level that no processor has yet is refused under the name it was called by.
//#Mode: pie nopie
//#Expect-status: 127
//#Expect: : CPU ISA level is lower than required
#ifdef PROGRAM
__asm__(".pushsection .note.gnu.property,\"a\",@note\n.balign 8\n.long 4, 16, 5\n.asciz \"GNU\"\n"
        ".long 0xc0008002, 4, 0x8000, 0\n.popsection");
#endif
int main(void) { return 0; }
