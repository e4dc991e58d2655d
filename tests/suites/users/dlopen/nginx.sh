# nginx serves a request with modules that it loads, and takes its configuration anew.
#: heavy
#: needs: nginx curl /usr/lib/nginx/modules/ngx_http_echo_module.so
#: expect: echoed /there
mkdir -p tmp
cat > nginx.conf <<CONF
load_module /usr/lib/nginx/modules/ngx_http_echo_module.so;
daemon off; master_process on; worker_processes 2; user root; pid $PWD/pid; error_log $PWD/error.log;
events { worker_connections 64; }
http {
    access_log off; client_body_temp_path $PWD/tmp; proxy_temp_path $PWD/tmp;
    fastcgi_temp_path $PWD/tmp; uwsgi_temp_path $PWD/tmp; scgi_temp_path $PWD/tmp;
    server { listen unix:$PWD/socket; location / { echo "echoed \$request_uri"; } }
}
CONF
/usr/sbin/nginx -c "$PWD/nginx.conf" -e "$PWD/error.log" & server=$!
for _ in $(seq 200); do curl -s -o first --unix-socket socket http://localhost/first && break; sleep 0.1; done
curl -sS --unix-socket socket http://localhost/there
kill -HUP $server; sleep 0.5
curl -sS --unix-socket socket http://localhost/again
kill -QUIT $server; wait $server; echo "nginx ended with $?"
