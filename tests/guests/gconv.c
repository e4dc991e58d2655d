// iconv opens conversion modules with libc's own dlopen; conversions there and back.
#include <iconv.h>
#include <locale.h>
#include <stdio.h>
#include <string.h>
static int there_and_back(const char *charset, const char *text) {
    char middle[256], back[256];
    char *in = (char *)text, *out = middle;
    size_t in_left = strlen(text), out_left = sizeof middle;
    iconv_t there = iconv_open(charset, "UTF-8"), again = iconv_open("UTF-8", charset);
    if (there == (iconv_t)-1 || again == (iconv_t)-1) return 1;
    if (iconv(there, &in, &in_left, &out, &out_left) == (size_t)-1) return 2;
    iconv(there, 0, 0, &out, &out_left);
    size_t size = out - middle;
    printf("%s:", charset);
    for (size_t i = 0; i < size; i++) printf(" %02x", (unsigned char)middle[i]);
    puts("");
    in = middle, out = back, in_left = size, out_left = sizeof back;
    if (iconv(again, &in, &in_left, &out, &out_left) == (size_t)-1) return 3;
    iconv_close(there), iconv_close(again);
    return (size_t)(out - back) != strlen(text) || memcmp(back, text, strlen(text)) ? 4 : 0;
}
int main(void) {
    setlocale(LC_ALL, "");
    int failed = there_and_back("ISO-2022-JP", "\xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e kana");
    if (!failed) failed = there_and_back("EUC-JP", "\xe6\x97\xa5\xe6\x9c\xac");
    if (!failed) failed = there_and_back("UTF-16LE", "abc \xe2\x82\xac");
    if (!failed) failed = there_and_back("ISO-8859-15", "\xe2\x82\xac");
    return failed;
}
