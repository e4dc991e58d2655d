// glibc.rtld.execstack, obeyed from 2.41 on: a program that asks for an executable stack itself is refused with 0.
//#Program: -Wl,-z,execstack
//#Mode: pie nopie
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
static void show(void) {
    char line[512];
    FILE *maps = fopen("/proc/self/maps", "r");
    while (fgets(line, sizeof line, maps)) if (strstr(line, "[stack]")) printf("%.4s\n", strchr(line, ' ') + 1);
    fclose(maps);
}
int main(int argc, char **argv) {
    char self[4096] = {0}, tunable[] = "glibc.rtld.execstack=0";
    setvbuf(stdout, 0, _IOLBF, 0);
    show();
    if (argc > 1) return 0;
    readlink("/proc/self/exe", self, sizeof self - 1);
    for (char value = '0'; value < '4'; value++) {
        tunable[sizeof tunable - 2] = value;
        setenv("GLIBC_TUNABLES", tunable, 1);
        pid_t process = fork();
        if (!process) {
            // A program that was started directly is started so again.
            if (!strstr(self, "/program")) execl(self, "ld.so", argv[0], "child", (char *)0);
            execl(self, argv[0], "child", (char *)0);
            _exit(99);
        }
        int status;
        waitpid(process, &status, 0);
        printf("%s: status %d\n", tunable, WEXITSTATUS(status));
    }
    return 0;
}
