# ltrace shows calls between objects, and calls into a library that was opened.
#: needs: ltrace gcc
#: heavy
#: expect: plugged@libplugin.so
sources=$(dirname "$0")/sources
gcc -g -O0 -shared -fPIC -o libplugin.so "$sources/plugin.c"
gcc -g -O0 -o opener "$sources/opener.c" -Wl,--dynamic-linker="$INTERPRETER"
ltrace -e puts+dlsym ./opener 2>&1
ltrace -x plugged -e nothing ./opener 2>&1 | grep plugged | sed 's/(.*//'
