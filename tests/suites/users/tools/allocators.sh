# Other allocators by LD_PRELOAD, under python3 and under threads that open and close libraries.
#: needs: g++ gcc patchelf python3 /usr/lib/x86_64-linux-gnu/libjemalloc.so.2 /usr/lib/x86_64-linux-gnu/libtcmalloc_minimal.so.4
#: heavy
#: expect: libjemalloc.so.2 churn 0
sources=$(dirname "$0")/sources
gcc -g -O1 -shared -fPIC -o libplugin.so "$sources/plugin.c"
cp libplugin.so libsecond.so
g++ -O1 -pthread -o churn "$sources/churn.cpp" -Wl,--dynamic-linker="$INTERPRETER"
cp "$(readlink -f /usr/bin/python3)" python && patchelf --set-interpreter "$INTERPRETER" python
for allocator in libjemalloc.so.2 libtcmalloc_minimal.so.4 libc_malloc_debug.so.0; do
    LD_PRELOAD=$allocator ./churn 2>&1; echo "$allocator churn $?"
    LD_PRELOAD=$allocator ./python -I - 2>&1 <<'PYTHON'
import ctypes, decimal, json, sqlite3, ssl, threading
total = []
work = lambda: total.append(sum(len(json.dumps(list(range(n)))) for n in range(200)))
threads = [threading.Thread(target=work) for _ in range(8)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
maps = open("/proc/self/maps").read()
print(sum(total), any(name in maps for name in ("libjemalloc", "libtcmalloc", "libc_malloc_debug")))
PYTHON
    echo "$allocator python $?"
done
