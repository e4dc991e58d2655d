# A program that patchelf has changed twice: it puts new segments in front each time, and the table of names, which is larger
# than those, reaches through all of them into what was the first.
#: needs: gcc patchelf readelf
#: expect: runs
#: expect: 0
#: expect: segments that hold all names: 0
for number in $(seq 2000); do echo "int a_function_with_a_rather_long_name_$number(void) { return $number; }"; done > many.c
echo 'int puts(const char *); int main(void) { return puts("runs") < 0; }' >> many.c
gcc -w -no-pie -rdynamic -o changed many.c
patchelf --set-rpath "/$(printf 'x%.0s' $(seq 200))" changed
patchelf --set-interpreter "$INTERPRETER" changed
./changed 2>&1; echo $?
names=$(($(readelf -dW changed | awk '/\(STRTAB\)/ { print $3 }')))
end=$((names + $(readelf -dW changed | awk '/\(STRSZ\)/ { print $3 }')))
whole=0
while read -r _ _ start _ _ size _; do
    if [ $((start)) -le $names ] && [ $end -le $((start + size)) ]; then whole=$((whole + 1)); fi
done < <(readelf -lW changed | grep LOAD)
echo "segments that hold all names: $whole"
