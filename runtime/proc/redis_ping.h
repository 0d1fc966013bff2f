/* redis_ping.h - does the server behind a Unix socket answer?  Never waits. */
#ifndef SD_PROC_REDIS_PING_H
#define SD_PROC_REDIS_PING_H

enum redis_answer {
    REDIS_SILENT,  /* nothing yet */
    REDIS_LOADING, /* it lives and cannot serve yet */
    REDIS_SERVES
};

/* Open by .fd = -1. */
struct redis_ping {
    int fd;
};

/* What it answered since the last call; asks again when there is no question
 * on its way. */
enum redis_answer redis_ping_step(struct redis_ping *p, const char *path);

void redis_ping_close(struct redis_ping *p);

#endif
