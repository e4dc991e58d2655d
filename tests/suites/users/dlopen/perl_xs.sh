# perl loads every XS module that it comes with, and ends with all of them loaded.
#: needs: perl
#: expect: loaded POSIX
for module in $(
    /usr/bin/perl -MConfig -e 'print $Config{archlibexp}' |
        xargs -I{} find {}/auto -name '*.so' -printf '%P\n' | sed 's|/[^/]*$||; s|/|::|g' | sort
); do
    # Each in a process of its own: some replace functions of others.
    /usr/bin/perl -e 'my $m = shift; eval "require $m; 1" ? print "loaded $m\n" : print "refused $m: ", $@ =~ /^(.{0,90})/' "$module"
done
/usr/bin/perl -MPOSIX=floor -MSocket -MEncode -MStorable=dclone -MDigest::SHA=sha1_hex -MList::Util=sum -MData::Dumper -e '
    print sha1_hex("x"), floor(2.7), inet_ntoa(inet_aton("127.0.0.1")), sum(@{dclone([1 .. 9])}), length encode("UTF-16", "x"), "\n"'
