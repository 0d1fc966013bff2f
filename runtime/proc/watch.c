/* watch.c - inotify on folders: editors save in many ways (write, rename over,
 * delete and create), and all of them are an event in the file's folder.
 *
 * A save is several events, and "save all" many files, so the reload waits for
 * QUIET after the last one. */
#include "proc/watch.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/log.h"
#include "base/mem.h"
#include "loop/pollfd.h"
#include "loop/timer.h"

enum {
    WATCH_MAGIC = 0x77617463,
    QUIET = 100, /* ms */
    DEPTH = 16,  /* folders in folders */
    PATH = 1024,
};

static const uint32_t events = IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM |
                               IN_DELETE | IN_CREATE | IN_ONLYDIR;

static const char *const folders[] = {"config", "scripts", "lib",
                                      "lua_modules"};

enum {
    FOLDERS = sizeof(folders) / sizeof(folders[0])
};

struct watch {
    unsigned magic;
    struct loop *loop;
    int fd;
    struct pollfd_watch *poll;
    struct timer quiet;
    void (*on_change)(void *arg);
    void *arg;
};

/* A folder and those in it.  One that is watched already stays so. */
static void add(struct watch *w, const char *path, unsigned depth)
{
    struct dirent *e;
    DIR *d;

    if (inotify_add_watch(w->fd, path, events) < 0) {
        if (errno != ENOENT && errno != ENOTDIR)
            log_warn("%s is not watched: %s", path, strerror(errno));
        return;
    }
    d = depth > 0 ? opendir(path) : NULL;
    while (d != NULL && (e = readdir(d)) != NULL) {
        char inner[PATH];

        bool may_be = e->d_type == DT_DIR || e->d_type == DT_UNKNOWN;

        if (!may_be || e->d_name[0] == '.')
            continue;
        if (snprintf(inner, sizeof(inner), "%s/%s", path, e->d_name) < PATH)
            add(w, inner, depth - 1);
    }
    if (d != NULL)
        closedir(d);
}

static void add_all(struct watch *w)
{
    for (unsigned i = 0; i < FOLDERS; i++)
        add(w, folders[i], DEPTH);
}

/* Editors make files of their own beside: hidden, or with other endings. */
static bool is_ours(const struct inotify_event *e)
{
    size_t n = e->len > 0 ? strlen(e->name) : 0;

    if (e->mask & (IN_ISDIR | IN_Q_OVERFLOW))
        return true;
    return n > 4 && e->name[0] != '.' && (e->mask & IN_CREATE) == 0 &&
           strcmp(e->name + n - 4, ".lua") == 0;
}

static void on_events(void *arg)
{
    struct watch *w = arg;
    _Alignas(struct inotify_event) char room[4096];
    bool changed = false;
    ssize_t n;

    sd_check(w, WATCH_MAGIC);
    while ((n = read(w->fd, room, sizeof(room))) > 0) {
        for (char *p = room; p < room + n;) {
            const struct inotify_event *e = (const void *)p;

            changed |= is_ours(e);
            p += sizeof(*e) + e->len;
        }
    }
    if (changed)
        timer_start(w->loop, &w->quiet, QUIET);
}

static void on_quiet(struct timer *t)
{
    struct watch *w = list_entry(t, struct watch, quiet);

    add_all(w); /* folders that are new */
    w->on_change(w->arg);
}

int watch_open(struct watch **out, struct loop *loop,
               void (*on_change)(void *arg), void *arg)
{
    struct watch *w;
    int fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC), err;

    if (fd < 0)
        return -errno;
    w = mem_zalloc(sizeof(*w));
    w->magic = WATCH_MAGIC;
    w->loop = loop;
    w->fd = fd;
    w->quiet.fn = on_quiet;
    w->on_change = on_change;
    w->arg = arg;
    err = pollfd_open(&w->poll, loop, fd, on_events, w);
    if (err < 0) {
        watch_close(&w);
        return err;
    }
    add_all(w);
    *out = w;
    return 0;
}

void watch_close(struct watch **wp)
{
    struct watch *w = *wp;

    if (w == NULL)
        return;
    sd_check(w, WATCH_MAGIC);
    *wp = NULL;
    timer_stop(w->loop, &w->quiet);
    pollfd_close(&w->poll);
    close(w->fd);
    w->magic = 0;
    mem_free(w);
}
