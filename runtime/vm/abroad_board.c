/* abroad_board.c - this worker shows how its links to relays are
 * (ipc/linkboard.h), again and again. */
#include "base/assert.h"
#include "cluster/uplink.h"
#include "ipc/linkboard.h"
#include "vm/abroad_state.h"
#include "vm/people.h"
#include "vm/state.h"

enum {
    AGAIN = 500 /* ms */
};

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
            .is_flooded = !teller_knows(a->teller, s.relay)};
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
