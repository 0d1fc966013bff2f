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

#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "proc/child.h"
#include "proc/config.h"
#include "proc/install.h"
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

/* --- the master's side ------------------------------------------------------ */

static pid_t spawn(const struct user *owner, int file, int leash)
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
    h->bundle = file;
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

struct listener_state {
    char file[LEASH_TEXT]; /* the one it is at */
    struct buf *errors;
};

/* The log's line says "warn" itself. */
static size_t skip_word(const char *text)
{
    static const char word[] = "warning: ";
    size_t n = sizeof(word) - 1;

    return strncmp(text, word, n) == 0 ? n : 0;
}

/* What is on the leash; false at its end. */
static bool read_leash(int fd, struct listener_state *state)
{
    struct leash_msg m;
    int n;

    while ((n = leash_receive(fd, &m)) > 0) {
        if (m.type == LEASH_FILE)
            snprintf(state->file, sizeof(state->file), "%s", m.text);
        else if (m.type == LEASH_NOTE && m.number == 1)
            buf_printf(state->errors, "%s\n", m.text);
        else if (m.type == LEASH_NOTE)
            log_warn("%s", m.text + skip_word(m.text));
    }
    return n == 0;
}

/* 0 when the child is done, SD_ETIMEOUT after it was killed, or SD_EFAILED. */
static int wait_child(pid_t pid, int leash, struct listener_state *state)
{
    uint64_t limit = clock_ms() + config_seconds() * 1000ULL;
    struct pollfd p = {.fd = leash, .events = POLLIN};
    bool late = false;
    char why[64];
    int status = 0;

    while (!late && read_leash(leash, state)) {
        uint64_t now = clock_ms();

        late = now >= limit;
        if (!late)
            poll(&p, 1, (int)(limit - now));
    }
    if (late)
        kill(pid, SIGKILL);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        continue;
    if (late) {
        buf_printf(state->errors, "%s: not done within %u seconds\n",
                   state->file, config_seconds());
        return SD_ETIMEOUT;
    }
    if (status == 0)
        return 0;
    spawn_status_text(status, why, sizeof(why));
    if (state->errors->len == 0)
        buf_printf(state->errors, "%s: the configuration child ended: %s\n",
                   state->file, why);
    return SD_EFAILED;
}

static int seal(int file)
{
    int seals = F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL;

    return fcntl(file, F_ADD_SEALS, seals) < 0 ? -errno : 0;
}

static int run_child(const struct user *owner, int file, struct buf *errors)
{
    struct listener_state state = {.file = "config", .errors = errors};
    int pair[2];
    int err = leash_pair(pair);
    pid_t pid;

    if (err < 0)
        return err;
    pid = spawn(owner, file, pair[1]);
    close(pair[1]);
    err = pid > 0 ? wait_child(pid, pair[0], &state) : (int)pid;
    close(pair[0]);
    return err;
}

int config_load(const struct user *owner, struct buf *errors)
{
    int file, err;

    if (install_lua_dir() == NULL) {
        buf_append_str(errors, "the framework (share/sdlua/lua) is not "
                               "where the executable is\n");
        return SD_EUNAVAILABLE;
    }
    file = memfd_create("sdlua-bundle", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (file < 0)
        return -errno;
    err = run_child(owner, file, errors);
    if (err == 0)
        err = seal(file);
    if (err == 0)
        return file;
    if (errors->len == 0)
        buf_printf(errors, "the configuration child: %s\n", err_str(err));
    close(file);
    return err;
}

/* --- the child's side -------------------------------------------------------- */

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
    struct conf_build_opts opts = {
        .framework_dir = h->lua,
        .environ = environ,
        .on_file = on_file,
        .on_secret = on_secret,
        .arg = &own,
    };
    struct buf bundle = {0}, report = {0};
    bool done;

    fcntl(h->leash, F_SETFL, 0); /* many notes shall wait, not be lost */
    done = conf_build(&opts, &bundle, &report) == 0;
    send_notes(h, buf_slice(&report));
    done = done && write_all(h->bundle, buf_slice(&bundle));
    buf_fini(&bundle);
    buf_fini(&report);
    return done ? CHILD_DONE : CHILD_FAILED;
}
