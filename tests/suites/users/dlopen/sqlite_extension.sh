# sqlite3 loads an extension that adds a function, and says why another cannot be loaded.
#: needs: sqlite3 gcc /usr/include/sqlite3ext.h
#: expect: 84
cat > twice.c <<'C'
#include <sqlite3ext.h>
SQLITE_EXTENSION_INIT1
static void twice(sqlite3_context *context, int count, sqlite3_value **values) {
    sqlite3_result_int64(context, 2 * sqlite3_value_int64(values[0]));
}
int sqlite3_twice_init(sqlite3 *database, char **error, const sqlite3_api_routines *api) {
    SQLITE_EXTENSION_INIT2(api);
    return sqlite3_create_function(database, "twice", 1, SQLITE_UTF8, 0, twice, 0, 0);
}
C
gcc -shared -fPIC -o twice.so twice.c
/usr/bin/sqlite3 :memory: '.load ./twice' 'select twice(42)' 2>&1
/usr/bin/sqlite3 :memory: '.load ./nowhere' 2>&1; echo "status $?"
