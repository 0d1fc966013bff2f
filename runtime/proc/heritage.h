/* heritage.h - all that crosses exec from the master to a child.
 *
 * One struct in one sealed memfd, whose number is the child's only argument.
 * It begins with its size and the build id of the master's binary; a child
 * for which either differs is of another build and refuses.  Descriptors keep
 * their numbers across exec. */
#ifndef SD_PROC_HERITAGE_H
#define SD_PROC_HERITAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "ipc/mesh.h"

enum heritage_role {
    ROLE_CONFIG, /* evaluates the configuration, makes the bundle */
    ROLE_WORKER,
    ROLE_TASK,
    ROLE_RELAY,
    ROLE_AGENT,
};

enum {
    HERITAGE_PORTS = 64,   /* ports of a node */
    HERITAGE_WORKERS = 64, /* worker processes of a node */
    HERITAGE_RELAYS = 64,  /* relay processes of a dispatch */
    HERITAGE_SECRETS = 64, /* values that the environment keeps in files */
};

/* Its sockets, -1: none, and where others reach them. */
struct heritage_cluster {
    int32_t gossip, announce; /* for the agent */
    int32_t relay[HERITAGE_RELAYS];
    uint16_t relay_port[HERITAGE_RELAYS];
    uint16_t port; /* of membership */
    unsigned char ip[16];
};

struct heritage {
    uint32_t size;
    char build[44];
    uint32_t role;  /* enum heritage_role */
    uint32_t parts; /* enum instance_part */
    uint32_t slot, epoch, index, generation;
    uint32_t workers, tasks, relays, ports; /* how many there are */
    uint64_t boot;
    uint64_t started; /* clock_ms() of the node's start */
    int32_t master;   /* its pid */
    bool respawn;     /* not the slot's first process */
    char node[256];   /* its name */
    char version[32];
    char lua[4096];  /* folder with the framework */
    char log[256];   /* path, "" = not a file of ours */
    char redis[108]; /* socket of the embedded redis, "" = none */

    int32_t binary;  /* our executable: close it */
    int32_t leash;   /* proc/leash.h */
    int32_t bundle;  /* sealed; for ROLE_CONFIG the empty file to fill */
    int32_t running; /* for ROLE_CONFIG: bundle of the node; -1: it starts */
    int32_t log_fd;
    struct heritage_cluster cluster;
    int32_t admin;    /* listening socket of the admin port, -1: none */
    uint32_t secrets; /* how many; for ROLE_CONFIG only */
    int32_t secret[HERITAGE_SECRETS]; /* -1: could not be opened */
    uint32_t mesh_count;
    int32_t mesh[MESH_FDS_MAX];
    int32_t listeners[HERITAGE_WORKERS][HERITAGE_PORTS]; /* [slot][port] */
};

/* What this binary fills in first; all descriptors -1. */
void heritage_init(struct heritage *h);

/* A sealed memfd with a copy, or -errno. */
int heritage_write(const struct heritage *h);

/* The struct, from a descriptor that is taken.  SD_EPROTO: of another build.
 * Freed with mem_free(). */
int heritage_read(struct heritage **out, int fd);

/* List the open descriptors in `fds` (HERITAGE_FDS_MAX places): what has to
 * stay open across exec.  Returns how many. */
enum {
    HERITAGE_FDS_MAX =
        MESH_FDS_MAX + HERITAGE_WORKERS * HERITAGE_PORTS + HERITAGE_SECRETS + 8
};
unsigned heritage_fds(const struct heritage *h, int *fds);

#endif
