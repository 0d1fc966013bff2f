/* child.c - the first moments of every child, whatever its role. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "proc/agent.h"
#include "proc/child.h"
#include "proc/config.h"
#include "proc/heritage.h"
#include "proc/relay.h"
#include "proc/task.h"
#include "proc/title.h"
#include "proc/worker.h"

/* Descriptors that crossed exec shall not cross another one. */
static void keep_to_ourselves(const struct heritage *h)
{
    int fds[HERITAGE_FDS_MAX];
    unsigned n = heritage_fds(h, fds);

    for (unsigned i = 0; i < n; i++)
        if (fds[i] > STDERR_FILENO)
            fcntl(fds[i], F_SETFD, FD_CLOEXEC);
    close(h->binary);
}

static int run(const struct heritage *h)
{
    char title[48];

    switch ((enum heritage_role)h->role) {
    case ROLE_CONFIG:
        title_set("sdlua: config");
        return config_child(h);
    case ROLE_WORKER:
        snprintf(title, sizeof(title), "sdlua: worker %u", h->index);
        title_set(title);
        return worker_run(h);
    case ROLE_TASK:
        snprintf(title, sizeof(title), "sdlua: task %u", h->index);
        title_set(title);
        return task_run(h);
    case ROLE_RELAY:
        snprintf(title, sizeof(title), "sdlua: relay %u", h->index);
        title_set(title);
        return relay_run(h);
    case ROLE_AGENT:
        title_set("sdlua: agent");
        return agent_run(h);
    }
    return CHILD_STRANGER;
}

int child_main(const char *fd)
{
    struct heritage *h = NULL;
    int status;

    if (heritage_read(&h, (int)strtol(fd, NULL, 10)) < 0) {
        fprintf(stderr, "sdlua: --child is for the master only, and of the "
                        "same build\n");
        return CHILD_STRANGER;
    }
    prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    if (getppid() != h->master) {
        mem_free(h);
        return CHILD_FAILED;
    }
    signal(SIGPIPE, SIG_IGN);
    keep_to_ourselves(h);
    status = run(h);
    mem_free(h);
    return status;
}
