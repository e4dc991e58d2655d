// glibc.rtld.execstack, obeyed from 2.41 on: executable stacks are refused (0), given to what asks (1), or given to all (2).
//#Library: libasks.so: -Wl,-z,execstack
//#Shell: gcc -O1 -shared -fPIC -x c -o libneedsit.so /dev/null -L. -Wl,--no-as-needed -lasks -Wl,-rpath,'$ORIGIN' -Wl,-z,noexecstack
//#Program: -Wl,-z,noexecstack
//#Run: 0
//#Run: 1
//#Run: 2
//#Run: 3
//#Normalise: requester
//#Mode: pie nopie
#ifdef LIBASKS
int asks;
#else
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
// Whether the mapping that holds an address can be executed.
static void show(const char *what, void *address) {
    char line[512];
    FILE *maps = fopen("/proc/self/maps", "r");
    while (fgets(line, sizeof line, maps)) {
        unsigned long start, end;
        char permissions[8];
        if (sscanf(line, "%lx-%lx %7s", &start, &end, permissions) == 3 && start <= (unsigned long)address &&
            (unsigned long)address < end)
            printf("%s %s\n", what, permissions);
    }
    fclose(maps);
}
static void *thread(void *what) {
    int local;
    show(what, &local);
    return 0;
}
static void stacks(void) {
    pthread_t id;
    thread("main");
    pthread_create(&id, 0, thread, "thread");
    pthread_join(id, 0);
}
// What is to be looked at runs as a child, for it may be refused. A program that was started directly is started so again.
static void child(const char *program, const char *word) {
    char self[4096] = {0};
    fflush(stdout);
    pid_t process = fork();
    if (!process) {
        readlink("/proc/self/exe", self, sizeof self - 1);
        int directly = !strstr(self, "/program");
        if (directly) execl(self, "ld.so", program, "child", word, (char *)0);
        execl(self, program, "child", word, (char *)0);
        _exit(99);
    }
    int status;
    waitpid(process, &status, 0);
    printf("%s: status %d\n", word, WEXITSTATUS(status));
}
int main(int argc, char **argv) {
    setvbuf(stdout, 0, _IOLBF, 0);
    if (argc == 3) {
        stacks();
        if (!strcmp(argv[2], "opens")) {
            if (!dlopen("./libasks.so", RTLD_NOW)) puts(dlerror());
            stacks();
        }
        return 0;
    }
    char tunable[64];
    snprintf(tunable, sizeof tunable, "glibc.rtld.execstack=%s", argv[1]);
    setenv("GLIBC_TUNABLES", tunable, 1);
    child(argv[0], "plain");
    child(argv[0], "opens");
    setenv("LD_PRELOAD", "./libneedsit.so", 1);
    child(argv[0], "needs");
    setenv("LD_PRELOAD", "./libasks.so", 1);
    child(argv[0], "preloads");
    return 0;
}
#endif
