# valgrind's tools on threads that open and close libraries, where they find nothing, and on faults, which they all find.
#: needs: valgrind g++ gcc
#: heavy
#: expect: memcheck u 1
#: expect: helgrind r 1
sources=$(dirname "$0")/sources
gcc -g -O0 -shared -fPIC -o libplugin.so "$sources/plugin.c"
cp libplugin.so libsecond.so
gcc -g -O0 -o opener "$sources/opener.c" -Wl,--dynamic-linker="$INTERPRETER"
gcc -g -O0 -o faulty "$sources/faulty.c" -Wl,--dynamic-linker="$INTERPRETER"
# drd looks away in files lib*/ld*.so*: it takes no notice of atomic stores, so every loader needs that.
mkdir lib && cp "$INTERPRETER" lib/ld.so.1
g++ -g -O1 -pthread -o churn "$sources/churn.cpp" -Wl,--dynamic-linker="$PWD/lib/ld.so.1"
for tool in memcheck helgrind drd; do
    for program in opener churn; do
        valgrind -q --tool=$tool --error-exitcode=9 ./$program 2>&1
        echo "$tool $program $?"
    done
done
valgrind -q --leak-check=full --show-leak-kinds=definite --errors-for-leak-kinds=definite --error-exitcode=9 ./churn 2>&1
echo "leaks $?"
found() { # how many of the reports have the words
    echo "$1 $2 $(valgrind -q --tool=$1 --leak-check=full ./faulty $2 2>&1 | grep -cE "$3" | sed 's/^[1-9].*/1/')"
}
found memcheck l 'definitely lost'
found memcheck u 'Invalid read'
found memcheck i 'uninitialised value'
found_race() { echo "$1 r $(valgrind -q --tool=$1 ./faulty r 2>&1 | grep -cE "$2" | sed 's/^[1-9].*/1/')"; }
found_race helgrind 'Possible data race'
found_race drd 'Conflicting'
for tool in massif callgrind dhat; do
    valgrind -q --tool=$tool --$tool-out-file=$tool.out ./churn 2>&1
    echo "$tool $?"
done
callgrind_annotate callgrind.out 2>&1 | grep -c 'plugin\.c:plugged' | sed 's/^[1-9].*/plugged was counted/'
