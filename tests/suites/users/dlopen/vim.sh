# vim runs a script with its syntax engine, and calls a function of a library by libcall().
#: needs: vim
#: expect: 42
export HOME=$PWD
printf 'beta\nalpha\n' > text
cat > script.vim <<'VIM'
%sort
%print
call writefile([libcallnr('libc.so.6', 'abs', -42), libcall('libc.so.6', 'getenv', 'TERM')], '/dev/stdout', 'a')
qall!
VIM
vim -es -u NONE -i NONE -S script.vim text 2>&1
