#!/bin/sh
# Makes what the guide shows: builds the three libraries and the program, and has folio look at four processes of it.
# Usage: figures.sh [FOLIO]; the picture goes beside this script, the tables to standard output.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
folio=$(command -v "${1:-folio}")
work=$(mktemp -d)
trap 'rm -r "$work"' EXIT
cd "$work"
gcc -O1 -shared -fPIC -o libcounter.so "$here/../../../../ci/demo/counter.c"
gcc -O1 -shared -fno-pic -mcmodel=large -Wl,-z,notext -o libtext.so "$here/text.c"
gcc -O1 -shared -fPIC -o libtable.so "$here/table.c"
gcc -O1 -o program "$here/program.c" -L. -lcounter -ltext -ltable -Wl,-rpath,"$work"
"$folio" share --under folio -n 4 --map map.svg ./program
# Where it was drawn is of no interest.
sed -E "s,/[^ <\"]*/(program|lib(counter|text|table)\.so|ld-folio\.so\.1),\1,g" map.svg > "$here/../sharing.svg"
"$folio" lint ./libcounter.so ./libtext.so ./libtable.so
