# gdb on libraries that come and go: breakpoints that wait for them, by line, by function, in a constructor; `catch load` and
# `catch unload`; the list of libraries at each stop.
#: needs: gdb gcc
#: expect: Inferior loaded ./libplugin.so
#: expect: Inferior unloaded ./libplugin.so
#: expect: Breakpoint 1, plugged (n=3)
#: expect: Breakpoint 1, pick
#: expect: $2 = 8
sources=$(dirname "$0")/sources
gcc -g -O0 -shared -fPIC -o libplugin.so "$sources/plugin.c"
gcc -g -O0 -o opener "$sources/opener.c" -Wl,--dynamic-linker="$INTERPRETER"
session() {
    local words=()
    while read -r line; do words+=(-ex "$line"); done
    # The loaders' own frames differ, and whether their debug information is installed, which of the two events of the
    # start brings libc, and how many events there are.
    gdb -nx -batch -ex 'set breakpoint pending on' -ex 'set debuginfod enabled off' "${words[@]}" ./opener 2>&1 < /dev/null |
        sed -E 's/\(process [0-9]+\)//; s/LWP [0-9]+/LWP/; /^\[(New Thread|Thread .* exited|Switching)/d; s/ \(\*\) +/         /; /^\(\*\)/d' | grep -vE '_dl_debug_state|abi::probes::|dl-debug\.c|^Using host|no libraries added or removed'
}
session <<'GDB'
break plugin.c:12 if n == 3 || n == 1
break up
tbreak down
info breakpoints
run
info sharedlibrary
print opened
continue
bt
print per_thread
info symbol plugged
info line plugged
finish
info sharedlibrary
continue
info sharedlibrary
continue
continue
print opened
continue
info breakpoints
GDB
session <<'GDB'
catch load
run
info sharedlibrary
continue
info sharedlibrary
print opened ? 30 : 40
break plugged
continue
next
next
print per_thread
delete
catch unload
continue
info sharedlibrary
delete
continue
GDB
session <<'GDB'
set stop-on-solib-events 1
run
python while not any("libplugin" in file.filename for file in gdb.objfiles()): gdb.execute("continue")
info sharedlibrary
set stop-on-solib-events 0
set auto-solib-add off
break plugged
continue
GDB
# The resolver of an IFUNC runs while the library is being relocated.
cat > indirect.c <<'C'
static int one(void) { return 1; }
static int (*pick(void))(void) { return one; }
int indirect(void) __attribute__((ifunc("pick")));
int (*pointer)(void) = indirect;
C
printf '#include <dlfcn.h>\nint main(void) { return dlopen("./libindirect.so", RTLD_NOW) == 0; }\n' > direct.c
gcc -g -O0 -shared -fPIC -o libindirect.so indirect.c
gcc -g -O0 -o direct direct.c -Wl,--dynamic-linker="$INTERPRETER"
gdb -nx -batch -ex 'set breakpoint pending on' -ex 'set debuginfod enabled off' -ex 'break pick' -ex run -ex 'info symbol $pc' \
    -ex continue ./direct 2>&1 < /dev/null | grep -E '^Breakpoint|^pick|exited' | sed -E 's/\(process [0-9]+\)//'
# A process that runs already, attached to once the library is there.
cat > waits.c <<'C'
#include <dlfcn.h>
#include <unistd.h>
int main(void) { dlopen("./libplugin.so", RTLD_NOW); write(1, "up\n", 3); pause(); }
C
gcc -g -o waits waits.c -Wl,--dynamic-linker="$INTERPRETER"
./waits > up & process=$!
for _ in $(seq 100); do [ -s up ] && break; sleep 0.05; done
gdb -nx -batch -ex 'set debuginfod enabled off' -p $process -ex 'info sharedlibrary' -ex 'print opened' -ex 'info symbol plugged' 2>&1 |
    grep -E 'libplugin|libc.so|INTERPRETER|ld-|^\$1' | sed -E 's/ \(\*\) +/         /'
kill $process
