/* state.h - what a vm is made of; private to runtime/vm. */
#ifndef SD_VM_STATE_H
#define SD_VM_STATE_H

#include <lua.h>
#include <stdint.h>

#include "base/buf.h"
#include "loop/loop.h"
#include "vm/co.h"
#include "vm/vm.h"

struct conn;
struct http_request;
struct redis;

#define VM_MAGIC 0x766d3031u

/* Functions of the framework that C calls (lua/sd/boot.lua returns them). */
enum vm_entry {
    ENTRY_START,     /* run on_start */
    ENTRY_STOP,      /* run on_stop */
    ENTRY_OPEN,      /* (handle, port): on_connect */
    ENTRY_GONE,      /* (handle, port): end the asks of a closed conn */
    ENTRY_BYE,       /* (handle, port): the last packet before we close */
    ENTRY_CLOSE,     /* (handle, port): the same, and on_close */
    ENTRY_ANSWER,    /* (handle, port): maybe an answer to an ask */
    ENTRY_HANDSHAKE, /* (handle, request, port) */
    ENTRY_REQUEST,   /* (request, port) */
    ENTRY_ENDED,     /* (id): a tracked coroutine has ended */
    ENTRY_TASK,      /* (): the task call at hand */
    ENTRY_TIMER,     /* (i): the i-th configured timer is due */
    ENTRY_COUNT
};

/* One pack: how packets of a port become values and back. */
enum pack_kind {
    PACK_JSON,
    PACK_MSGPACK,
    PACK_RAW,
    PACK_SCRIPT
};

struct vm_pack {
    enum pack_kind kind;
    int decode, encode, length; /* of a script: references */
};

/* Per port, twice: its own packets, and those of its WebSockets. */
struct vm_port {
    struct vm_pack pack[2];
    int serve[2]; /* references to the functions that serve a packet */
};

/* A request that scripts know by number: index | serial << 20. */
struct vm_request {
    struct http_request *r; /* NULL: free */
    uint32_t serial;
    bool streaming;
};

#define REQUEST_BITS 20
#define REQUESTS_MAX (1u << REQUEST_BITS)

/* Bit of a conn's mark: lua/sd keeps something for it. */
#define VM_MARK_STATE (1u << 30)

struct vm {
    unsigned magic;
    lua_State *L;
    struct vm_env env;
    struct cos cos;
    struct heap *heap;
    const char *stack_low; /* callbacks from C raise below this */
    struct loop_hook hook;
    int entry[ENTRY_COUNT];
    int collect; /* a function that collects garbage */
    unsigned nports;
    struct vm_port *ports;
    bool has_open_hook, has_close_hook, has_handshake_hook;
    bool has_bye;           /* a route has words for it */
    const char *bye_reason; /* during ENTRY_BYE */

    /* The packet at hand: of the running on_packet() or on_answer(). */
    struct slice packet;
    struct conn *packet_conn;
    bool was_answer;
    unsigned length_port;
    int64_t length;

    struct conn *sending; /* between begin and commit of a send */
    struct buf scratch;

    struct redis **redis; /* clients, as conf lists the servers */
    unsigned nredis;

    struct vm_request *requests;
    uint32_t nrequests, free_request;

    struct tasks *tasks;       /* vm/task.c */
    struct schedule *schedule; /* vm/schedule.c, once started */
    vm_started_fn *on_started;
    void *started_arg;
    vm_stopped_fn *on_stopped;
    void *stopped_arg;
    uint64_t request_ids;
};

struct vm *vm_of(lua_State *L);

/* Protected call of ENTRY_ENDED. */
void vm_tell_end(struct vm *vm, uint64_t id);

/* A coroutine set up to run an entry; push light arguments, then co_start().
 * NULL: out of memory. */
struct co *vm_enter(struct vm *vm, int ref, enum co_kind kind,
                    uint64_t timeout);

/* Handles: what scripts know conns by inside this process. */
double vm_handle(const struct conn *c);
struct conn *vm_conn(lua_State *L, int idx); /* NULL: gone */

/* A request by its number, NULL when it has ended; and its end. */
struct vm_request *vm_request(struct vm *vm, double number);
void vm_request_ended(struct vm *vm, struct vm_request *q);

/* Undo a send that an error (out of memory) has left half done. */
void vm_unsend(struct vm *vm);

/* Decode and encode by the pack of a conn; both may raise. */
const struct vm_pack *vm_pack_of(struct vm *vm, const struct conn *c);
int pack_decode(lua_State *L, const struct vm_pack *p, struct slice s,
                const char **why);
int pack_encode(lua_State *L, const struct vm_pack *p, int idx, struct buf *out,
                const char **why);

/* Add a binding's functions to the table on top of the stack. */
void bind_co(lua_State *L);
void bind_conn(lua_State *L);
void bind_http(lua_State *L);
void bind_data(lua_State *L);
void bind_form(lua_State *L);
void bind_sys(lua_State *L);
void bind_task(lua_State *L);
void bind_redis(lua_State *L);

/* Close the clients of bind_redis(); their calls in flight are forgotten. */
void redis_unbind(struct vm *vm);

#endif
