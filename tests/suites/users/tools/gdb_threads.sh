# gdb on threads, by libthread_db: their list, their stacks, their thread-local variables, those of an opened library too.
#: needs: gdb gcc
#: expect: Thread debugging using libthread_db enabled
#: expect: $4 = 7
sources=$(dirname "$0")/sources
gcc -g -O0 -shared -fPIC -o libplugin.so "$sources/plugin.c"
gcc -g -O0 -o opener "$sources/opener.c" -Wl,--dynamic-linker="$INTERPRETER"
gdb -nx -batch -ex 'set debuginfod enabled off' -ex 'break together' -ex run -ex 'info threads' \
    -ex 'thread apply all -s frame function work' -ex 'thread apply all print mine' \
    -ex "thread apply all print 'plugin.c'::per_thread" -ex "thread apply 1 print &'plugin.c'::per_thread == 0" \
    -ex 'thread 2' -ex 'up 100' -ex 'print $_thread' -ex continue ./opener 2>&1 < /dev/null |
    # How far each thread has come into the barrier differs from run to run.
    sed -E 's/\(process [0-9]+\)//; s/LWP [0-9]+/LWP/; s/^#[0-9]+ +//; s/(work .*) at .*/\1/; /^[ *] +[0-9]+ /s/"opener".*/"opener"/; /New Thread|exited\]/d; /^(\[Switching|1[0-9]\t)/d' |
    grep -vE '^(futex_|[0-9]+\s+(in )?\.\.|__|0x)'
