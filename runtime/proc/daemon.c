/* daemon.c - the parent waits on a pipe.
 *
 * One byte means "serving".  End of file without it means that the daemon
 * ended; it has said why on the terminal it shared with the parent, which
 * then leaves with the daemon's own exit status. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "proc/daemon.h"

static int ready_fd = -1;

static int wait_for(pid_t pid, int fd)
{
    char byte;
    ssize_t n;
    int status;

    do
        n = read(fd, &byte, 1);
    while (n < 0 && errno == EINTR);
    if (n == 1)
        return EXIT_SUCCESS;
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return EXIT_FAILURE;
    if (WIFEXITED(status) && WEXITSTATUS(status) != 0)
        return WEXITSTATUS(status);
    return EXIT_FAILURE;
}

int daemon_fork(void)
{
    int pipe_fds[2];
    pid_t pid;

    if (pipe2(pipe_fds, O_CLOEXEC) < 0 || (pid = fork()) < 0) {
        fprintf(stderr, "sdlua: fork: %s\n", strerror(errno));
        return EXIT_FAILURE;
    }
    if (pid > 0) {
        close(pipe_fds[1]);
        return wait_for(pid, pipe_fds[0]);
    }
    close(pipe_fds[0]);
    ready_fd = pipe_fds[1];
    setsid();
    return -1;
}

void daemon_ready(int log)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);

    fflush(stdout);
    if (null >= 0)
        dup2(null, STDIN_FILENO);
    dup2(log, STDOUT_FILENO);
    dup2(log, STDERR_FILENO);
    close(null);
    if (ready_fd >= 0 && write(ready_fd, "", 1) == 1)
        close(ready_fd);
    ready_fd = -1;
}
