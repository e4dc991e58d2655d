# Programs with the set-user-ID bit, run by an ordinary user: su refuses without a password, sudo lists, PAM's modules load.
#: needs: su sudo setpriv
#: expect: is not allowed to run sudo
as_nobody="setpriv --reuid=65534 --regid=65534 --clear-groups"
su -c 'echo su ran a shell; id -u' 2>&1
sudo -n id -u 2>&1
sudo -l -U root 2>&1 | grep -oE 'may (not )?run .*|\(.*'
sudo -l -U nobody 2>&1 | sed 's/ on .*//'
$as_nobody su -c true < /dev/null 2>&1; echo "su $?"
$as_nobody sudo -n true < /dev/null 2>&1; echo "sudo $?"
$as_nobody /usr/bin/passwd -S 2>&1; echo "passwd $?"
LD_PRELOAD=/nowhere.so $as_nobody env LD_DEBUG=libs su --version 2>&1 | grep -v 'cannot be preloaded'; echo "trace $?"
