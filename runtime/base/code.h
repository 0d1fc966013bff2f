/* code.h - what a generation is made of: its bundle and its configuration.
 *
 * Counted, because a process may run two generations at once and each vm needs
 * its own until it has ended.  One thread. */
#ifndef SD_BASE_CODE_H
#define SD_BASE_CODE_H

#include "base/bundle.h"
#include "base/conf.h"

struct code {
    unsigned refs;
    unsigned generation;
    struct bundle *bundle;
    struct conf *conf;
};

/* Map a sealed bundle and read its configuration; holds a reference.  The
 * descriptor is borrowed.  0, or a negative code and *why static text. */
int code_open(struct code **out, int fd, unsigned generation, const char **why);
struct code *code_ref(struct code *c);

/* Takes the reference and sets the pointer to NULL; accepts NULL. */
void code_unref(struct code **cp);

#endif
