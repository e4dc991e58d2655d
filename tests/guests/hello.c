// The smallest program that prints, and the environment and arguments as passed.
//#Mode: pie nopie
//#Env: GREETING=hello world
//#Run: A=1 one two three
//#Run:
#include <stdio.h>
extern char **environ;
int main(int argc, char **argv) {
    for (int i = 0; i < argc; i++) puts(argv[i]);
    for (char **variable = environ; *variable; variable++) puts(*variable);
    return 0;
}
