/* title.c - the kernel shows the memory where it put argv at exec.
 *
 * Writing there changes the title.  When the last byte of that memory is not
 * NUL, the kernel reads on into the environment behind it, so a title may be
 * longer than the arguments were once the environment lives elsewhere. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/mem.h"
#include "proc/title.h"

static char *room;
static size_t room_size;
/* Roots for leak checkers: volatile, or the compiler drops what is only
 * written. */
static char **volatile kept_argv, **volatile kept_environ;

/* Copy a list of `n` strings that the kernel laid out one behind the other;
 * *end moves to the end of the last that follows without a gap. */
static char **copy_away(char **list, size_t n, char **end)
{
    char **copy = mem_alloc((n + 1) * sizeof(*copy));

    for (size_t i = 0; i < n; i++) {
        if (list[i] == *end)
            *end += strlen(list[i]) + 1;
        copy[i] = mem_dup(list[i], strlen(list[i]));
    }
    copy[n] = NULL;
    return copy;
}

char **title_init(int argc, char **argv)
{
    size_t n = 0;
    char *end = argv[0];

    room = argv[0];
    kept_argv = copy_away(argv, (size_t)argc, &end);
    while (environ[n] != NULL)
        n++;
    kept_environ = copy_away(environ, n, &end);
    environ = kept_environ;
    room_size = (size_t)(end - room);
    return kept_argv;
}

void title_set(const char *title)
{
    const char *name = strchr(title, ' ');

    prctl(PR_SET_NAME, name != NULL ? name + 1 : title, 0, 0, 0);
    if (room_size == 0)
        return;
    memset(room, 0, room_size);
    snprintf(room, room_size, "%s", title);
}
