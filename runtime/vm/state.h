/* state.h - what a vm is made of; private to runtime/vm. */
#ifndef SD_VM_STATE_H
#define SD_VM_STATE_H

#include <lua.h>
#include <stdint.h>

#include "base/buf.h"
#include "loop/loop.h"
#include "vm/co_wait.h"
#include "vm/heir.h"
#include "vm/kick.h"
#include "vm/uidcall.h"
#include "vm/vm.h"

struct conn;
struct http_request;
struct redis;
struct deliveries;
struct doors;
struct member;
struct mesh_msg;
struct moves;
struct people;
struct reach;

#define VM_MAGIC 0x766d3031u

/* Functions of the framework that C calls (lua/sd/boot.lua returns them). */
enum vm_entry {
    ENTRY_START,       /* run on_start */
    ENTRY_STOP,        /* run on_stop */
    ENTRY_OPEN,        /* (handle, port): on_connect */
    ENTRY_GONE,        /* (handle, port): end the asks of a closed conn */
    ENTRY_BYE,         /* (handle, port): the last packet before we close */
    ENTRY_CLOSE,       /* (handle, port): the same, and on_close */
    ENTRY_ANSWER,      /* (handle, port): maybe an answer to an ask */
    ENTRY_ENDED,       /* (id): a tracked coroutine has ended */
    ENTRY_TASK,        /* (): the task call at hand */
    ENTRY_TIMER,       /* (i): the i-th configured timer is due */
    ENTRY_UID_CLOSED,  /* (): the binding at hand has ended */
    ENTRY_UID_CALLED,  /* (number): ask or deliver for another process */
    ENTRY_UNDELIVERED, /* (): what reached nobody */
    ENTRY_DOOR,        /* (number): a request of a back end */
    ENTRY_GROUPS,      /* (handle): read the groups of its uid again */
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
    unsigned id;                /* small; equal for ports with the same codec */
    int decode, encode, length; /* of a script: references */
};

/* Per port, twice: its own packets, and those of its WebSockets. */
struct vm_port {
    struct vm_pack pack[2];
    int serve[2]; /* references to the functions that serve a packet */
    int request, handshake; /* ... and those of HTTP */
};

/* A request that scripts know by number: index | serial << 20. */
struct vm_request {
    struct http_request *r; /* NULL: free */
    uint32_t serial;
    bool streaming;
    struct member *member; /* of the conn that a handshake opens */
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
    const char *stack_low;    /* callbacks from C raise below this */
    const char *stack_nested; /* and coroutines inside coroutines below this */
    struct loop_hook hook;
    int entry[ENTRY_COUNT];
    int collect;       /* a function that collects garbage */
    size_t collect_at; /* bytes of the heap that call for it */
    unsigned nports;
    struct vm_port *ports;
    bool has_open_hook, has_close_hook, has_handshake_hook, has_end_hook;
    bool has_undeliverable_hook;
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
    struct people *people;
    struct reach *reach; /* uids on other workers */
    struct moves *moves; /* conns that go to other workers */
    struct heir heir;
    struct kicks kicks;
    struct uidcalls uidcalls;
    struct deliveries *deliveries;
    struct doors *doors; /* vm/door.c */
    vm_started_fn *on_started;
    void *started_arg;
    vm_stopped_fn *on_stopped;
    void *stopped_arg;
    uint64_t request_ids;
};

struct vm *vm_of(lua_State *L);

/* Fill a fresh state; called protected, raises what is wrong. */
int vm_boot(lua_State *L);

/* Protected call of ENTRY_ENDED. */
void vm_tell_end(struct vm *vm, uint64_t id);

/* A coroutine set up to run an entry; push light arguments, then co_start().
 * NULL: out of memory. */
struct co *vm_enter(struct vm *vm, int ref, enum co_kind kind,
                    uint64_t timeout);

/* Log the error of a coroutine that ended with one. */
void vm_log_end(struct co *co, int status);

/* Handles: what scripts know conns by inside this process. */
double vm_handle(const struct conn *c);
struct conn *vm_conn(lua_State *L, int idx); /* NULL: gone */

/* A request by its number, NULL when it has ended; and its end. */
struct vm_request *vm_request(struct vm *vm, double number);
void vm_request_ended(struct vm *vm, struct vm_request *q);

/* The handshake has opened its WebSocket; vm_request_ended() comes next. */
void vm_request_opened(struct vm *vm, struct vm_request *q);

/* Unbind and unsubscribe a conn, then close it. */
void vm_shut(struct vm *vm, struct conn *c, const char *reason, int code);

/* The reason kept for on_close; NULL: not closed. */
const char *vm_close_reason(const struct conn *c);

/* Messages for conns, from other processes. */
void people_on_msg(struct vm *vm, const struct mesh_msg *m);

/* A message of ours that its dead reader had not read. */
void people_on_back(struct vm *vm, const struct mesh_msg *m);

/* A conn id as scripts know it. */
struct vm_conn_id {
    uint64_t boot, id;
};
bool vm_conn_id(struct vm_conn_id *out, lua_State *L, int idx);

/* Send the value at `idx`, with what bind_send.c expects behind it, to one
 * conn; may raise. */
int vm_push(lua_State *L, struct conn *c, int idx);

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
void bind_people(lua_State *L);
void bind_send(lua_State *L);
void bind_far(lua_State *L);
void bind_crypto(lua_State *L);
void bind_bytes(lua_State *L);
void bind_struct(lua_State *L);

#endif
