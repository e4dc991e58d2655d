// dladdr, dladdr1, dlinfo: which object and symbol an address belongs to.
//#Library: libwhere.so: -Wl,-soname,libwhere.so
//#Program: -L. -lwhere -Wl,-rpath,'$ORIGIN' -ldl -rdynamic
//#Mode: pie nopie
//#Ways: interp
#define _GNU_SOURCE
#ifdef LIBWHERE
int where(int x) { return x * 3; }
static int hidden_where(void) { return 1; }
void *address_of_hidden(void) { return hidden_where; }
int where_data[10];
#else
#include <dlfcn.h>
#include <elf.h>
#include <link.h>
#include <stdio.h>
#include <string.h>
int where(int);
void *address_of_hidden(void);
extern int where_data[10];
static const char *base(const char *path) { const char *slash = strrchr(path, '/'); return slash ? slash + 1 : path; }
int main(int argc, char **argv) {
    Dl_info info;
    void *library = dlopen("libwhere.so", RTLD_NOW);
    char *function = dlsym(library, "where");
    if (!dladdr(function + 1, &info)) return 1;
    printf("%s %s %d\n", base(info.dli_fname), info.dli_sname, (char *)info.dli_saddr == function);
    if (!dladdr(address_of_hidden(), &info)) return 2;
    printf("%s\n", base(info.dli_fname));
    if (!dladdr((void *)main, &info)) return 3;
    printf("%s %s\n", info.dli_fname, info.dli_sname);
    ElfW(Sym) *symbol;
    if (!dladdr1(function, &info, (void **)&symbol, RTLD_DL_SYMENT) || ELF64_ST_TYPE(symbol->st_info) != STT_FUNC) return 4;
    struct link_map *map;
    if (!dladdr1(function, &info, (void **)&map, RTLD_DL_LINKMAP) || map != library) return 5;
    int local;
    if (dladdr(&local, &info)) return 6;
    if (dlinfo(library, RTLD_DI_LINKMAP, &map) || strcmp(base(map->l_name), "libwhere.so")) return 7;
    char origin[4096];
    if (dlinfo(library, RTLD_DI_ORIGIN, origin) || !strstr(map->l_name, origin)) return 8;
    if (map->l_ld->d_tag == DT_NULL || (ElfW(Addr))info.dli_fbase != map->l_addr) return 9;
    return where(1) == 3 && where_data[0] == 0 ? 0 : 10;
}
#endif
