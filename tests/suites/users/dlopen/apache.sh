# apache2 serves a request on loopback with the worker threads, directories, rewriting and compression as modules.
#: heavy
#: needs: apache2 curl python3
#: expect: served through apache
port=$(/usr/bin/python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
mkdir -p docs logs
echo 'served through apache' > docs/index.html
chmod 755 . docs; chmod 644 docs/index.html
modules=/usr/lib/apache2/modules
{
    printf 'ServerName localhost\nServerRoot %s\nListen 127.0.0.1:%s\n' "$PWD" "$port"
    for name in mpm_event authz_core authz_host mime dir alias rewrite deflate headers status filter env setenvif ssl socache_shmcb proxy proxy_http; do
        echo "LoadModule ${name}_module $modules/mod_$name.so"
    done
    printf 'PidFile logs/pid\nErrorLog logs/error\nTypesConfig /dev/null\nDocumentRoot %s/docs\nUser www-data\nGroup www-data\n' "$PWD"
    printf 'DefaultRuntimeDir %s/logs\nMutex file:%s/logs default\n' "$PWD" "$PWD"
    printf 'RewriteEngine on\nRewriteRule ^/moved$ /index.html [L]\nHeader set X-Folio yes\nAddOutputFilterByType DEFLATE text/html\nAddType text/html .html\n'
} > httpd.conf
/usr/sbin/apache2 -f "$PWD/httpd.conf" -t 2>&1
/usr/sbin/apache2 -f "$PWD/httpd.conf" -DFOREGROUND & server=$!
for _ in $(seq 200); do curl -s -o first "http://127.0.0.1:$port/" && break; sleep 0.1; done
curl -sS -i "http://127.0.0.1:$port/moved" --compressed | tr -d '\r' |
    grep -E '^(HTTP|X-Folio|served)'
kill -USR1 $server; sleep 0.3
curl -sS "http://127.0.0.1:$port/"
kill -WINCH $server
wait $server; echo "apache2 ended with $?"
grep -cE 'segfault|Segmentation' logs/error || true
