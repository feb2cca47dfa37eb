/* Tries each known way out of a chroot: a line for each, "held" or "ESCAPED". Words: a process outside, and the name of a file that
   only the host has at its root; and an abstract socket of the host, if that is to be tried. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <unistd.h>

static void tell(const char *way, int escaped) { printf("%s %s\n", way, escaped ? "ESCAPED" : "held"); fflush(stdout); }

int main(int count, char **words) {
    if (count < 3) return 2;
    pid_t other = atoi(words[1]);
    const char *canary = words[2];
    tell("uid 0", setuid(0) == 0 || setreuid(0, 0) == 0 || setresuid(0, 0, 0) == 0);
    tell("gid 0", setgid(0) == 0 || setresgid(0, 0, 0) == 0);
    gid_t none = 0;
    tell("groups", syscall(SYS_setgroups, 1, &none) == 0);
    int out = 0;
    for (int i = 0; i < 4096; i++)
        if (faccessat(i, canary, F_OK, 0) == 0 || (fchdir(i) == 0 && access(canary, F_OK) == 0)) out = 1;
    tell("a descriptor", out);
    mkdir("inner", 0755);
    out = chroot("inner") == 0;
    for (int i = 0; i < 64; i++) (void)!chdir("..");
    tell("chroot again", out || access(canary, F_OK) == 0);
    tell("a device", mknod("disk", S_IFBLK | 0600, makedev(8, 0)) == 0);
    tell("a mount", mount("none", "/", "tmpfs", 0, "") == 0);
    tell("ptrace", ptrace(PTRACE_ATTACH, other, 0, 0) == 0);
    tell("a signal", kill(other, 0) == 0);
    tell("a user namespace's chroot", unshare(CLONE_NEWUSER) == 0 && chroot("..") == 0 && access(canary, F_OK) == 0);
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/root/%s", other, canary);
    tell("the root of another", access(path, F_OK) == 0);
    if (count > 3) {
        struct sockaddr_un name = {.sun_family = AF_UNIX};
        strncpy(name.sun_path + 1, words[3], sizeof name.sun_path - 2);
        int end = socket(AF_UNIX, SOCK_STREAM, 0);
        tell("an abstract socket", connect(end, (struct sockaddr *)&name, sizeof(sa_family_t) + 1 + strlen(words[3])) == 0);
    }
    return 0;
}
