/* spread.h - one value for many conns, on all workers of the node.
 *
 * A publish, or a send to everyone: this worker's conns directly, those of
 * the others by one message each, which carries the value as msgpack. */
#ifndef SD_VM_SPREAD_H
#define SD_VM_SPREAD_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/slice.h"

struct deliver;
struct vm;

enum spread_kind {
    SPREAD_TOPIC,
    SPREAD_GROUP,
    SPREAD_ALL /* every conn that speaks packets; no name */
};

struct spread {
    enum spread_kind kind;
    struct slice name;   /* of a topic, or of a group */
    struct slice except; /* msgpack array of uids left out, or empty */
    struct slice value;  /* msgpack */
    uint64_t key;        /* of conflation, see deliver.h */
    bool is_volatile;
};

/* Tell all other workers.  0; SD_EBUSY when one of them has no room, and then
 * nobody was told; SD_ETOOLARGE. */
int spread_far(struct vm *vm, const struct spread *s);

/* Would all have room?  0, SD_EBUSY, SD_ETOOLARGE. */
int spread_room(const struct vm *vm, const struct spread *s);

enum {
    SPREAD_EVERY_WORKER = -1
};

/* One message to a slot, or to every other worker.  v[0] is for the wire head.
 * 0; SD_EBUSY when somebody has no room, and then nobody was told;
 * SD_ETOOLARGE. */
int spread_message(struct vm *vm, int to, uint32_t type, struct slice *v,
                   unsigned n);

/* Would a body of `len` bytes fit, to every other worker?  `is_double`: and one
 * more behind it.  As above. */
int spread_fits(const struct vm *vm, size_t len, bool is_double);

/* To the conns of this process.  The fan-out has begun, with who is passed
 * over marked. */
void spread_here(struct deliver *d, enum spread_kind kind, struct slice name);

/* Note on a list that a uid's groups have changed, with the number of that
 * change among those of the uid. */
void spread_add_change(struct buf *changes, struct slice uid, uint64_t number);

/* Those on the list have come into a group or left it (enum msg_group_verb):
 * here, and on all other workers.  0; SD_EBUSY, SD_ETOOLARGE: nobody was
 * told. */
int spread_group(struct vm *vm, uint32_t verb, struct slice group,
                 struct slice changes);

/* Bodies of MSG_PUBLISH and MSG_GROUP, behind the wire head. */
void spread_take(struct vm *vm, struct slice body);
void spread_take_group(struct vm *vm, struct slice body);

#endif
