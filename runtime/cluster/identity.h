/* identity.h - who is at an end of a link: what each side says with its proof
 * (cluster/hand.h).  Pure. */
#ifndef SD_CLUSTER_IDENTITY_H
#define SD_CLUSTER_IDENTITY_H

#include <stdint.h>

#include "base/buf.h"
#include "base/slice.h"
#include "cluster/place.h"

enum {
    IDENTITY_NAME = 65 /* bytes of a name with NUL */
};

struct identity {
    struct place place;       /* of the process */
    char name[IDENTITY_NAME]; /* of its node or dispatch; longer: cut */
};

/* At most HAND_IDENTITY_MAX bytes. */
void identity_write(struct buf *out, const struct identity *i);

/* 0 or SD_EINVALID. */
int identity_read(struct identity *out, struct slice bytes);

/* A relay's number, the same for everybody: what names are shared out by. */
uint64_t identity_relay(uint64_t boot, unsigned index);

#endif
