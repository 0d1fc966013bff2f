/* bind_move.c - moves of conns, for specs.
 *
 * XXX: no command moves conns yet.  Until one does, scripts can order it where
 * SD_SPEC_MOVE is in the environment; nothing else leads here. */
#include <lauxlib.h>
#include <stdlib.h>

#include "net/net.h"
#include "vm/deliver.h"
#include "vm/move_state.h"

/* core.move_conns(slot, share) -> how many went, how many could not: of the
 * conns here each with this probability */
static int l_move_conns(lua_State *L)
{
    struct vm *vm = vm_of(L);
    unsigned slot = (unsigned)luaL_checkinteger(L, 1);
    double share = luaL_checknumber(L, 2);
    uint32_t cursor = 0;
    int went = 0, stayed = 0;
    struct conn *c;

    deliver_check_idle(L);
    while ((c = net_next(vm->env.net, &cursor)) != NULL) {
        if (drand48() >= share)
            continue;
        if (move_conn(vm, c, slot) == 0)
            went++;
        else
            stayed++;
    }
    lua_pushinteger(L, went);
    lua_pushinteger(L, stayed);
    return 2;
}

/* core.moves() -> conns that have come from others, that are on their way */
static int l_moves(lua_State *L)
{
    const struct moves *ms = vm_of(L)->all->moves;
    unsigned n = 0;
    struct list *it;

    list_each (it, &ms->all)
        n += list_entry(it, struct move, link)->id == 0;
    lua_pushnumber(L, (double)ms->arrived);
    lua_pushinteger(L, (lua_Integer)n);
    return 2;
}

/* core.refuse_moves(yes): conns that come are refused as busy */
static int l_refuse_moves(lua_State *L)
{
    vm_of(L)->all->moves->refuses = lua_toboolean(L, 1) != 0;
    return 0;
}

static const luaL_Reg functions[] = {{"move_conns", l_move_conns},
                                     {"moves", l_moves},
                                     {"refuse_moves", l_refuse_moves},
                                     {NULL, NULL}};

void bind_move(lua_State *L)
{
    if (getenv("SD_SPEC_MOVE") != NULL && vm_of(L)->env.net != NULL)
        luaL_register(L, NULL, functions);
}
