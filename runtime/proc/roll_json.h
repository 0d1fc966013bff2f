/* roll_json.h - the lines about a rolling reload, see rolling.h. */
#ifndef SD_PROC_ROLL_JSON_H
#define SD_PROC_ROLL_JSON_H

#include "base/buf.h"
#include "cluster/gossip.h"
#include "cluster/roll.h"

/* This node serves its new generation. */
void roll_json_done(struct buf *out, const struct roll_node *n,
                    struct slice notes);

/* It has ended; with the nodes that took no part. */
void roll_json_end(struct buf *out, const struct roll *roll,
                   const struct gossip *g);

/* There was none. */
void roll_json_refusal(struct buf *out, const char *why);

#endif
