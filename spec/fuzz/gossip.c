/* gossip.c - any bytes: a packet that is read can be written again, to the
 * same bytes, and its updates lie within it. */
#include "base/assert.h"
#include "cluster/gossip_msg.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_update(const struct gossip_update *u, struct slice all)
{
    sd_assert(u->boot != 0 && u->incarnation < GOSSIP_INCARNATIONS);
    sd_assert(u->state <= GOSSIP_LEFT && u->naccusers <= GOSSIP_ACCUSERS);
    if (!u->is_full)
        return;
    sd_assert(u->state == GOSSIP_ALIVE && u->edition <= u->incarnation);
    sd_assert(gossip_name_is_sound(u->name) && u->meta.len <= GOSSIP_META);
    sd_assert(gossip_address_is_sound(&u->address));
    sd_assert(u->name.p >= all.p && u->meta.p + u->meta.len <= all.p + all.len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice all = slice_make(data, size), rest;
    char copy[GOSSIP_PACKET];
    struct gossip_packet p;
    struct gossip_update u;
    size_t len, more;

    if (gossip_msg_read(&p, all) < 0)
        return 0;
    len = gossip_msg_begin(copy, &p);
    for (rest = p.updates; gossip_msg_next(&rest, &u); len = more) {
        check_update(&u, all);
        more = gossip_msg_add(copy, len, &u);
        sd_assert(more > len);
    }
    sd_assert(slice_eq(slice_make(copy, len), all));
    return 0;
}
