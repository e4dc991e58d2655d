# perf gives samples in an opened library to its function.
#: needs: perf gcc
#: heavy
#: expect: libhot.so hot_function
printf 'int hot_function(int n) { volatile int sum = 0; for (int i = 0; i < n; i++) sum += i; return sum; }\n' > hot.c
printf '#include <dlfcn.h>\nint main(void) { void *h = dlopen("./libhot.so", RTLD_NOW); return ((int (*)(int))dlsym(h, "hot_function"))(200000000) == 42; }\n' > main.c
gcc -g -O1 -shared -fPIC -o libhot.so hot.c
gcc -g -O1 -o main main.c -Wl,--dynamic-linker="$INTERPRETER"
perf record -q -e cpu-clock -g -o data ./main 2>&1; echo "perf $?"
perf report -i data --stdio --no-children -q -g none --sort dso,symbol 2> /dev/null | awk 'NF { print $2, $4; exit }'
perf script -i data -F ip,sym,dso 2> /dev/null | grep -oE ' (hot_function|main) \(.*' | sed 's|(.*/|(|' | sort -u
