/* top_look.h - what the workers of a node do, from one look to the next. */
#ifndef SD_CMD_TOP_LOOK_H
#define SD_CMD_TOP_LOOK_H

#include <stdint.h>

#include "cmd/inside.h"
#include "cmd/row.h"
#include "proc/heritage.h"

enum {
    TOP_WORKERS = HERITAGE_WORKERS,
    TOP_ROWS = 40, /* routes and conns that are kept of a look */
    TOP_WHY = 128,
};

/* How far the talk with a worker is. */
enum top_talk {
    TOP_AWAY,
    TOP_GREETING, /* it owes its greeting */
    TOP_IDLE,
    TOP_ASKED, /* it owes an answer */
};

struct top_worker {
    struct row status; /* its row of `sdlua status` */
    struct inside inside;
    enum top_talk talk;
    int pid;        /* whom `inside` reaches */
    double seconds; /* since its last look; 0: there are no figures */
    double packets, bytes;
    uint64_t cpu, cpu_at; /* ms burnt, and clock_ms() of that */
    double cpu_share;     /* of one core */
};

/* Numbers are per second. */
struct top_route {
    char port[ROW_TEXT], route[ROW_TEXT];
    double calls, errors;
};

struct top_conn {
    struct row row;
    unsigned worker;
    double packets, bytes;
};

/* Zeroed at first. */
struct top {
    char node[ROW_TEXT];
    char state[ROW_TEXT];
    unsigned nworkers, nroutes, nconns;
    struct top_worker workers[TOP_WORKERS];
    struct top_route routes[TOP_ROWS]; /* busiest first */
    struct top_conn conns[TOP_ROWS];
};

/* Look.  Rates are there from the second look on.  0, or a negative code with
 * one line in `why`; -ENOENT and -ECONNREFUSED: not running. */
int top_look(struct top *t, char *why);
void top_close(struct top *t);

#endif
