/* abroad_board.c - this worker shows how its links to relays are
 * (ipc/linkboard.h), again and again, and what it counts of them. */
#include "base/assert.h"
#include "cluster/link.h"
#include "cluster/uplink.h"
#include "ipc/counters.h"
#include "ipc/linkboard.h"
#include "vm/abroad_state.h"
#include "vm/people.h"
#include "vm/state.h"

enum {
    AGAIN = 500 /* ms */
};

void abroad_add_counters(const struct abroad *a, uint64_t *v)
{
    const struct outbox_figures *out;
    const struct inbox_figures *in;
    const struct links_figures *links;

    _Static_assert((int)OUTCOME_COUNT <= (int)COUNTERS_OUTCOMES, "no room");
    if (a == NULL || a->uplink == NULL)
        return;
    out = outbox_figures(uplink_outbox(a->uplink));
    in = inbox_figures(uplink_inbox(a->uplink));
    links = uplink_links(a->uplink);
    v[COUNT_FAR_ACCEPTED] = out->accepted;
    v[COUNT_FAR_DELIVERED] = out->delivered;
    v[COUNT_FAR_IN_FLIGHT] =
        out->accepted - out->delivered - out->refused - out->unknown;
    for (unsigned i = 0; i < OUTCOME_COUNT; i++)
        v[COUNT_FAR_DROPPED + i] = a->dropped[i];
    v[COUNT_FAR_BUSY] = out->busy;
    v[COUNT_FAR_FRAMES] = out->frames;
    v[COUNT_FAR_AGAIN] = out->again;
    v[COUNT_FAR_TAKEN] = in->taken;
    v[COUNT_FAR_DOUBLES] = in->doubles;
    v[COUNT_FAR_EXPIRED] = in->expired;
    v[COUNT_FAR_KEPT] = out->count;
    v[COUNT_FAR_BYTES] = out->bytes;
    v[COUNT_LINK_BYTES_IN] = links->received;
    v[COUNT_LINK_BYTES_OUT] = links->sent;
    v[COUNT_LINKS_OPENED] = links->opened;
    v[COUNT_LINKS_CLOSED] = links->closed;
}

static void on_board(struct timer *t)
{
    struct abroad *a = list_entry(t, struct abroad, board);
    const struct vm_env *env = &a->all->env;
    const struct people *people = a->all->people;
    struct linkboard_list list = {0};
    struct uplink_state s;
    unsigned i;

    sd_check(a, ABROAD_MAGIC);
    for (i = 0; uplink_state(a->uplink, i, &s) && list.n < LINKBOARD_MAX; i++)
        list.link[list.n++] = (struct linkboard_link){
            .boot = s.boot,
            .heard = s.heard,
            .index = s.index,
            .unsent = (uint32_t)(s.unsent < UINT32_MAX ? s.unsent : UINT32_MAX),
            .round_trip = s.round_trip,
            .is_relay = true,
            .received = s.received,
            .sent = s.sent,
            .filters =
                topics_filters(people->topics) + topics_filters(people->groups),
            .is_flooded = s.relay != NULL && !teller_knows(a->teller, s.relay)};
    linkboard_write(env->links, (uint16_t)env->epoch, &list);
    timer_start(env->loop, t, AGAIN);
}

void abroad_open_board(struct abroad *a)
{
    a->board.fn = on_board;
    timer_start(a->all->env.loop, &a->board, 1);
}

void abroad_close_board(struct abroad *a)
{
    timer_stop(a->all->env.loop, &a->board);
}
