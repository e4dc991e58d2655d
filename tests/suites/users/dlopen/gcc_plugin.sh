# gcc with link-time optimisation, for which ld, gold, ar and nm open a plug-in of gcc's.
#: needs: g++ gcc
#: expect: across two units
cat > a.cpp <<'CPP'
#include <cstdio>
const char *text();
int main() { std::puts(text()); }
CPP
echo 'const char *text() { return "across two units"; }' > b.cpp
g++ -flto=2 -O2 a.cpp b.cpp -o program && ./program
echo 'int x = ;' | gcc -x c - -o nothing 2>&1; echo "status $?"
for linker in bfd gold; do
    g++ -fuse-ld=$linker a.cpp b.cpp -o program.$linker && ./program.$linker
done
g++ -flto -c a.cpp -o a.o
ar --plugin "$(gcc -print-file-name=liblto_plugin.so)" rc all.a a.o && nm all.a 2>&1; echo "nm $?"
