// Under Folio no page of glibc's loader is mapped, Folio's own file is, and no segment is writable and executable.
//#Only-on: folio
//#Ways: interp direct
#include <stdio.h>
#include <string.h>
int main(void) {
    char line[4096];
    int folio = 0;
    FILE *maps = fopen("/proc/self/maps", "r");
    while (fgets(line, sizeof line, maps)) {
        if (strstr(line, "ld-folio")) folio = 1;
        if (strstr(line, "ld-linux")) { fputs(line, stderr); return 1; }
        if (strstr(line, " rwxp ")) { fputs(line, stderr); return 2; }
    }
    return folio ? 0 : 3;
}
