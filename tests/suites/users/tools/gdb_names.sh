# gdb on a program whose functions have everyday names: a breakpoint at one of them is in the program alone, and its source
# lines are the program's.
#: needs: gdb gcc
#: expect: Breakpoint 2 at
#: expect: Breakpoint 5, discover (n=3) at names.c:3
cat > names.c <<'C'
int add(int a, int b) { return a + b; }
int publish(int n) { return add(n, 1); }
int discover(int n) { return publish(n) + 1; }
int start(int n) { return discover(n + 1); }
int main(void) { return start(2); }
C
gcc -g -O0 -o names names.c -Wl,--dynamic-linker="$INTERPRETER"
gdb -nx -batch -ex 'set debuginfod enabled off' -ex 'break main' -ex run -ex 'break add' -ex 'tbreak publish' -ex 'list start' \
    -ex 'break start' -ex 'break discover' -ex 'info breakpoints' -ex continue -ex continue -ex bt -ex 'delete' -ex finish \
    ./names 2>&1 < /dev/null | grep -v '^Using host'
