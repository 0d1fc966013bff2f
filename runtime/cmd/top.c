/* top.c - the busiest routes, conns and workers, over and over.
 *
 * For a person the terminal is redrawn with the few sequences that all of them
 * know, on a screen of its own that is given back at the end; `q` ends it.
 * For a program there is one snapshot (-n: more), of the time between two
 * looks. */
#include <errno.h>
#include <math.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "cmd/cmd.h"
#include "cmd/top_show.h"

static const char enter_screen[] = "\x1b[?1049h\x1b[?25l";
static const char leave_screen[] = "\x1b[?25h\x1b[?1049l";
static const char home[] = "\x1b[H\x1b[2J";

struct screen {
    bool is_person; /* it is a terminal, on both sides */
    struct termios before;
};

static volatile sig_atomic_t ended;

static void on_signal(int signum)
{
    ended |= signum != SIGWINCH;
}

static void screen_open(struct screen *s, bool is_person)
{
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    struct termios raw;

    s->is_person = is_person && tcgetattr(STDIN_FILENO, &s->before) == 0;
    if (!s->is_person)
        return;
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGWINCH, &action, NULL);
    raw = s->before;
    raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
    tcsetattr(STDIN_FILENO, TCSANOW, &raw);
    fputs(enter_screen, stdout);
}

static void screen_close(struct screen *s)
{
    if (!s->is_person)
        return;
    fputs(leave_screen, stdout);
    fflush(stdout);
    tcsetattr(STDIN_FILENO, TCSANOW, &s->before);
}

/* Wait; false: whoever sits there has enough. */
static bool screen_rest(const struct screen *s, int ms)
{
    struct pollfd p = {.fd = s->is_person ? STDIN_FILENO : -1,
                       .events = POLLIN};
    uint64_t until = clock_ms() + (uint64_t)ms, now;
    char key;

    while (!ended && (now = clock_ms()) < until) {
        int n = poll(&p, 1, (int)(until - now));

        if (n < 0 && errno == EINTR)
            return !ended; /* another size: draw now */
        if (n > 0 && (read(STDIN_FILENO, &key, 1) != 1 || key == 'q'))
            return false;
    }
    return !ended;
}

static void draw(const struct cmd *cmd, const struct screen *s,
                 const struct top *t)
{
    struct winsize size = {0};
    struct buf text = {0};
    struct slice all;

    if (s->is_person)
        ioctl(STDOUT_FILENO, TIOCGWINSZ, &size);
    if (cmd->json)
        top_json(t, &text);
    else
        top_text(t, size.ws_row > 1 ? size.ws_row - 1U : 0, size.ws_col, &text);
    all = buf_slice(&text);
    if (s->is_person)
        fputs(home, stdout);
    fwrite(all.p, 1, all.len, stdout);
    fflush(stdout);
    buf_fini(&text);
}

/* `count` pictures, 0: until somebody ends it. */
static int watch(const struct cmd *cmd, struct screen *s, struct top *t,
                 unsigned long count, int ms)
{
    char why[TOP_WHY];
    unsigned long n = 0;
    int err = top_look(t, why);

    if (err == 0)
        screen_open(s, isatty(STDIN_FILENO) && isatty(STDOUT_FILENO) &&
                           !cmd->json && cmd->count == NULL);
    while (err == 0 && screen_rest(s, ms)) {
        err = top_look(t, why);
        if (err == 0)
            draw(cmd, s, t);
        if (err == 0 && ++n == count)
            break;
    }
    screen_close(s);
    if (err == 0 || ended)
        return CMD_DONE;
    if (err == -ENOENT || err == -ECONNREFUSED || n > 0) {
        cmd_complain("not running");
        return CMD_NOT_RUNNING;
    }
    cmd_complain("%s", why);
    return CMD_FAILED;
}

static bool read_number(const char *text, double *n)
{
    char *end;

    if (text == NULL)
        return true;
    *n = strtod(text, &end);
    return end != text && *end == '\0' && isfinite(*n);
}

int cmd_top(const struct cmd *cmd)
{
    double count = isatty(STDOUT_FILENO) && !cmd->json ? 0 : 1, seconds = 1;
    struct screen screen = {0};
    struct top *t;
    int status;

    if (!read_number(cmd->count, &count) || count < 0 || count > 1e9 ||
        !read_number(cmd->interval, &seconds) || seconds < 0.1 ||
        seconds > 3600) {
        cmd_complain("top: -n: a count, -i: seconds, 0.1 to 3600");
        return CMD_USAGE;
    }
    t = mem_zalloc(sizeof(*t));
    status =
        watch(cmd, &screen, t, (unsigned long)count, (int)(seconds * 1000));
    top_close(t);
    mem_free(t);
    return status;
}
