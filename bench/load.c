/* Loads that time themselves: the nanoseconds of the loop alone go to 127.0.0.1:PORT as one datagram.
 *
 *   load PORT KIND COUNT [WORD...]
 *
 * The start of a tool is no part of what is told; a load of 0 rounds shows the start alone. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static long long now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static void tell(int port, long long nanoseconds)
{
    struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    char text[32];
    int s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    int length = sprintf(text, "%lld", nanoseconds);
    if (s < 0 || sendto(s, text, length, 0, (struct sockaddr *)&to, sizeof to) != length) {
        perror("load: cannot tell its time");
        exit(4);
    }
    close(s);
}

static void fail(const char *what)
{
    perror(what);
    exit(3);
}

static pthread_barrier_t barrier;

static void *thread(void *path)
{
    struct stat st;
    pthread_barrier_wait(&barrier); /* all of them are alive at once */
    for (int i = 0; i < 10; i++)
        if (stat(path, &st)) fail(path);
    return NULL;
}

static int run(char **words)
{
    int status;
    pid_t child = fork();
    if (child < 0) fail("fork");
    if (child == 0) {
        execv(words[0], words);
        _exit(127);
    }
    if (waitpid(child, &status, 0) != child) fail("waitpid");
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int main(int argc, char **argv)
{
    if (argc < 4) return 2;
    int port = atoi(argv[1]), status = 0;
    const char *kind = argv[2], *path = argc > 4 ? argv[4] : "";
    long count = atol(argv[3]);
    char name[4096];
    struct stat st;

    if (!strcmp(kind, "listed-stat") || !strcmp(kind, "listed-access")) { /* PATH is in DIRECTORY, argv[5], which is read first */
        DIR *d = opendir(argv[5]);
        int listed = 0, f;
        if (!d) fail(argv[5]);
        while (readdir(d)) listed++;
        closedir(d);
        f = open(path, O_RDONLY);
        if (f < 0 || listed < 3) fail(path);
        close(f);
        kind += strlen("listed-");
    }
    pthread_t *threads = calloc(count + 1, sizeof *threads);
    pthread_barrier_init(&barrier, NULL, count ? count : 1);
    pthread_attr_t small;
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, 65536);

    long long began = now();
    if (!strcmp(kind, "open"))
        for (long i = 0; i < count; i++) { int f = open(path, O_RDONLY); if (f < 0) fail(path); close(f); }
    else if (!strcmp(kind, "stat"))
        for (long i = 0; i < count; i++) { if (stat(path, &st)) fail(path); }
    else if (!strcmp(kind, "access"))
        for (long i = 0; i < count; i++) { if (access(path, R_OK)) fail(path); }
    else if (!strcmp(kind, "miss"))
        for (long i = 0; i < count; i++) { if (open(path, O_RDONLY) >= 0) exit(3); }
    else if (!strcmp(kind, "misses"))
        for (long i = 0; i < count; i++) { sprintf(name, "%s%ld", path, i); if (open(name, O_RDONLY) >= 0) exit(3); }
    else if (!strcmp(kind, "getppid"))
        for (long i = 0; i < count; i++) syscall(SYS_getppid);
    else if (!strcmp(kind, "files")) /* PATH/000/000000 and so on, a thousand in a directory */
        for (long i = 0; i < count; i++) {
            sprintf(name, "%s/%03ld/%06ld", path, i / 1000, i);
            int f = open(name, O_RDONLY);
            if (f < 0) fail(name);
            close(f);
        }
    else if (!strcmp(kind, "processes"))
        for (long i = 0; i < count; i++) { if (run(argv + 4)) fail(path); }
    else if (!strcmp(kind, "threads")) {
        for (long i = 0; i < count; i++) if (pthread_create(threads + i, &small, thread, (void *)path)) fail("pthread_create");
        for (long i = 0; i < count; i++) pthread_join(threads[i], NULL);
    } else if (!strcmp(kind, "run"))
        status = run(argv + 4);
    else
        return 2;
    tell(port, now() - began);
    return status;
}
