// A daemon that does something when it is told to: PATH... are opened at each SIGUSR1; what it was started with stays open.
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static void on_signal(int number) { (void)number; }

int main(int count, char **words) {
    signal(SIGUSR1, on_signal);
    memfd_create("nameless", 0);
    int pipes[2];
    if (pipe(pipes)) return 1;
    int old = open("old", O_RDONLY);
    int gone = open("rotated", O_WRONLY | O_CREAT, 0644);
    int log = open("log", O_WRONLY | O_CREAT | O_APPEND, 0644);
    unlink("rotated");
    struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "control"};
    int listener = socket(AF_UNIX, SOCK_STREAM, 0);
    unlink("control");
    if (old < 0 || gone < 0 || log < 0 || bind(listener, (void *)&address, sizeof address) || listen(listener, 1)) return 1;
    puts("ready");
    fflush(stdout);
    for (;;) {
        pause();
        int opened = 0;
        for (int index = 1; index < count; index++) {
            int fd = words[index][0] == '+' ? open(words[index] + 1, O_WRONLY | O_CREAT, 0644) : open(words[index], O_RDONLY);
            if (fd >= 0 && ++opened) close(fd);
        }
        printf("done: %d opened\n", opened);
        fflush(stdout);
    }
}
