/* bind_ask.c - which questions to a client are open, for lua/sd/ask.lua.
 *
 * Ids are given here, because after a reload two vms may ask the same client:
 * an id is free when neither waits for its answer.  What an answer means, and
 * who waits for it, only the vm that asked knows. */
#include <lauxlib.h>
#include <lua.h>

#include "base/err.h"
#include "base/mem.h"
#include "net/conn.h"
#include "vm/people.h"
#include "vm/state.h"

/* One that waits. */
struct ask {
    struct list link; /* of its member's */
    const struct vm *vm;
    uint32_t id;
};

static struct ask *find(const struct member *m, uint32_t id)
{
    struct list *it;

    list_each (it, &m->asks) {
        struct ask *ask = list_entry(it, struct ask, link);

        if (ask->id == id)
            return ask;
    }
    return NULL;
}

static void drop(struct ask *ask)
{
    list_del(&ask->link);
    mem_free(ask);
}

void asks_drop(struct member *m)
{
    while (!list_empty(&m->asks))
        drop(list_entry(m->asks.next, struct ask, link));
}

void asks_forget(struct people *p, const struct vm *vm)
{
    struct list *it, *at, *next;

    list_each (it, &p->members) {
        struct member *m = list_entry(it, struct member, link);

        list_each_safe (at, next, &m->asks) {
            struct ask *ask = list_entry(at, struct ask, link);

            if (ask->vm != vm)
                continue;
            drop(ask);
            conn_asks_add(m->conn, -1);
        }
    }
}

bool asks_of(const struct conn *c, const struct vm *vm)
{
    const struct member *m = people_find(c);
    struct list *it;

    if (m == NULL)
        return false;
    list_each (it, &m->asks) {
        if (list_entry(it, struct ask, link)->vm == vm)
            return true;
    }
    return false;
}

/* core.ask_begin(handle, max) -> an id of 1 to max; nil: all are taken, or the
 * conn has gone */
static int l_begin(lua_State *L)
{
    struct vm *vm = vm_of(L);
    struct conn *c = vm_conn(L, 1);
    uint32_t max = (uint32_t)luaL_checkinteger(L, 2);
    struct member *m;
    struct ask *ask;

    if (c == NULL || !conn_is_open(c) || conn_asks(c) >= max)
        return 0;
    m = people_add(vm->all->people, c);
    do
        m->last_ask = m->last_ask % max + 1;
    while (find(m, m->last_ask) != NULL);
    ask = mem_zalloc(sizeof(*ask));
    ask->vm = vm;
    ask->id = m->last_ask;
    list_add(&m->asks, &ask->link);
    conn_asks_add(c, 1);
    lua_pushinteger(L, (lua_Integer)ask->id);
    return 1;
}

/* core.ask_end(handle, id): nobody waits any more */
static int l_end(lua_State *L)
{
    struct conn *c = vm_conn(L, 1);
    const struct member *m = c != NULL ? people_find(c) : NULL;
    struct ask *ask = NULL;

    if (m != NULL)
        ask = find(m, (uint32_t)luaL_checkinteger(L, 2));
    if (ask == NULL)
        return 0;
    drop(ask);
    conn_asks_add(c, -1);
    return 0;
}

static const luaL_Reg functions[] = {
    {"ask_begin", l_begin}, {"ask_end", l_end}, {NULL, NULL}};

void bind_ask(lua_State *L)
{
    luaL_register(L, NULL, functions);
}
