/* Prints what it is: whoever is confined has no more than was promised. Static: it needs no file of its jail. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

extern char **environ;

static int by_name(const void *one, const void *other) { return strcmp(*(char **)one, *(char **)other); }

int main(int count, char **words) {
    uid_t real, effective, saved;
    getresuid(&real, &effective, &saved);
    printf("uid %u %u %u\n", real, effective, saved);
    gid_t group, effective_group, saved_group, groups[256];
    getresgid(&group, &effective_group, &saved_group);
    printf("gid %u %u %u\n", group, effective_group, saved_group);
    int many = getgroups(256, groups);
    printf("groups");
    for (int i = 0; i < many; i++) printf(" %u", groups[i]);
    mode_t mask = umask(0);
    printf("\numask %03o\nno_new_privs %d\n", mask, prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct data[2];
    syscall(SYS_capget, &header, data);
    printf("effective %08x%08x\npermitted %08x%08x\ninheritable %08x%08x\n", data[1].effective, data[0].effective,
           data[1].permitted, data[0].permitted, data[1].inheritable, data[0].inheritable);
    unsigned long long bounding = 0, ambient = 0;
    for (int i = 0; i < 64; i++) {
        if (prctl(PR_CAPBSET_READ, i, 0, 0, 0) == 1) bounding |= 1ULL << i;
        if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, i, 0, 0) == 1) ambient |= 1ULL << i;
    }
    printf("bounding %016llx\nambient %016llx\ndescriptors", bounding, ambient);
    for (int i = 0; i < 4096; i++)
        if (fcntl(i, F_GETFD) >= 0) printf(" %d", i);
    char place[4096];
    printf("\ncwd %s\n", getcwd(place, sizeof place) ? place : "none");
    printf("session %s\n", getsid(0) == getpid() ? "own" : "another's");
    printf("terminal %s\n", open("/dev/tty", O_RDWR) < 0 ? "none" : "there");
    printf("keyring %s\n", syscall(SYS_keyctl, 0, -3, 0) > 0 ? "own" : "none");
    struct rlimit limit;
    getrlimit(RLIMIT_NPROC, &limit);
    printf("nproc %lld\n", (long long)limit.rlim_max);
    int ignored = 0;
    for (int i = 1; i < 65; i++) {
        struct sigaction action;
        if (sigaction(i, NULL, &action) == 0 && action.sa_handler != SIG_DFL) ignored++;
    }
    printf("signals %d\n", ignored);
    size_t variables = 0;
    while (environ[variables]) variables++;
    qsort(environ, variables, sizeof *environ, by_name);
    for (size_t i = 0; i < variables; i++) printf("env %s\n", environ[i]);
    for (int i = 1; i < count; i++) printf("word %s\n", words[i]);
    return count > 1 ? atoi(words[1]) : 0;
}
