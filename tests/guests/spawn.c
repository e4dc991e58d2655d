// posix_spawn, system, popen and execvp: children are ordinary programs.
#define _GNU_SOURCE
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
extern char **environ;
int main(void) {
    char *arguments[] = {"sh", "-c", "exit 3", NULL};
    pid_t process;
    int status;
    if (posix_spawnp(&process, "sh", 0, 0, arguments, environ)) return 1;
    if (waitpid(process, &status, 0) != process || WEXITSTATUS(status) != 3) return 2;
    if (WEXITSTATUS(system("exit 4")) != 4) return 3;
    char line[32];
    FILE *pipe = popen("echo piped", "r");
    if (!fgets(line, sizeof line, pipe) || pclose(pipe)) return 4;
    fputs(line, stdout);
    fflush(stdout);
    execlp("echo", "echo", "executed", NULL);
    return 5;
}
