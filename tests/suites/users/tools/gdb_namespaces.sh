# gdb on a library in namespaces of its own (dlmopen(3)): breakpoints that wait for it, its variables in each copy, the list
# of libraries while they come and when they are gone.
#: needs: gdb gcc
#: expect: Breakpoint 1.2, count
#: expect: $4 = 10
sources=$(dirname "$0")/sources
cat > counter.c <<'C'
static int total;
int count(int n) {
    total += n;
    return total;
}
C
cat > isolated.c <<'C'
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
void *handles[3];
int call(void *handle, int n) { return ((int (*)(int))dlsym(handle, "count"))(n); }
void opened(void) { puts("opened"); fflush(stdout); }
void closed(void) { puts("closed"); fflush(stdout); }
int main(void) {
    for (int round = 0; round < 3; round++)
        if (!(handles[round] = dlmopen(round ? LM_ID_NEWLM : LM_ID_BASE, "./libcounter.so", RTLD_NOW))) return puts(dlerror()), 1;
    opened();
    for (int round = 0; round < 3; round++) printf("%d\n", call(handles[round], 10 + round));
    for (int round = 2; round >= 0; round--) dlclose(handles[round]);
    closed();
    void *again = dlmopen(LM_ID_NEWLM, "./libcounter.so", RTLD_NOW);
    printf("%d\n", call(again, 1));
    return dlclose(again);
}
C
gcc -g -O0 -shared -fPIC -o libcounter.so counter.c
gcc -g -O0 -o isolated isolated.c -Wl,--dynamic-linker="$INTERPRETER"
# A handle lies in memory of the loader, which has a name under Folio.
gdb -nx -batch -ex 'set breakpoint pending on' -ex 'set debuginfod enabled off' -ex 'break count' -ex 'break opened' -ex 'break closed' \
    -ex run -ex 'info sharedlibrary libcounter' -ex 'info breakpoints' -ex continue -ex finish -ex 'print total' -ex continue -ex finish \
    -ex 'print total' -ex bt -ex 'info symbol count' -ex continue -ex continue -ex 'info sharedlibrary libcounter' -ex continue -ex 'print total' \
    -ex 'info sharedlibrary libcounter' -ex continue ./isolated 2>&1 < /dev/null | sed -E 's/\(process [0-9]+\)//; s/ <ld_folio[^>]*>//' | grep -v '^Using host'
