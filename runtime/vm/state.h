/* state.h - what a vm is made of; private to runtime/vm. */
#ifndef SD_VM_STATE_H
#define SD_VM_STATE_H

#include <lua.h>
#include <stdint.h>

#include "base/buf.h"
#include "cluster/place.h"
#include "loop/loop.h"
#include "vm/co_wait.h"
#include "vm/garbage.h"
#include "vm/heir.h"
#include "vm/kick.h"
#include "vm/note.h"
#include "vm/uidcall.h"
#include "vm/vms.h"

struct conn;
struct http_request;
struct redis;
struct deliveries;
struct doors;
struct events;
struct member;
struct mesh_msg;
struct moves;
struct people;
struct reach;

#define VM_MAGIC  0x766d3031u
#define VMS_MAGIC 0x766d7331u

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
    ENTRY_LOCATE,      /* (uid): find it for a message that waits */
    ENTRY_ARRIVED,     /* (handle): its uid has come with it */
    ENTRY_LEFT,        /* (): bindings have ended */
    ENTRY_EVENTS,      /* (): some wait */
    ENTRY_RETIRE,      /* (ms): say which timers may still run */
    ENTRY_SAVE,        /* run save */
    ENTRY_RESTORE,     /* run restore */
    ENTRY_CONSOLE,     /* (number): a line of somebody who looks inside */
    ENTRY_COUNT
};

/* One pack: how packets of a port become values and back. */
enum pack_kind {
    PACK_JSON,
    PACK_MSGPACK,
    PACK_RAW,
    PACK_GONE, /* a script that is no more */
    PACK_SCRIPT
};

struct vm_pack {
    enum pack_kind kind;
    unsigned id;                /* small; equal for ports with the same codec */
    int decode, encode, length; /* of a script: references */
};

/* Packs that no port uses now, but conns that were accepted earlier. */
struct vm_packs {
    struct vm_pack *at;
    char **name;
    unsigned n;
};

/* Per port, twice: its own packets, and those of its WebSockets. */
struct vm_port {
    unsigned format; /* of conns that are accepted now, see conn_format() */
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

enum vm_state {
    VM_LOADING,     /* its files are run */
    VM_STARTING,    /* on_start runs */
    VM_STANDING_BY, /* to be switched to */
    VM_SERVING,
    VM_RETIRED,  /* calls finish */
    VM_STOPPING, /* on_stop runs */
    VM_CLOSING,  /* nothing enters it any more */
};

struct vm {
    unsigned magic;
    enum vm_state state;
    struct vms *all;
    struct code *code;
    lua_State *L;
    struct vm_env env;
    struct cos cos;
    uint64_t max_run; /* ms of CPU that a run may burn; 0: no limit */
    struct heap *heap;
    const char *stack_low;    /* callbacks from C raise below this */
    const char *stack_nested; /* and coroutines inside coroutines below this */
    struct loop_hook hook;
    int boot; /* what lua/sd/boot.lua returned */
    int entry[ENTRY_COUNT];
    struct garbage garbage;
    unsigned nports;
    struct vm_port *ports;
    struct vm_packs packs;
    bool has_open_hook, has_close_hook, has_handshake_hook, has_end_hook;
    bool has_undeliverable_hook;
    bool has_bye;           /* a route has words for it */
    const char *bye_reason; /* during ENTRY_BYE */

    /* The packet at hand: of the running on_packet() or on_answer(). */
    struct slice packet;
    struct conn *packet_conn;
    bool was_answer;
    int length_ref;
    int64_t length;

    struct conn *sending; /* between begin and commit of a send */
    struct buf scratch;

    struct redis **redis; /* clients, as conf lists the servers */
    unsigned nredis;

    struct vm_request *requests;
    uint32_t nrequests, free_request;

    struct schedule *schedule; /* vm/schedule.c, while it serves */
    struct deliveries *deliveries;
    lua_State *now;       /* vm/note.c */
    struct list consoles; /* vm/console.c */

    struct list link;    /* of all->retired */
    struct list dormant; /* coroutines that begin when it serves */
    struct timer limit;  /* of its last calls */
    bool is_stopped;     /* on_stop has run */
    bool boot_failed;    /* on_start has; why is in `scratch` */
};

/* See vm/vms.h. */
struct vms {
    unsigned magic;
    struct vm_env env;   /* but for what a vm has of its own */
    struct vm *current;  /* serves; of a process that starts, the first */
    struct vm *next;     /* is built or stands by */
    struct list retired; /* oldest first */
    struct co *running;  /* of whichever vm; NULL: none */
    bool is_loading;     /* scripts of a vm, by boot() */
    unsigned nclosing;   /* on other threads */
    bool is_awaiting;    /* `next` shall serve when it is committed ... */
    unsigned vote;       /* ... by this vote */
    bool is_switching;
    bool is_resting; /* the process ends: nothing takes over any more */
    struct loop_hook hook;
    struct loop_job load; /* the next slice of loading `next` */
    struct buf kept;      /* what save() kept, as msgpack; len 0: nothing */
    uint64_t request_ids;

    struct tasks *tasks; /* vm/task.c */
    struct people *people;
    struct reach *reach; /* uids on other workers */
    struct heir heir;
    struct kicks kicks;
    struct uidcalls uidcalls;
    struct doors *doors;   /* vm/door.c */
    struct moves *moves;   /* conns that go to other workers */
    struct abroad *abroad; /* other nodes; NULL: of no cluster */
    struct events *events;

    vms_built_fn *on_built;
    void *built_arg;
    void (*on_switched)(void *arg);
    void *switched_arg;
    vms_stopped_fn *on_stopped;
    void *stopped_arg;
};

/* The one that serves. */
static inline struct vm *vms_now(const struct vms *a)
{
    return a->current;
}

void vms_open_people(struct vms *a); /* vms_people.c */

struct vm *vm_of(lua_State *L);

/* Fill a fresh state with libraries, bindings and the framework; called
 * protected, raises what is wrong. */
int vm_boot(lua_State *L);

/* Protected too: run the application's next file and push whether there is
 * more; then take what the framework made of them. */
int vm_boot_file(lua_State *L);
int vm_boot_end(lua_State *L);

/* --- vm.c: one vm.  `text` gets "file:line: message". --------------------- */

int vm_open(struct vm **out, struct vms *all, struct code *code,
            const char *why, char *text, size_t size);

/* Run some more of the application's files: 1: there are more, 0: all have
 * been, SD_EFAILED. */
int vm_load(struct vm *vm, char *text, size_t size);

/* Forget what is going on in it, and free it. */
void vm_close(struct vm **vp);

/* The first half of that, on the loop's thread, and the second, anywhere. */
void vm_detach(struct vm *vm);
void vm_destroy(struct vm *vm);

/* Who serves owns LuaJIT's profiler, if it is watched. */
void vm_settle_watchdog(struct vm *vm);

/* --- retire.c: the end of a vm that does not serve any more --------------- */

/* Its background work ends now, its calls may finish; then it is closed. */
void vm_retire(struct vm *vm);

/* Its calls may take server.reload_timeout from now on. */
void vm_limit(struct vm *vm);

void vm_look_retired(struct vm *vm); /* once a turn */

/* Does the watchdog look after it? */
bool vm_is_watched(const struct vm *vm);

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
struct conn *vm_find_conn(struct vm *vm, uint64_t handle);

/* A request by its number, NULL when it has ended; and its end. */
struct vm_request *vm_request(struct vm *vm, double number);
void vm_request_ended(struct vm *vm, struct vm_request *q);

/* The handshake has opened its WebSocket; vm_request_ended() comes next. */
void vm_request_opened(struct vm *vm, struct vm_request *q);

/* Two of vms_conn_ops, call_http.c. */
void vms_on_handshake(void *arg, struct conn *c, struct http_request *r);
void vms_on_request(void *arg, struct conn *c, struct http_request *r);

/* Unbind and unsubscribe a conn, then close it. */
void vm_shut(struct vm *vm, struct conn *c, const char *reason, int code);

/* Has the vm questions open to the client of a conn? */
bool asks_of(const struct conn *c, const struct vm *vm);
void asks_drop(struct member *m);
void asks_forget(struct people *p, const struct vm *vm); /* all of its */

/* Let the packets wait of conns that have calls in it. */
void vm_hold_conns(struct vm *vm);

/* The reason kept for on_close; NULL: not closed. */
const char *vm_close_reason(const struct conn *c);

/* Messages for conns, from other processes. */
void people_on_msg(struct vm *vm, const struct mesh_msg *m);

/* MSG_SEND or MSG_CLOSE_CONN from another node.  0 or an error code. */
int people_take_far(struct vm *vm, uint32_t type, struct slice body);

/* A message of ours that its dead reader had not read. */
void people_on_back(struct vm *vm, const struct mesh_msg *m);

/* A conn id as scripts know it. */
struct vm_conn_id {
    uint64_t boot, id;
};
bool vm_conn_id(struct vm_conn_id *out, lua_State *L, int idx);
struct place vm_conn_place(const struct vm_conn_id *id);

/* Send the value at `idx`, with what bind_send.c expects behind it, to one
 * conn; may raise. */
int vm_push(lua_State *L, struct conn *c, int idx);

/* Send a value to all conns of a uid.  0, or why nobody has it; *is_told: that
 * is to be reported, else nobody was told. */
struct deliver;
int vm_send_one(struct deliver *d, struct slice uid, bool *is_told);

/* Undo a send that an error (out of memory) has left half done. */
void vm_unsend(struct vm *vm);

/* Make the packs for conns that speak by earlier formats; protected call. */
int vm_keep_packs(lua_State *L);

/* Keep a copy. */
void packs_add(struct vm_packs *packs, const char *name,
               const struct vm_pack *p);
void packs_fini(struct vm_packs *packs);

/* The pack a codec's name stands for in this vm; NULL: it has none. */
const struct vm_pack *pack_by_name(struct vm *vm, const char *codec);

/* Decode and encode by the pack of a conn; both may raise. */
const struct vm_pack *vm_pack_of(struct vm *vm, const struct conn *c);
int pack_decode(lua_State *L, const struct vm_pack *p, struct slice s,
                const char **why);
int pack_encode(lua_State *L, const struct vm_pack *p, int idx, struct buf *out,
                const char **why);

/* Add a binding's functions to the table on top of the stack. */
void bind_co(lua_State *L);
void open_iterate(lua_State *L); /* globals, not of that table */
void bind_ask(lua_State *L);
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
void bind_console(lua_State *L);
void bind_look(lua_State *L);

#endif
