// Some threads open and close namespaces without pause while others fork; each child opens namespaces of its own, calls into
// them and closes them. In the end as much is mapped as in the beginning. (glibc's children can find its locks taken.)
//#Library: opened.so: -Wl,--as-needed
//#Program: -ldl
//#Only-on: folio
//#Env: GLIBC_TUNABLES=glibc.rtld.nns=16
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <atomic>
#include <thread>
#include <vector>
#if defined OPENED
static thread_local char local[64] = "local";
extern "C" int work(int value) {
    char *copy = strdup(local);
    snprintf(local, sizeof local, "%.5s%d", copy, value);
    free(copy);
    return (int)strlen(local) - 5;
}
#else
static std::atomic<int> failures, opened, children;
static std::atomic<bool> over;
static bool round_trip(const char *who) {
    void *library = dlmopen(LM_ID_NEWLM, "./opened.so", RTLD_NOW);
    auto work = library ? (int (*)(int))dlsym(library, "work") : nullptr;
    if (!work || work(42) != 2 || dlclose(library)) {
        const char *error = dlerror();
        fprintf(stderr, "%s: %s\n", who, error ? error : "wrong");
        failures++;
        return false;
    }
    opened++;
    return true;
}
static void open_and_close() { while (!over) round_trip("thread"); }
static void fork_again() {
    for (int i = 0; i < 25; i++) {
        pid_t child = fork();
        if (!child) {
            alarm(60);
            _exit(round_trip("child") && round_trip("child again") ? 0 : 1);
        }
        int status = -1;
        if (child < 0 || waitpid(child, &status, 0) != child || status) {
            fprintf(stderr, "child: status %x\n", status);
            failures++;
        }
        children++;
    }
}
// Mappings of files; those of allocators and stacks come and go.
static int mapped() {
    FILE *maps = fopen("/proc/self/maps", "r");
    int count = 0;
    for (char line[4096]; fgets(line, sizeof line, maps);) count += strchr(line, '/') != nullptr;
    fclose(maps);
    return count;
}
int main() {
    round_trip("first");
    int before = mapped();
    std::vector<std::thread> forkers, others;
    for (int i = 0; i < 3; i++) others.emplace_back(open_and_close);
    for (int i = 0; i < 2; i++) forkers.emplace_back(fork_again);
    for (auto &thread : forkers) thread.join();
    over = true;
    for (auto &thread : others) thread.join();
    int after = mapped();
    if (after != before) { fprintf(stderr, "%d mappings of files, then %d\n", before, after); failures++; }
    if (children != 50 || opened < 25) { fprintf(stderr, "%d children, %d openings\n", (int)children, (int)opened); failures++; }
    return failures ? 1 : 0;
}
#endif
