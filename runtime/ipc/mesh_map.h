/* mesh_map.h - the shared memory of a mesh: where everything lies in it.
 *
 * For mesh.c only.  From the front: head, doors, slots, counters, extra,
 * control blocks of the rings, data of the rings.  Sparse: a page nobody wrote
 * costs nothing. */
#ifndef SD_IPC_MESH_MAP_H
#define SD_IPC_MESH_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ipc/counters.h"
#include "ipc/mesh.h"
#include "ipc/ring.h"

enum {
    MAP_RING_CAP = 512 * 1024,
    MAP_RING_KEEP = 64 * 1024, /* for answers: MESH_CALLS_MAX * ROOM fits */
    MAP_WORDS = SLOTS_MAX / 64
};

struct mesh_map {
    unsigned char *base;
    size_t size;
    unsigned workers;
    unsigned tasks;
    unsigned relays;
    unsigned n;                                       /* slots */
    size_t doors, slots, counters, extra, ctls, data; /* offsets */
};

/* Lay out a new memory of this shape; *fd is the memfd, close-on-exec. */
int mesh_map_make(struct mesh_map *map, const struct mesh_shape *shape,
                  int *fd);

/* Map the memory of `fd`.  SD_EPROTO when it is not one of this build. */
int mesh_map_open(struct mesh_map *map, int fd);
void mesh_map_close(struct mesh_map *map);

/* Does a ring lead from `a` to `b`? */
bool mesh_map_talks(const struct mesh_map *map, unsigned a, unsigned b);

/* The ring from `from` to `to`, which talk. */
void mesh_map_ring(const struct mesh_map *map, unsigned from, unsigned to,
                   struct ring *out);

struct slots *mesh_map_slots(const struct mesh_map *map);
struct counters *mesh_map_counters(const struct mesh_map *map, unsigned slot);

/* Counts deaths; a process compares it with the count it knows. */
uint32_t mesh_map_deaths(const struct mesh_map *map);
void mesh_map_count_death(struct mesh_map *map);

/* A door is what a process is woken through.  ring: `from` has written for
 * `to`; true when `to` sleeps and its eventfd must be written, once. */
bool mesh_door_ring(struct mesh_map *map, unsigned to, unsigned from);
bool mesh_door_wake(struct mesh_map *map, unsigned to);

/* Owner of the door: add who has written since the last call to `bits`. */
void mesh_door_take(struct mesh_map *map, unsigned self, uint64_t *bits);

/* Owner: say that it sleeps.  False when there is something to do first:
 * somebody has written, or `deaths` is not the count any more. */
bool mesh_door_sleep(struct mesh_map *map, unsigned self, uint32_t deaths);
void mesh_door_awake(struct mesh_map *map, unsigned self);

#endif
