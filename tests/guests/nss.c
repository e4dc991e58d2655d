// Users, groups, hosts and services through NSS, whose modules libc opens by itself.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <grp.h>
#include <netdb.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
int main(void) {
    struct passwd *user = getpwnam("root");
    if (!user || user->pw_uid) return 1;
    printf("%s %s\n", user->pw_dir, user->pw_shell);
    if (getpwnam("no-such-user-here")) return 2;
    struct group *group = getgrnam("root");
    if (!group || group->gr_gid) return 3;
    struct addrinfo hints = {.ai_family = AF_INET, .ai_socktype = SOCK_STREAM}, *result;
    int error = getaddrinfo("localhost", "80", &hints, &result);
    if (error) { puts(gai_strerror(error)); return 4; }
    char text[64];
    puts(inet_ntop(AF_INET, &((struct sockaddr_in *)result->ai_addr)->sin_addr, text, sizeof text));
    freeaddrinfo(result);
    struct protoent *protocol = getprotobyname("tcp");
    printf("tcp %d\n", protocol ? protocol->p_proto : -1);
    return 0;
}
