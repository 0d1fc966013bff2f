/* node.h - what a node owns before any of its processes run: its name, its
 * folder, its configuration, its ports. */
#ifndef SD_PROC_NODE_H
#define SD_PROC_NODE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/code.h"
#include "proc/admin_socket.h"
#include "proc/cluster_sockets.h"
#include "proc/heritage.h"
#include "proc/ports.h"
#include "proc/user.h"

struct node_options {
    bool daemon;         /* daemon_fork() was called: let the caller go */
    const char *version; /* of sdlua */
};

/* May be read; changed here only. */
struct node {
    struct node_options options;
    uint64_t started, boot;
    unsigned generation;
    char name[256];
    struct user owner, user; /* of the folder; of the children */
    int bundle_fd;
    struct code *code;
    const struct bundle *bundle; /* of it, as conf is */
    const struct conf *conf;
    int log_fd;
    char log[256];        /* path, "" = stderr */
    bool made_run, stale; /* the last master did not end in order */
    int pidfile;
    struct ports ports;
    unsigned workers, tasks, relays; /* processes of each kind */
    struct cluster_sockets cluster;
    int admin;                         /* its socket, -1: none */
    char admin_address[ADMIN_ADDRESS]; /* really bound */
    struct buf why; /* of the step that failed: one line an error */
};

/* Read the configuration of the current folder.  0, or negative with n->why;
 * node_close() follows either way. */
int node_open(struct node *n, const struct node_options *options);

/* Take the folder: run/, the lock, the log, the ports.  As node_open(). */
int node_take(struct node *n);

/* Give everything back; after a failure also a run/ that we made. */
void node_close(struct node *n, bool failed);

/* Another generation: takes both. */
void node_take_code(struct node *n, struct code *code, int bundle_fd);

/* Its log file was moved away: make a new one.  0 or -errno. */
int node_reopen_log(const struct node *n);

/* What a child inherits of it. */
void node_bequeath(const struct node *n, struct heritage *h);

#endif
