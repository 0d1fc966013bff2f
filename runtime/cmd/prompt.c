/* prompt.c - see prompt.h.
 *
 * Editing and history are libedit's.  It is looked for when a person wants to
 * type, so that the server itself, which is the same binary, neither needs nor
 * loads it; without it the terminal's own line editing must do.
 *
 * libedit shows the prompt first and makes the terminal raw when it reads.
 * What a quick person types between the two, the terminal would edit: it would
 * be echoed twice, and the Ctrl-D of an empty line be lost.  So the terminal is
 * raw before the prompt is there. */
#include "cmd/prompt.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

struct editor {
    int (*initialize)(void);
    char *(*readline)(const char *prompt);
    int (*add_history)(const char *line);
};

bool prompt_is_person(void)
{
    return isatty(STDIN_FILENO) && isatty(STDOUT_FILENO);
}

/* A function from a library, in the one way that C allows. */
static void *symbol(void *library, const char *name)
{
    return library != NULL ? dlsym(library, name) : NULL;
}

static const struct editor *editor(void)
{
    static struct editor e;
    static bool was_sought;
    void *library, *initialize, *read, *add;

    if (!was_sought) {
        was_sought = true;
        library = dlopen("libedit.so.2", RTLD_NOW);
        initialize = symbol(library, "rl_initialize");
        read = symbol(library, "readline");
        add = symbol(library, "add_history");
        if (initialize != NULL && read != NULL && add != NULL) {
            memcpy(&e.initialize, &initialize, sizeof(initialize));
            memcpy(&e.readline, &read, sizeof(read));
            memcpy(&e.add_history, &add, sizeof(add));
            e.initialize();
        }
    }
    return e.readline != NULL ? &e : NULL;
}

static const char *plain_line(const char *text)
{
    static char *line;
    static size_t size;
    ssize_t n;

    if (prompt_is_person()) {
        fputs(text, stdout);
        fflush(stdout);
    }
    n = getline(&line, &size, stdin);
    if (n < 0)
        return NULL;
    if (n > 0 && line[n - 1] == '\n')
        line[n - 1] = '\0';
    return line;
}

/* libedit has seen the terminal as it was (rl_initialize) and makes it so
 * again after each line. */
static void raw_mode(void)
{
    struct termios t;

    if (tcgetattr(STDIN_FILENO, &t) != 0)
        return;
    t.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
    tcsetattr(STDIN_FILENO, TCSADRAIN, &t);
}

const char *prompt_line(const char *text)
{
    static char *line;
    const struct editor *e = prompt_is_person() ? editor() : NULL;

    if (e == NULL)
        return plain_line(text);
    free(line);
    raw_mode();
    line = e->readline(text);
    if (line != NULL && line[0] != '\0')
        e->add_history(line);
    return line;
}
