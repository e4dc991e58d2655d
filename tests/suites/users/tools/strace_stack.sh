# strace shows the stack of each system call: the frames of the program and of an opened library, by name.
#: needs: strace gcc
#: expect: libwriter.so(call_write+
printf '#include <unistd.h>\nint call_write(void) { return write(1, "written\\n", 8) != 8; }\n' > writer.c
printf '#include <dlfcn.h>\nint main(void) { void *h = dlopen("./libwriter.so", RTLD_NOW); return ((int (*)(void))dlsym(h, "call_write"))(); }\n' > main.c
gcc -g -O0 -shared -fPIC -o libwriter.so writer.c
gcc -g -O0 -o main main.c -Wl,--dynamic-linker="$INTERPRETER"
strace -k -e trace=write ./main 2>&1 | sed -E 's/ \[0x[0-9a-f]+\]//'
