//! A program that opens a library while its calls fail, and looks for what is left over.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use folio_tests::run::{Run, Status};

/// Two libraries, one of which needs the other, and one that needs many; they have thread-local storage, data to relocate and a constructor.
const SOURCES: &str = r#"
cat > inner.c <<'END'
__thread int inner_tls = 3;
int inner_data[2000] = {4};
int *inner_pointer = inner_data;
static int began;
__attribute__((constructor)) static void begin(void) { began = 1; }
int inner(void) { return inner_tls + *inner_pointer + began; }
END
cat > outer.c <<'END'
int inner(void);
extern __thread int inner_tls;
char zeros[20000];
int outer(void) { return inner() + inner_tls + zeros[19999]; }
END
cat > guest.c <<'END'
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <link.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
struct state { int objects, descriptors, mappings; };
static int count(struct dl_phdr_info *info, size_t size, void *total) { (void)info, (void)size; return ++*(int *)total, 0; }
static struct state look(void) {
    struct state state = {0, 0, 0};
    dl_iterate_phdr(count, &state.objects);
    DIR *folder = opendir("/proc/self/fd");
    while (readdir(folder)) state.descriptors++;
    closedir(folder);
    FILE *maps = fopen("/proc/self/maps", "r");
    char line[4096];
    // Without a name: memory of the loader's and the C library's own, which may grow.
    while (fgets(line, sizeof line, maps)) state.mappings += strchr(line, '/') != NULL;
    fclose(maps);
    return state;
}
static int works(void *library) {
    int (*outer)(void) = (int (*)(void))dlsym(library, "outer");
    return outer && outer() == 3 + 4 + 1 + 3;
}
int main(int argc, char **argv) {
    if (argc < 3) return 0;
    if (!strcmp(argv[1], "warm")) {
        void *library = dlopen(argv[2], RTLD_NOW);
        if (!library || !works(library) || dlclose(library)) return 10;
    }
    look();
    struct state before = look();
    if (!strcmp(argv[1], "close")) {
        void *library = dlopen(argv[2], RTLD_NOW);
        if (!library || !works(library)) return 20;
        getppid();
        int status = dlclose(library);
        getppid();
        if (status) return 21;
        struct state after = look();
        if (after.objects != before.objects) return 22;
        if (after.descriptors != before.descriptors) return 23;
        if (dlopen(argv[2], RTLD_NOW | RTLD_NOLOAD) || dlopen("libinner.so", RTLD_NOW | RTLD_NOLOAD)) return 24;
        dlerror();
        puts(after.mappings == before.mappings ? "closed" : "left mappings");
        library = dlopen(argv[2], RTLD_NOW);
        return library && works(library) && !dlclose(library) ? 0 : 25;
    }
    getppid();
    void *library = dlopen(argv[2], RTLD_NOW);
    getppid();
    if (library) {
        if (!works(library)) return 11;
        if (dlclose(library)) return 12;
        puts("opened");
    } else {
        const char *error = dlerror();
        printf("declined %s\n", error ? error : "(null)");
        if (!error || !*error) return 13;
        if (dlopen(argv[2], RTLD_NOW | RTLD_NOLOAD) || dlopen("libinner.so", RTLD_NOW | RTLD_NOLOAD)) return 14;
        dlerror();
    }
    struct state after = look();
    if (after.objects != before.objects) return 15;
    if (after.descriptors != before.descriptors) return 16;
    if (after.mappings != before.mappings) return 17;
    library = dlopen(argv[2], RTLD_NOW);
    if (!library) { puts(dlerror()); return 18; }
    return works(library) ? 0 : 19;
}
END
gcc -O1 -fPIC -shared -o libinner.so inner.c
gcc -O1 -fPIC -shared -o libouter.so outer.c -L. -linner
echo 'int one;' | gcc -x c -fPIC -shared -o libone.so -
for number in $(seq 60); do cp libone.so "libpart$number.so"; done
gcc -O1 -fPIC -shared -o libmany.so outer.c -L. -Wl,--no-as-needed -linner $(seq -f -lpart%g 60)
gcc -O1 -fPIE -pie -o guest guest.c
cat > auditor.c <<'END'
#define _GNU_SOURCE
#include <link.h>
#include <stdint.h>
#include <stdlib.h>
static int objects;
unsigned la_version(unsigned version) { return version; }
unsigned la_objopen(struct link_map *map, Lmid_t namespace, uintptr_t *cookie) {
    (void)map, (void)namespace, (void)cookie;
    free(malloc(10000));
    return objects++, LA_FLG_BINDTO | LA_FLG_BINDFROM;
}
END
gcc -O1 -fPIC -shared -o auditor.so auditor.c
"#;

/// Builds it in a folder; gives the program.
pub fn build(folder: &Path) -> Result<PathBuf> {
    fs::create_dir_all(folder)?;
    let made = Run::new("/bin/sh").args(["-ec", SOURCES]).in_folder(folder).outcome()?;
    if made.status != Status::Exit(0) {
        bail!("{}", String::from_utf8_lossy(&made.stderr));
    }
    Ok(folder.join("guest"))
}
