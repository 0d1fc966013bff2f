/* floor.h - the command line that both floors share. */
#ifndef SD_BENCH_FLOOR_H
#define SD_BENCH_FLOOR_H

struct floor_options {
    int tcp_fd; /* listening, non-blocking */
    int http_fd;
};

/* Parse the flags, listen, print one JSON line with pid and ports, and make
 * the process end with its parent and, at the latest, after --life seconds. */
void floor_start(struct floor_options *out, int argc, char **argv);

#endif
