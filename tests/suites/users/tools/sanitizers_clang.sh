# Programs built with the sanitizers of clang: libraries come and go in threads, memory that only a thread-local variable of an
# opened library points to is no leak, and every fault is found.
#: needs: clang clang++ gcc
#: heavy
#: expect: address churn 0
#: expect: leak l SUMMARY
sources=$(dirname "$0")/sources
compile() { # language sanitizer program source
    $1 -g -O1 -w -fsanitize=$2 -pthread -o $3.$2 "$sources/$4" -Wl,--dynamic-linker="$INTERPRETER"
}
gcc -g -O1 -shared -fPIC -o libplugin.so "$sources/plugin.c"
cp libplugin.so libsecond.so
for kind in address leak undefined thread; do
    compile clang++ $kind churn churn.cpp
    compile clang $kind opener opener.c
    # TSan of some releases finds races in glibc's loader, so there only the outcome of the program counts.
    if [ $kind = thread ]; then export TSAN_OPTIONS='report_bugs=0'; fi
    ./churn.$kind 2>&1; echo "$kind churn $?"
    ./opener.$kind 2>&1 | sed -E 's/==[0-9]+==//; s/\(BuildId.*//'; echo "$kind opener ${PIPESTATUS[0]}"
    unset TSAN_OPTIONS
done
fault() { # sanitizer fault words
    compile clang $1 faulty faulty.c
    ./faulty.$1 2>&1; echo "$1 $?"
    echo "$1 $2 $(./faulty.$1 $2 2>&1 | grep -oE "$3" | sort -u | head -1)"
}
fault address u 'SUMMARY: AddressSanitizer: heap-use-after-free'
fault address l 'SUMMARY: AddressSanitizer: 77 byte'
fault leak l 'SUMMARY: LeakSanitizer: 77 byte'
fault undefined o 'runtime error: left shift of 2 by 32|runtime error: shift exponent'
fault thread r 'WARNING: ThreadSanitizer: data race'
