/* prompt.h - lines that a person types, or that come from a pipe. */
#ifndef SD_CMD_PROMPT_H
#define SD_CMD_PROMPT_H

#include <stdbool.h>

/* Does a person sit in front of it? */
bool prompt_is_person(void);

/* The next line without its end, NULL: no more.  Valid until the next call.
 * The text is shown to a person only. */
const char *prompt_line(const char *text);

#endif
