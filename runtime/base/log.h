/* log.h - one line an event, as text or JSON.
 *
 * A line never blocks the caller for long: it is one write() to the log's
 * descriptor.  Control characters are escaped.  The same format string
 * logged over and over is limited to 10 lines a second; what was left out is
 * counted in the next line that passes. */
#ifndef SD_BASE_LOG_H
#define SD_BASE_LOG_H

#include <stdarg.h>
#include <stdbool.h>

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR, LOG_NONE };

/* Who is speaking in this process: "master", "worker 0" ...  Copied. */
void log_open(int fd, enum log_level level, bool json, const char *process);
void log_generation(unsigned generation);
bool log_enabled(enum log_level level);
int log_level_parse(const char *name); /* -1: no such level */

#define log_debug(...) log_event(LOG_DEBUG, NULL, NULL, __VA_ARGS__)
#define log_info(...)  log_event(LOG_INFO, NULL, NULL, __VA_ARGS__)
#define log_warn(...)  log_event(LOG_WARN, NULL, NULL, __VA_ARGS__)
#define log_error(...) log_event(LOG_ERROR, NULL, NULL, __VA_ARGS__)

/* `request_id` and `fields` may be NULL; `fields` is one JSON object, shown
 * behind the text. */
__attribute__((format(printf, 4, 5))) void
log_event(enum log_level level, const char *request_id, const char *fields,
          const char *fmt, ...);

#endif
