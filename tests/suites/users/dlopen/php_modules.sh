# php loads its modules, which are libraries, calls into some, and complains of one that is not there.
#: heavy
#: needs: php
#: expect: array(1)
php -m 2>&1
php -r 'var_dump(mb_strtoupper("é"), preg_match("/o+/", "foo"), ctype_alpha("x"), hash("crc32b", "x"));
    $d = new DOMDocument; $d->loadXML("<a><b/></a>"); echo $d->saveXML();
    $q = new SQLite3(":memory:"); var_dump($q->query("select 7")->fetchArray(SQLITE3_NUM));
    $f = FFI::cdef("int abs(int);"); var_dump($f->abs(-3));' 2>&1
php -d extension=nowhere -r 'echo "still runs\n";' 2>&1
