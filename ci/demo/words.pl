# Answers each line with facts about it, some from extension modules written in C.
use strict;
use warnings;
use List::Util qw(sum);
use POSIX qw(floor);

$| = 1;
while (my $word = <STDIN>) {
    chomp $word;
    my $mean = sum(map { ord } split //, $word) / length $word;
    printf "%s backwards is %s, mean letter %s\n", $word, scalar reverse($word), chr floor($mean);
}
exit 6;
