// A busy daemon: DIRECTORY. Threads that open and read, children by fork, vfork and exec, timers, queued signals. It counts
// what went right and what went wrong, and says so when it is told to end by SIGTERM.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

static atomic_int queued, ticks, reads, children, interrupted, wrong;
static volatile sig_atomic_t over;
static const char *self;

static void fail(const char *what) {
    fprintf(stderr, "wrong: %s: %s\n", what, strerror(errno));
    wrong++;
}

static void on_queued(int number) { (void)number; queued++; }
static void on_tick(int number) { (void)number; ticks++; }
static void on_end(int number) { (void)number; over = 1; }

static void look(const char *name, const char *expected) {
    char text[64];
    int fd;
    do fd = open(name, O_RDONLY | O_CLOEXEC); while (fd < 0 && errno == EINTR);
    if (fd < 0) { fail(name); return; }
    ssize_t size = read(fd, text, sizeof text);
    if (size != (ssize_t)strlen(expected) || memcmp(text, expected, size)) fail("read");
    if (close(fd)) fail("close");
}

static void *in_reader(void *unused) {
    struct stat status;
    while (!over) {
        look("config", "config\n");
        if (stat("nowhere", &status) != -1 || errno != ENOENT) fail("stat");
        int fd = open("log", O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
        if (fd < 0 || write(fd, "x", 1) != 1 || ftruncate(fd, 0) || close(fd)) fail("log");
        reads++;
    }
    return NULL;
}

static void *in_short_thread(void *unused) {
    look("of-thread", "of-thread\n");
    return NULL;
}

static void *in_maker(void *unused) {
    while (!over) {
        pthread_t thread;
        int status, result;
        pid_t child = fork();
        if (child == 0) {
            look("of-child", "of-child\n");
            execl(self, self, "executed", NULL);
            _exit(99);
        }
        do result = waitpid(child, &status, 0); while (result < 0 && errno == EINTR);
        if (result != child || status != 0) fail("child");
        // Not posix_spawn: it blocks all signals meanwhile, and a SIGCHLD that is blocked somewhere is not ignored but ends
        // an epoll_wait elsewhere, whoever watches.
        child = vfork();
        if (child == 0) {
            execl(self, self, "spawned", NULL);
            _exit(99);
        }
        do result = waitpid(child, &status, 0); while (result < 0 && errno == EINTR);
        if (result != child || status != 0) fail("spawned");
        if (pthread_create(&thread, NULL, in_short_thread, NULL) || pthread_join(thread, NULL)) fail("thread");
        children++;
    }
    return NULL;
}

static void *in_loop(void *unused) {
    // As a server's loop: it is never told of anything, but the time is over now and then.
    struct epoll_event event;
    int set = epoll_create1(0);
    while (!over) {
        int result = epoll_wait(set, &event, 1, 20);
        if (result < 0 && errno == EINTR) interrupted++;
        else if (result != 0) fail("epoll_wait");
    }
    return NULL;
}

int main(int count, char **words) {
    if (count == 2 && (!strcmp(words[1], "executed") || !strcmp(words[1], "spawned"))) {
        char expected[64];
        snprintf(expected, sizeof expected, "%s\n", words[1]);
        look(words[1], expected);
        return wrong != 0;
    }
    self = words[0];
    if (count != 2 || chdir(words[1])) return 2;
    sigset_t caught;
    pthread_t threads[5];
    sigemptyset(&caught);
    sigaddset(&caught, SIGRTMIN);
    sigaddset(&caught, SIGALRM);
    sigaddset(&caught, SIGTERM);
    signal(SIGRTMIN, on_queued);
    signal(SIGALRM, on_tick);
    signal(SIGTERM, on_end);
    // epoll_wait gives EINTR for a caught signal, which must not be taken for ours.
    pthread_sigmask(SIG_BLOCK, &caught, NULL);
    pthread_create(&threads[0], NULL, in_loop, NULL);
    pthread_create(&threads[1], NULL, in_maker, NULL);
    pthread_sigmask(SIG_UNBLOCK, &caught, NULL);
    pthread_create(&threads[2], NULL, in_reader, NULL);
    pthread_create(&threads[3], NULL, in_reader, NULL);
    struct itimerval every = {{0, 2000}, {0, 2000}};
    setitimer(ITIMER_REAL, &every, NULL);
    puts("ready");
    fflush(stdout);
    while (!over) pause();
    for (int index = 0; index < 4; index++) pthread_join(threads[index], NULL);
    printf("queued %d wrong %d interrupted %d reads %d children %d ticks %d\n", queued, wrong, interrupted, reads, children,
           ticks > 10);
    return 0;
}
