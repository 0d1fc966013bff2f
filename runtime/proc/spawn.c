/* spawn.c - between fork and exec a child becomes what it shall be.
 *
 * Its own process group keeps a Ctrl-C on the master's terminal from ending
 * it before the master says so.  The signal at the parent's death is asked
 * for after the ids have changed, which clears it, and it survives exec; a
 * master that died before that moment is noticed by getppid(). */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "proc/spawn.h"

enum {
    EXEC_FAILED = 127
};

static void reset_signals(void)
{
    sigset_t none;

    for (int sig = 1; sig < NSIG; sig++)
        if (sig != SIGKILL && sig != SIGSTOP)
            signal(sig, SIG_DFL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

static void raise_stack(uint64_t want)
{
    struct rlimit limit;

    if (want == 0 || getrlimit(RLIMIT_STACK, &limit) < 0)
        return;
    if (limit.rlim_cur != RLIM_INFINITY && limit.rlim_cur >= want)
        return;
    limit.rlim_cur = want;
    if (limit.rlim_max != RLIM_INFINITY && limit.rlim_max < want)
        limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_STACK, &limit);
}

static void keep_open(int fd)
{
    int flags = fd >= 0 ? fcntl(fd, F_GETFD) : -1;

    if (flags >= 0)
        fcntl(fd, F_SETFD, flags & ~FD_CLOEXEC);
}

/* By its path in /proc, because tools that follow exec want a path. */
static void exec_binary(int binary, char *const *argv)
{
    char path[32];

    keep_open(binary);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", binary);
    execv(path, argv);
    fexecve(binary, argv, environ);
}

_Noreturn static void become(const struct spawn *s, pid_t parent)
{
    int null = open("/dev/null", O_RDONLY);

    reset_signals();
    setpgid(0, 0);
    if (null >= 0)
        dup2(null, STDIN_FILENO);
    if (null > STDERR_FILENO)
        close(null);
    if (s->output >= 0) {
        dup2(s->output, STDOUT_FILENO);
        dup2(s->output, STDERR_FILENO);
    }
    for (unsigned i = 0; i < s->nfds; i++)
        keep_open(s->fds[i]);
    raise_stack(s->stack);
    if (s->user != NULL && user_become(s->user) < 0)
        _exit(EXEC_FAILED);
    if (s->death_signal != 0)
        prctl(PR_SET_PDEATHSIG, s->death_signal, 0, 0, 0);
    if (getppid() != parent)
        _exit(EXEC_FAILED);
    if (s->binary >= 0)
        exec_binary(s->binary, s->argv);
    else
        execvp(s->argv[0], s->argv);
    _exit(EXEC_FAILED);
}

pid_t spawn_child(const struct spawn *s)
{
    pid_t parent = getpid();
    pid_t pid = fork();

    if (pid == 0)
        become(s, parent);
    return pid > 0 ? pid : -errno;
}

void spawn_status_text(int status, char *text, size_t size)
{
    if (WIFSIGNALED(status))
        snprintf(text, size, "signal %d (%s)", WTERMSIG(status),
                 strsignal(WTERMSIG(status)));
    else
        snprintf(text, size, "exit status %d", WEXITSTATUS(status));
}
