/* secrets.c - a walk over the environment that both sides do alike. */
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#include "proc/secrets.h"

/* The path behind "SD_X_FILE=", or NULL: no such variable. */
static const char *path_of(const char *variable)
{
    static const char end[] = "_FILE";
    const char *equals = strchr(variable, '=');
    size_t n = sizeof(end) - 1;

    if (equals == NULL || strncmp(variable, "SD_", 3) != 0 ||
        (size_t)(equals - variable) < n || memcmp(equals - n, end, n) != 0)
        return NULL;
    return equals + 1;
}

void secrets_open(struct heritage *h)
{
    for (char **e = environ; *e != NULL; e++) {
        const char *path = path_of(*e);

        if (path == NULL || h->secrets == HERITAGE_SECRETS)
            continue;
        h->secret[h->secrets++] =
            open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    }
}

void secrets_close(struct heritage *h)
{
    for (unsigned i = 0; i < h->secrets; i++)
        if (h->secret[i] >= 0)
            close(h->secret[i]);
    h->secrets = 0;
}

int secrets_find(const struct heritage *h, const char *path)
{
    unsigned n = 0;

    for (char **e = environ; *e != NULL && n < h->secrets; e++) {
        const char *own = path_of(*e);

        if (own == NULL)
            continue;
        if (strcmp(own, path) == 0)
            return h->secret[n];
        n++;
    }
    return -1;
}
