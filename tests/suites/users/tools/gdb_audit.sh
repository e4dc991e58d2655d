# gdb on an auditor (rtld-audit(7)): a breakpoint that waits for it is hit when it hears of the program, before there
# are libraries, and the list of libraries has it from then on.
#: needs: gdb gcc
#: expect: Breakpoint 1, la_objopen
#: expect: No symbol "total" in current context
#: expect: $1 = 1
sources=$(dirname "$0")/sources
cat > auditor.c <<'C'
#define _GNU_SOURCE
#include <link.h>
int objects;
unsigned la_version(unsigned version) { return version; }
unsigned la_objopen(struct link_map *map, Lmid_t namespace, uintptr_t *cookie) {
    objects++;
    return 0;
}
C
gcc -g -O0 -shared -fPIC -o auditor.so auditor.c
gcc -g -O0 -shared -fPIC -o libplugin.so "$sources/plugin.c"
gcc -g -O0 -o opener "$sources/opener.c" -Wl,--dynamic-linker="$INTERPRETER"
# Whether the loader's debug information is installed differs, and its functions do.
gdb -nx -batch -ex 'set debuginfod enabled off' -ex 'set startup-with-shell off' -ex 'set environment LD_AUDIT ./auditor.so' \
    -ex 'set breakpoint pending on' -ex 'set print address off' -ex 'set print symbol off' -ex 'break la_objopen' -ex 'break plugged' \
    -ex 'break main' -ex run -ex 'bt 1' -ex 'print total' -ex 'info sharedlibrary' -ex 'delete 1' -ex continue \
    -ex 'print (int)objects > 2' -ex continue -ex 'info sharedlibrary' -ex bt -ex 'delete 2' -ex continue ./opener 2>&1 < /dev/null |
    sed -E 's/\(process [0-9]+\)//; s/LWP [0-9]+/LWP/; s/ \(\*\) +/         /; /^\(\*\)/d; /^\[(New Thread|Thread .* exited|Switching)/d' | grep -vE '^Using host'
