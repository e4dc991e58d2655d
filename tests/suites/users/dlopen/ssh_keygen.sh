# ssh-keygen makes keys and reads them back; a security key's provider is a library that is not there.
#: needs: ssh-keygen
#: expect: (ED25519)
export HOME=$PWD
for kind in ed25519 rsa ecdsa; do
    ssh-keygen -q -t $kind -N '' -C folio -f $kind && ssh-keygen -l -f $kind.pub | sed 's/SHA256:[^ ]*/HASH/'
done
ssh-keygen -D "$PWD/libnowhere.so" 2>&1; echo "status $?"
