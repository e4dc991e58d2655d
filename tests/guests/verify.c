// --verify on a dynamic program says so by status 0 and prints nothing.
//#Loader: --verify {program}
int main(void) { return 9; }
