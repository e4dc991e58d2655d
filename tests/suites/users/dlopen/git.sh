# git over its own protocol to a server process, with packing threads and hooks.
#: needs: git
#: expect: Commit 3
export HOME=$PWD GIT_AUTHOR_DATE='2020-01-01T00:00:00Z' GIT_COMMITTER_DATE='2020-01-01T00:00:00Z'
git config --global user.name A && git config --global user.email a@example.org
git init -q -b main one && cd one
for n in 1 2 3; do seq $n 5000 > file && git add file && git commit -q -m "Commit $n"; done
git -c pack.threads=2 repack -adq && cd ..
git clone -q "file://$PWD/one" two && git -C two log --stat --no-color
git -C two fsck --strict 2>&1; git ls-remote https://127.0.0.1:1/none 2>&1 | sed "s/ after [0-9]* ms//"; echo "status ${PIPESTATUS[0]}"
