/* reload_answer.h - what the master's answer to "reload" says. */
#ifndef SD_PROC_RELOAD_ANSWER_H
#define SD_PROC_RELOAD_ANSWER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"

struct reload_answer {
    bool ok;
    uint32_t generation, workers, tasks;
    /* An error or a note; borrows. */
    void (*on_text)(void *arg, struct slice text);
    void *arg;
};

/* What the line, JSON, does not say stays as it was. */
void reload_answer_read(struct reload_answer *out, struct slice line);

#endif
