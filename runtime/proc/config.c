/* config.c - scripts of the application never run in the master.
 *
 * The child has the rights of the folder's owner and nothing to lose: it
 * writes the bundle into a memfd that it inherits and says what is wrong on
 * its leash, file by file, so that one that never ends can be named.  The
 * master seals the file when the child has ended and nobody can write. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/bundle.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "loop/pollfd.h"
#include "loop/timer.h"
#include "proc/child.h"
#include "proc/config.h"
#include "proc/install.h"
#include "proc/instance.h"
#include "proc/leash.h"
#include "proc/secrets.h"
#include "proc/spawn.h"
#include "vm/conf_lua.h"

enum {
    SECONDS_DEFAULT = 10,
    SECONDS_MAX = 3600,
    STACK = 64 << 20,
};

unsigned config_seconds(void)
{
    const char *text = getenv("SD_CONFIG_SECONDS");
    unsigned long n = text == NULL ? 0 : strtoul(text, NULL, 10);

    return n >= 1 && n <= SECONDS_MAX ? (unsigned)n : SECONDS_DEFAULT;
}

/* --- the master's side ---------------------------------------------------- */

/* One child: what it fills and what it has said. */
struct build {
    int file; /* the bundle to be; -1: none */
    int leash;
    pid_t pid;
    bool late;           /* killed for it */
    char at[LEASH_TEXT]; /* the file it is at */
    struct buf errors, warnings;
};

static pid_t spawn(const struct user *owner, const struct build *b, int leash,
                   int running)
{
    struct heritage *h = mem_alloc(sizeof(*h));
    char title[] = "sdlua: config", verb[] = "--child", number[16];
    char *argv[] = {title, verb, number, NULL};
    const char *lua = install_lua_dir();
    int fds[HERITAGE_FDS_MAX + 1], own;
    struct spawn s = {
        .argv = argv,
        .fds = fds,
        .user = owner,
        .stack = STACK,
        .output = -1,
        .death_signal = SIGKILL,
    };
    pid_t pid;

    heritage_init(h);
    h->role = ROLE_CONFIG;
    h->master = getpid();
    h->parts = instance_parts();
    h->bundle = b->file;
    h->running = running;
    h->leash = leash;
    h->binary = s.binary = install_binary();
    snprintf(h->lua, sizeof(h->lua), "%s", lua != NULL ? lua : "");
    if (owner->change)
        secrets_open(h);
    own = heritage_write(h);
    pid = own;
    if (own >= 0) {
        snprintf(number, sizeof(number), "%d", own);
        s.nfds = heritage_fds(h, fds);
        fds[s.nfds++] = own;
        pid = spawn_child(&s);
        close(own);
    }
    secrets_close(h);
    mem_free(h);
    return pid;
}

static void build_fini(struct build *b)
{
    if (b->leash >= 0)
        close(b->leash);
    if (b->file >= 0)
        close(b->file);
    buf_fini(&b->errors);
    buf_fini(&b->warnings);
}

/* 0, or a negative code with a line in b->errors; build_fini() either way. */
static int build_begin(struct build *b, const struct user *owner, int running)
{
    int pair[2] = {-1, -1}, err;

    *b = (struct build){.file = -1, .leash = -1, .at = "config"};
    if (install_lua_dir() == NULL) {
        buf_append_str(&b->errors, "the framework (share/sdlua/lua) is not "
                                   "where the executable is\n");
        return SD_EUNAVAILABLE;
    }
    b->file = memfd_create("sdlua-bundle", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    err = b->file < 0 ? -errno : leash_pair(pair);
    if (err == 0) {
        b->leash = pair[0];
        b->pid = spawn(owner, b, pair[1], running);
        close(pair[1]);
        err = b->pid < 0 ? (int)b->pid : 0;
    }
    if (err < 0)
        buf_printf(&b->errors, "the configuration child: %s\n", err_str(err));
    return err;
}

/* The log's line says "warn" itself. */
static size_t skip_word(const char *text)
{
    static const char word[] = "warning: ";
    size_t n = sizeof(word) - 1;

    return strncmp(text, word, n) == 0 ? n : 0;
}

/* What is on the leash; false at its end. */
static bool build_read(struct build *b)
{
    struct leash_msg m;
    int n;

    while ((n = leash_receive(b->leash, &m)) > 0) {
        if (m.type == LEASH_FILE)
            snprintf(b->at, sizeof(b->at), "%s", m.text);
        else if (m.type == LEASH_NOTE && m.number == 1)
            buf_printf(&b->errors, "%s\n", m.text);
        else if (m.type == LEASH_NOTE)
            buf_printf(&b->warnings, "%s\n", m.text + skip_word(m.text));
    }
    return n == 0;
}

static void build_is_late(struct build *b)
{
    b->late = true;
    kill(b->pid, SIGKILL);
}

static int seal(int file)
{
    int seals = F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL;

    return fcntl(file, F_ADD_SEALS, seals) < 0 ? -errno : 0;
}

/* The child was reaped: the sealed bundle, the caller's, or a negative code
 * and why. */
static int build_end(struct build *b, int status)
{
    char why[64];
    int file = b->file, err;

    build_read(b);
    b->pid = 0;
    if (b->late) {
        buf_printf(&b->errors, "%s: not done within %u seconds\n", b->at,
                   config_seconds());
        return SD_ETIMEOUT;
    }
    if (status != 0) {
        spawn_status_text(status, why, sizeof(why));
        if (b->errors.len == 0)
            buf_printf(&b->errors, "%s: the configuration child ended: %s\n",
                       b->at, why);
        return SD_EFAILED;
    }
    err = seal(file);
    if (err < 0) {
        buf_printf(&b->errors, "the bundle: %s\n", err_str(err));
        return err;
    }
    b->file = -1;
    return file;
}

/* A line of the log for each of `text`. */
static void warn_lines(struct slice text)
{
    while (text.len > 0) {
        const char *end = memchr(text.p, '\n', text.len);
        size_t n = end != NULL ? (size_t)(end - text.p) : text.len;

        log_warn("%.*s", (int)n, text.p);
        text = slice_skip(text, n + (end != NULL));
    }
}

/* --- at the start: wait --------------------------------------------------- */

static int wait_child(struct build *b)
{
    uint64_t limit = clock_ms() + config_seconds() * 1000ULL;
    struct pollfd p = {.fd = b->leash, .events = POLLIN};
    int status = 0;

    while (!b->late && build_read(b)) {
        uint64_t now = clock_ms();

        if (now >= limit)
            build_is_late(b);
        else
            poll(&p, 1, (int)(limit - now));
    }
    while (waitpid(b->pid, &status, 0) < 0 && errno == EINTR)
        continue;
    return build_end(b, status);
}

int config_load(const struct user *owner, struct buf *errors)
{
    struct build *b = mem_alloc(sizeof(*b));
    int err = build_begin(b, owner, -1);

    if (err == 0)
        err = wait_child(b);
    warn_lines(buf_slice(&b->warnings));
    buf_append(errors, buf_slice(&b->errors).p, b->errors.len);
    build_fini(b);
    mem_free(b);
    return err;
}

/* --- for a reload: on the loop -------------------------------------------- */

struct config_job {
    struct build build;
    struct loop *loop;
    struct pollfd_watch *watch;
    struct timer limit;
    struct config_order order;
};

static void on_leash(void *arg)
{
    struct config_job *j = arg;

    if (!build_read(&j->build))
        pollfd_want(j->watch, false);
}

static void on_limit(struct timer *t)
{
    build_is_late(&list_entry(t, struct config_job, limit)->build);
}

static void job_free(struct config_job *j)
{
    timer_stop(j->loop, &j->limit);
    pollfd_close(&j->watch);
    build_fini(&j->build);
    mem_free(j);
}

int config_begin(struct config_job **out, struct loop *loop,
                 const struct config_order *order, struct buf *errors)
{
    struct config_job *j = mem_zalloc(sizeof(*j));
    int err = build_begin(&j->build, order->owner, order->running);

    j->loop = loop;
    j->order = *order;
    j->limit.fn = on_limit;
    if (err == 0)
        err = pollfd_open(&j->watch, loop, j->build.leash, on_leash, j);
    if (err < 0) {
        struct slice why = buf_slice(&j->build.errors);

        if (why.len == 0)
            why = slice_str(err_str(err));
        buf_append(errors, why.p, why.len);
        job_free(j); /* whose leash ends the child, if there is one */
        return err;
    }
    timer_start(loop, &j->limit, config_seconds() * 1000ULL);
    *out = j;
    return 0;
}

bool config_on_exit(struct config_job *j, int pid, int status)
{
    struct buf *notes;
    int fd;

    if (j == NULL || pid != j->build.pid)
        return false;
    fd = build_end(&j->build, status);
    warn_lines(buf_slice(&j->build.warnings));
    notes = fd < 0 ? &j->build.errors : &j->build.warnings;
    buf_append(notes, "", 1);
    j->order.on_done(j->order.arg, fd, buf_slice(notes).p);
    job_free(j);
    return true;
}

void config_cancel(struct config_job **jp)
{
    struct config_job *j = *jp;

    *jp = NULL;
    if (j == NULL)
        return;
    kill(j->build.pid, SIGKILL); /* reaped by whoever waits for any child */
    job_free(j);
}

/* --- the child's side ----------------------------------------------------- */

static void on_file(void *arg, const char *name)
{
    const struct heritage *h = arg;

    leash_send(h->leash, LEASH_FILE, 0, name);
}

static int on_secret(void *arg, const char *path)
{
    return secrets_find(arg, path);
}

static void send_notes(const struct heritage *h, struct slice report)
{
    struct conf_note note;

    while (conf_note_next(&note, &report)) {
        struct buf line = {0};

        conf_note_print(&line, &note);
        buf_append(&line, "", 1);
        line.p[line.head + line.len - 2] = '\0'; /* its newline */
        leash_send(h->leash, LEASH_NOTE, note.error, buf_slice(&line).p);
        buf_fini(&line);
    }
}

static bool write_all(int fd, struct slice s)
{
    while (s.len > 0) {
        ssize_t n = write(fd, s.p, s.len);

        if (n < 0)
            return false;
        s = slice_skip(s, (size_t)n);
    }
    return true;
}

int config_child(const struct heritage *h)
{
    struct heritage own = *h;
    struct bundle *running = NULL;
    struct conf_build_opts opts = {
        .framework_dir = h->lua,
        .environ = environ,
        .is_dispatch = h->parts == INSTANCE_DISPATCH,
        .on_file = on_file,
        .on_secret = on_secret,
        .arg = &own,
    };
    struct buf bundle = {0}, report = {0};
    bool done;

    fcntl(h->leash, F_SETFL, 0); /* many notes shall wait, not be lost */
    if (h->running >= 0 && bundle_open(&running, h->running) == 0)
        bundle_get(running, "config", &opts.running);
    done = conf_build(&opts, &bundle, &report) == 0;
    send_notes(h, buf_slice(&report));
    done = done && write_all(h->bundle, buf_slice(&bundle));
    buf_fini(&bundle);
    buf_fini(&report);
    bundle_close(&running);
    return done ? CHILD_DONE : CHILD_FAILED;
}
