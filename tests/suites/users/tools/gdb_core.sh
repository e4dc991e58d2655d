# A core file, and gdb on it: the libraries, the stacks of all threads, variables of the library and of the threads.
#: needs: gdb gcc
#: expect: libplugin.so
#: expect: together ()
sources=$(dirname "$0")/sources
gcc -g -O0 -shared -fPIC -o libplugin.so "$sources/plugin.c"
gcc -g -O0 -o opener "$sources/opener.c" -Wl,--dynamic-linker="$INTERPRETER"
gdb -nx -batch -ex 'set debuginfod enabled off' -ex 'break together' -ex run -ex 'generate-core-file core' -ex kill ./opener > making 2>&1 < /dev/null
grep -c 'Saved corefile core' making
gdb -nx -batch -ex 'set debuginfod enabled off' -ex 'info sharedlibrary' -ex bt -ex 'thread apply all -s frame function work' \
    -ex 'thread apply all print mine' -ex "thread apply all print 'plugin.c'::per_thread" -ex 'print opened' \
    -ex 'info line plugged' ./opener core 2>&1 < /dev/null |
    sed -E 's/LWP [0-9]+/LWP/; s/^#[0-9]+ +//; s/(work .*) at .*/\1/; /^(\[New LWP|1[0-9]\t)/d; s/ \(\*\) +/         /; /^\(\*\)/d'
# Without the program's file there is still the list in memory.
gdb -nx -batch -ex 'set debuginfod enabled off' -core core -ex 'info proc mappings' 2>&1 | grep -c libplugin.so
