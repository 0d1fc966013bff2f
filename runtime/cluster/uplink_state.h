/* uplink_state.h - what the files of the uplink share. */
#ifndef SD_CLUSTER_UPLINK_STATE_H
#define SD_CLUSTER_UPLINK_STATE_H

#include "base/list.h"
#include "cluster/link.h"
#include "cluster/uplink.h"
#include "loop/timer.h"

enum {
    UPLINK_MAGIC = 0x75706c6b
};

struct relay {
    struct list node;
    struct uplink *uplink;
    struct roster_relay at;
    bool is_known;     /* by the roster */
    struct link *link; /* NULL: none */
    struct outbox_link *out;
    struct inbox_link *in;
    uint64_t received, sent; /* messages, also by its earlier links */
    uint32_t wait;
    uint64_t next;     /* try to link */
    unsigned failures; /* in succession */
};

struct uplink {
    unsigned magic;
    struct uplink_config config;
    struct proof *proof;
    struct links *links;
    struct outbox *outbox;
    struct inbox *inbox;
    struct list relays;
    struct roster_list *roster;
    uint64_t serial; /* of what was read of it */
    struct loop_hook hook;
    struct timer look, tick;
    uint64_t ticked, armed; /* last and next tick */
};

/* uplink.c: time may be needed sooner. */
void uplink_arm(struct uplink *u);

/* uplink_relays.c */
extern const struct link_ops uplink_link_ops;
void uplink_on_look(struct timer *t);
void relay_free(struct relay *r);

#endif
