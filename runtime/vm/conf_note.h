/* conf_note.h - one thing that is wrong or odd in an application.
 *
 * A report is bytes that hold any number of notes: it travels from the
 * process that reads the configuration to the one that prints it. */
#ifndef SD_VM_CONF_NOTE_H
#define SD_VM_CONF_NOTE_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/slice.h"

struct conf_note {
    bool error;       /* else a warning */
    const char *file; /* or the variable's name; "" where neither fits */
    unsigned line;    /* 0: none */
    const char *text;
};

/* Cut the next note off a report.  False at its end.  The texts live as long
 * as the report's bytes. */
bool conf_note_next(struct conf_note *note, struct slice *report);

/* Append "config/ports.lua:7: text" with a newline. */
void conf_note_print(struct buf *out, const struct conf_note *note);

/* Append a note to a report, as conf_build() does. */
void conf_note_add(struct buf *report, const struct conf_note *note);

#endif
