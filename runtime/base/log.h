/* log.h - one line an event, as text or JSON.
 *
 * A line never blocks the caller: it is one write() to the log's descriptor,
 * and where that cannot take it (a full disk, a pipe nobody reads) the line is
 * dropped and counted; one line says how many when writing works again.
 * Control characters and bad UTF-8 are escaped, a long line is cut.  The same
 * format string logged over and over is limited to 10 lines a second; what
 * was left out is counted in the next line of its kind that passes.  A text
 * handed over as "%s" counts as a format of its own.
 *
 *     2026-01-31T12:00:00.250Z warn worker 0#71 g3 [r1] text {"field":1}
 *     {"time":"...","level":"warn","process":"worker 0","pid":71,
 *      "generation":3,"request_id":"r1","text":"text","fields":{"field":1}}
 *
 * One thread of a process logs; the others tell it what to say. */
#ifndef SD_BASE_LOG_H
#define SD_BASE_LOG_H

#include <stdarg.h>
#include <stdbool.h>

enum log_level {
    LOG_DEBUG,
    LOG_INFO,
    LOG_WARN,
    LOG_ERROR,
    LOG_NONE
};

enum {
    LOG_LINE_MAX = 4096, /* a line with its newline; a pipe keeps it whole */
    LOG_PER_SECOND = 10, /* lines of one format */
};

/* Who is speaking in this process: "master", "worker 0" ...  Copied.  `fd` is
 * kept until the next log_open(), never closed.  Before the first call lines
 * go to stderr as text. */
void log_open(int fd, enum log_level level, bool json, const char *process);

/* Go on in another file (after a rotation); the rest stays as it was. */
void log_reopen(int fd);

void log_generation(unsigned generation);
bool log_enabled(enum log_level level);
int log_level_parse(const char *name); /* -1: no such level */

#define log_debug(...) log_event(LOG_DEBUG, NULL, NULL, __VA_ARGS__)
#define log_info(...)  log_event(LOG_INFO, NULL, NULL, __VA_ARGS__)
#define log_warn(...)  log_event(LOG_WARN, NULL, NULL, __VA_ARGS__)
#define log_error(...) log_event(LOG_ERROR, NULL, NULL, __VA_ARGS__)

/* `request_id` and `fields` may be NULL; `fields` is one JSON object without
 * control characters, shown behind it; over half a line it is left out. */
__attribute__((format(printf, 4, 5))) void log_event(enum log_level level,
                                                     const char *request_id,
                                                     const char *fields,
                                                     const char *fmt, ...);

#endif
