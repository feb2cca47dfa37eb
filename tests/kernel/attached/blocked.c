// Threads that wait in calls which a stop disturbs, or must not disturb: each that returns is a line of output.
#define _GNU_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static void say(const char *name, int result) {
    printf("%s %s\n", name, result < 0 ? strerrorname_np(errno) : "done");
}

static void *in_epoll(void *unused) {
    struct epoll_event event;
    int set = epoll_create1(0);
    for (;;) say("epoll_wait", epoll_wait(set, &event, 1, -1));
}

static void *in_epoll_pwait(void *unused) {
    struct epoll_event event;
    sigset_t mask;
    sigfillset(&mask);
    sigdelset(&mask, SIGUSR1);
    int set = epoll_create1(0);
    for (;;) say("epoll_pwait", epoll_pwait(set, &event, 1, 100000000, &mask));
}

static void *in_accept(void *with_time_out) {
    struct timeval time_out = {300, 0};
    int made = socket(AF_INET, SOCK_STREAM, 0);
    if (with_time_out) setsockopt(made, SOL_SOCKET, SO_RCVTIMEO, &time_out, sizeof time_out);
    listen(made, 1);
    for (;;) say("accept", accept(made, NULL, NULL));
}

static void *in_receive(void *unused) {
    struct timeval time_out = {300, 0};
    char byte;
    int pair[2];
    socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
    setsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &time_out, sizeof time_out);
    for (;;) say("recv", recv(pair[0], &byte, 1, 0));
}

static void *in_sigtimedwait(void *unused) {
    struct timespec time_out = {300, 0};
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR2);
    for (;;) say("sigtimedwait", sigtimedwait(&set, NULL, &time_out));
}

static void *in_poll(void *unused) {
    for (;;) say("poll", poll(NULL, 0, 300000));
}

static void *in_select(void *unused) {
    struct timeval time_out = {300, 0};
    for (;;) say("select", select(0, NULL, NULL, NULL, &time_out));
}

static void *in_futex(void *unused) {
    sem_t never;
    sem_init(&never, 0, 0);
    for (;;) say("futex", sem_wait(&never));
}

static void *in_read(void *unused) {
    char events[4096];
    int watch = inotify_init1(0);
    for (;;) say("read", read(watch, events, sizeof events));
}

static void *in_sleep(void *unused) {
    struct timespec begin, end, length = {3, 0};
    clock_gettime(CLOCK_MONOTONIC, &begin);
    int result = nanosleep(&length, NULL);
    clock_gettime(CLOCK_MONOTONIC, &end);
    double took = (end.tv_sec - begin.tv_sec) + (end.tv_nsec - begin.tv_nsec) / 1e9;
    printf("slept %d %s\n", result, took > 2.99 && took < 3.5 ? "right" : "wrong");
    return NULL;
}

static void handler(int number) {
    (void)number;
}

int main(int count, char **words) {
    sigset_t blocked;
    struct sigaction action = {.sa_handler = handler};
    pthread_t thread;
    setvbuf(stdout, NULL, _IOLBF, 0);
    // Another thread than the one that waits for it in epoll_wait is to have it, so all others block it.
    sigaction(SIGHUP, &action, NULL);
    signal(SIGPIPE, SIG_IGN);
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGUSR2);
    pthread_sigmask(SIG_BLOCK, &blocked, NULL);
    pthread_create(&thread, NULL, in_epoll, NULL);
    sigaddset(&blocked, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &blocked, NULL);
    pthread_create(&thread, NULL, in_accept, NULL);
    pthread_create(&thread, NULL, in_accept, words);
    pthread_create(&thread, NULL, in_receive, NULL);
    pthread_create(&thread, NULL, in_sigtimedwait, NULL);
    pthread_create(&thread, NULL, in_poll, NULL);
    pthread_create(&thread, NULL, in_select, NULL);
    pthread_create(&thread, NULL, in_futex, NULL);
    pthread_create(&thread, NULL, in_read, NULL);
    pthread_create(&thread, NULL, in_sleep, NULL);
    pthread_create(&thread, NULL, in_epoll_pwait, NULL);
    usleep(100000);
    puts("ready");
    for (;;) pause();
}
