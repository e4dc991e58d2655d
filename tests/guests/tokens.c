// $ORIGIN, ${ORIGIN}, $LIB, ${LIB}, $PLATFORM in DT_RUNPATH, DT_NEEDED and dlopen; a token that is none stays as it is.
//#Library: plain/libplain.so: -Wl,-soname,libplain.so
//#Library: braced/libbraced.so: -Wl,-soname,libbraced.so
//#Shell: l=lib/x86_64-linux-gnu; mkdir -p "$l" 'odd/$ORIGINAL'
//#Library: lib/x86_64-linux-gnu/libtoken.so: -Wl,-soname,libtoken.so
//#Library: haswell/libplatform.so: -Wl,-soname,libplatform.so
//#Shell: mkdir -p x86_64 xeon_phi; cp haswell/libplatform.so x86_64/; cp haswell/libplatform.so xeon_phi/
//#Library: libslash.so: -Wl,-soname,'$ORIGIN/libslash.so'
//#Program: -Lplain -lplain -Lbraced -lbraced -Llib/x86_64-linux-gnu -ltoken -Lhaswell -lplatform -L. -lslash -Wl,-rpath,'$ORIGIN/plain:${ORIGIN}/braced:$ORIGIN/$LIB:${ORIGIN}/${PLATFORM}:odd/$ORIGINAL'
#if defined LIBPLAIN
int plain(void) { return 1; }
#elif defined LIBBRACED
int braced(void) { return 2; }
#elif defined LIBTOKEN
int token(void) { return 3; }
#elif defined LIBPLATFORM
int platform(void) { return 4; }
#elif defined LIBSLASH
int slash(void) { return 5; }
#else
#include <dlfcn.h>
#include <stdio.h>
int plain(void), braced(void), token(void), platform(void), slash(void);
int main(void) {
    if (plain() + braced() + token() + platform() + slash() != 15) return 1;
    if (!dlopen("$ORIGIN/plain/libplain.so", RTLD_NOW)) return 2;
    if (!dlopen("${ORIGIN}/$LIB/libtoken.so", RTLD_NOW)) return 3;
    if (dlopen("$ORIGINAL/libplain.so", RTLD_NOW)) return 4;
    puts(dlerror());
    return 0;
}
#endif
