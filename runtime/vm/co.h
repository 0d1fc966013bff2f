/* co.h - coroutines of ours: a pool of them, and what runs when.
 *
 * Every call from C into Lua runs in a pooled coroutine (struct co), which
 * may wait (vm/co_wait.h). */
#ifndef SD_VM_CO_H
#define SD_VM_CO_H

#include <lua.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "loop/wheel.h"

struct vm;
struct co;

enum co_state {
    CO_IDLE,
    CO_READY,
    CO_RUNNING,
    CO_WAITING
};

enum co_kind {
    CO_CALL, /* serves a packet, request, task, configured timer: counted */
    CO_WORK, /* hooks and background work */
};

/* How a coroutine ended; called with its results or its error on co->L.
 * Afterwards the coroutine goes back to the pool. */
typedef void co_end_fn(struct co *co, int status);

/* Push the results of an answer; may raise. */
typedef int co_take_fn(lua_State *L, void *answer);

struct co {
    struct vm *vm;
    lua_State *L;
    int ref;           /* anchors L */
    uint32_t index;    /* place in the pool */
    uint32_t life;     /* raised each time it is taken */
    uint32_t wait;     /* raised each time it parks */
    uint8_t state;     /* enum co_state */
    uint8_t kind;      /* enum co_kind */
    bool cancelled;    /* every wait raises from now on */
    bool may_not_wait; /* a route's functions run in it */
    bool tracked;      /* Lua wants to know when it ends */
    uint8_t what;      /* enum running_kind: what it is for */
    uint16_t port;     /* ... and of which port, or RUNNING_NO_PORT */
    const char *name;  /* ... and what it is at; NULL: no name */
    bool own_timeout;  /* the running wait is cut by its own argument */
    uint64_t deadline; /* ms; 0: none */
    uint64_t began;    /* ms: when it was taken */
    uint64_t parked;   /* ms: its last wait, while it waits */
    uint64_t root;     /* identity of the call it belongs to */
    struct timer timer;
    struct list link; /* in the ready queue */
    int nready;       /* values on L for the resume */
    co_take_fn *take; /* makes the results of a CO_ANSWER */
    void *answer;     /* for take; borrowed while it runs */
    co_end_fn *on_end;
    uint64_t conn; /* for on_end: the conn it serves */
    double number; /* for on_end: the request, timer or debt it serves */
    void *arg;     /* for on_end */
};

struct cos {
    struct co **at;
    uint32_t n, cap;
    struct co **idle; /* stack of coroutines not in use */
    uint32_t nidle;   /* coroutines not in use: first those without a thread */
    uint32_t nwarm;   /* those of them with one */
    uint32_t calls;   /* in use with CO_CALL */
    struct list ready;
    struct co *current;
};

void cos_init(struct vm *vm);
void cos_detach(struct vm *vm); /* nothing wakes them any more; then: */
void cos_fini(struct vm *vm);

/* A coroutine to push a function and light arguments on, then co_start().
 * NULL when the vm is out of memory. */
struct co *co_take(struct vm *vm, enum co_kind kind, uint64_t deadline);

/* Run until it ends or waits; while another one runs, at the end of the
 * loop's turn instead.  It may have ended before this returns. */
void co_start(struct co *co, int nargs);

/* Run at the end of the loop's turn. */
void co_ready(struct co *co, int nargs);

/* As co_ready(), but of a vm that does not serve yet when it does; then call
 * cos_wake_dormant(). */
void co_later(struct co *co, int nargs);
void cos_wake_dormant(struct vm *vm);

/* Run what is ready.  Returns how many ran. */
unsigned co_flush(struct vm *vm);

/* Identity of a coroutine's life, exact in a Lua number. */
uint64_t co_id(const struct co *co);
struct co *co_by_id(struct vm *vm, uint64_t id);

/* The coroutine that runs on L, NULL when L is none of ours. */
struct co *co_current(lua_State *L);

/* Room for `n` values more on its stack.  False: out of memory. */
bool co_room(struct co *co, int n);

/* Undo of co_take() for a coroutine that was not started. */
void co_give_back(struct co *co);

/* What an error on top of L says, for the log. */
const char *co_error_text(lua_State *L);

/* Raise at the line of the script, not of the framework.  Never returns; the
 * type is for `return co_raise(...)`. */
__attribute__((noreturn, format(printf, 2, 3))) int
co_raise(lua_State *L, const char *fmt, ...);

#endif
