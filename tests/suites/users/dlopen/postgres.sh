# postgres makes a cluster, starts it, loads extensions into several of its processes, and stops.
#: heavy
#: needs: setpriv psql
#: expect: 3
chown postgres . ; chmod 755 .
cat > inside.sh <<'INSIDE'
set -e
bin=$(ls -d /usr/lib/postgresql/*/bin | tail -1)
export HOME=$PWD/home PGHOST=$PWD/socket
mkdir -p home socket
"$bin/initdb" -D data --no-sync -A trust -E UTF8 --locale=C.UTF-8 > initdb.log 2>&1 || { cat initdb.log; exit 1; }
"$bin/pg_ctl" -D data -s -w -l log -o "-c listen_addresses='' -k $PWD/socket -c jit=on -c jit_above_cost=0" start || { cat log; exit 1; }
"$bin/psql" -At postgres <<'SQL'
create table t as select n, n::text as s from generate_series(1, 2000) as n;
select sum(n), max(length(s)) from t;
do $$ begin perform sqrt(2); raise notice 'plpgsql is here'; end $$;
select count(*) from pg_available_extensions where name in ('plpgsql', 'pg_trgm', 'hstore');
create extension pg_trgm;
select similarity('folio', 'folios');
create extension hstore;
select 'a=>1, b=>2'::hstore -> 'b';
load 'auto_explain';
load 'nowhere';
SQL
"$bin/pg_ctl" -D data -s -m fast stop
grep -c 'terminated by signal' log || true
INSIDE
setpriv --reuid=postgres --regid=postgres --clear-groups bash inside.sh 2>&1
