/* master_inner.h - what the files of the master share: master.c (its life) and
 * master_ask.c (what it is asked for). */
#ifndef SD_PROC_MASTER_INNER_H
#define SD_PROC_MASTER_INNER_H

#include "proc/crew.h"
#include "proc/ctl.h"
#include "proc/drain.h"
#include "proc/master.h"
#include "proc/redis_server.h"
#include "proc/reload.h"
#include "proc/signals.h"
#include "proc/stall.h"
#include "proc/status.h"

#define MASTER_MAGIC 0x6d617374u

enum master_state {
    MASTER_STARTING,
    MASTER_SERVING,
    MASTER_DRAINING,
    MASTER_STOPPING
};

struct master {
    unsigned magic;
    enum master_state state;
    bool served;
    int exit;
    struct node node;
    struct loop *loop;
    struct signals *signals;
    struct mesh *mesh;
    struct redis_server *redis;
    struct crew *crew;
    struct reload *reload; /* NULL until it serves */
    struct drain *drain;   /* while it drains */
    struct ctl *ctl;
    struct stall *stall;
};

/* --- master.c ------------------------------------------------------------- */

/* End everything, after at most `ms`; `status` is that of the first call. */
void master_stop(struct master *m, uint64_t ms, int status);

/* --- master_ask.c --------------------------------------------------------- */

/* A line of the control socket; `arg` is the master. */
void master_on_line(void *arg, const char *line, struct buf *reply);

struct status master_status(const struct master *m);
void master_reopen_log(struct master *m);

/* `call` is taken; NULL: nobody waits for an answer. */
void master_reload(struct master *m, struct ctl_call *call);

#endif
