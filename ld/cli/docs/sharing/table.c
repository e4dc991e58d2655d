/* Two tables, twelve pages each, that lead to the same names: pointers have to be relocated, offsets do not. */
#define NAMES 6144

static const char text[] = "zero\0one\0two";
static const char *const pointers[NAMES] = { [0 ... NAMES - 1] = text };
static const unsigned long offsets[NAMES] = { [0 ... NAMES - 1] = sizeof text - 4 };

const char *name(int number) {
    return number & 1 ? pointers[number] : text + offsets[number];
}
