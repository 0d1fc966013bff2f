/* msg.h - every message between the processes of a node, with its body.
 *
 * A message is a wire head (codec/wire.h), whose `type` is one of these, and
 * a body.  The type is also the type of the ring's record, so a reader
 * dispatches before it parses.  Numbers in bodies are in the byte order of
 * the machine (both ends are one binary); "value" is one msgpack value.
 *
 * A call carries a ticket and gets exactly one message with WIRE_ANSWER back,
 * under the same type + 1, also when it was cancelled. */
#ifndef SD_IPC_MSG_H
#define SD_IPC_MSG_H

#include <stdint.h>

enum msg_type {
    MSG_NONE = 0, /* never sent */

    /* worker -> task.  Body: struct msg_task_call, msgpack array [task,
     * method, context, args], args an array.  Popped before it runs. */
    MSG_TASK_CALL = 1,
    /* task -> worker.  Body: the result, or with WIRE_ERROR the error. */
    MSG_TASK_REPLY = 2,
    /* worker -> task: nobody waits for this call any more.  Body: struct
     * msg_task_cancel.  No answer of its own; the call's answer still comes. */
    MSG_TASK_CANCEL = 3,

    /* any -> worker: a value for one conn.  Body: struct msg_conn, value. */
    MSG_SEND = 4,

    /* any -> worker: a value for the subscribers of a topic, the conns of a
     * group, or every conn.  Body: struct msg_publish, the name's bytes, the
     * uids left out (msgpack array of strings, may be empty bytes), value. */
    MSG_PUBLISH = 6,

    /* any -> worker: close one conn.  Body: struct msg_conn, reason text. */
    MSG_CLOSE_CONN = 8,

    /* any -> worker: uids have come into a group or left it.  Body: struct
     * msg_group, the group's bytes, then of each uid the number of the change
     * (8 bytes), its length (1 byte) and its bytes. */
    MSG_GROUP = 10,

    /* any -> worker: a value for the conns of many uids.  Body: struct
     * msg_uids, the uids (of each: length and a flag, a byte each, then its
     * bytes; the flag: no other worker is told of it), value. */
    MSG_SEND_UIDS = 12,

    /* any -> worker: close a conn if this is still its binding.  Body: struct
     * msg_conn_number, reason text. */
    MSG_KICK = 14,

    /* worker -> any: uids none of whose conns here took a value of
     * MSG_SEND_UIDS, and of which other workers were told too.  Body: struct
     * msg_missed, the uids (as there; the number: why), value. */
    MSG_MISSED = 15,

    /* agent -> worker: what a back end asks for.  Body: struct msg_door, a JSON
     * object. */
    MSG_DOOR = 16,
    /* worker -> agent.  Body: struct msg_door_reply, the JSON of the answer
     * (empty: none but the status). */
    MSG_DOOR_REPLY = 17,

    /* any -> worker: do something with the conns that a uid has there, or say
     * something about them.  Body: struct msg_uid_call, the uid's bytes,
     * value. */
    MSG_UID_CALL = 18,
    /* worker -> any.  Body: msgpack array [result, err, code], or with
     * WIRE_ERROR a word. */
    MSG_UID_REPLY = 19,

    /* worker -> worker: a conn moves.  Body: struct msg_move, then its image
     * (vm/move_image.h); its descriptor was sent ahead.  Without an image it is
     * no call: the descriptor came for nothing. */
    MSG_MOVE = 20,
    /* worker -> worker.  Body: struct msg_moved, then, where it has come, for
     * each slot how far its publishes were handled (8 bytes, vm/heard.h). */
    MSG_MOVED = 21,

    /* worker -> worker: a value that follows a conn which has moved.  Body:
     * struct msg_follow, the uid's bytes (none: it is for the conn), value. */
    MSG_FOLLOW = 22,

    /* worker -> worker: nothing follows this conn any more that was sent before
     * it moved.  Body: struct msg_conn. */
    MSG_MOVE_END = 23,

    /* Between nodes, by links.  A value for the conns of a uid, which the
     * frame names.  Body: struct msg_uid_send, value. */
    MSG_UID_SEND = 24,

    /* Between nodes: close a conn that has lost its uid to a newer one.  Body:
     * struct msg_oust, the uid's bytes, reason text. */
    MSG_OUST = 25,

    /* task -> worker: send this to other nodes.  Body: struct msg_abroad, the
     * name's bytes, the body. */
    MSG_ABROAD = 26,

    /* any -> worker, also of another node: an event.  Body: struct msg_event,
     * the name's bytes, those of the emitter's node, value. */
    MSG_EVENT = 27,

    /* Between nodes: the uid has conns on the sender's node, too.  Body: its
     * bytes. */
    MSG_UID_TOO = 28,

    /* Between nodes: change the conns of a uid, which the frame names.  Body:
     * struct msg_uid_change, a filter or the reason of a kick. */
    MSG_UID_CHANGE = 29,

    /* Between nodes: as MSG_UID_CALL; to a uid that the frame names, or to a
     * place.  Body: struct msg_far_call, value. */
    MSG_FAR_CALL = 30,
    /* Between nodes.  Body: struct msg_far_reply, and what its kind says. */
    MSG_FAR_REPLY = 31,

    MSG_TYPES = 32 /* one past the last */
};

struct msg_uid_send {
    uint64_t key; /* of conflation, 0: none */
    uint32_t is_volatile;
    uint32_t done_there; /* enum abroad_uid: what its sender's node has done */
};

struct msg_oust {
    uint64_t conn;
    uint64_t number; /* only with a lower one */
    uint32_t uid_len;
    uint32_t reserved;
};

struct msg_abroad {
    uint64_t boot; /* of a place */
    uint32_t type; /* of enum msg_type, for the other node */
    uint32_t name_len;
    uint16_t epoch; /* of a place */
    uint8_t slot;
    uint8_t to;    /* enum frames_type */
    uint8_t kind;  /* enum frames_kind */
    uint8_t wants; /* enum abroad_want, vm/abroad_state.h */
    uint8_t is_beside;
    uint8_t is_silent; /* nothing is counted when it does not arrive */
};

struct msg_uid_change {
    uint32_t verb; /* MSG_UID_SUBSCRIBE, MSG_UID_UNSUBSCRIBE, MSG_UID_KICK */
    uint32_t reserved;
};

struct msg_far_call {
    uint32_t verb; /* enum msg_uid_verb */
    uint32_t ms;   /* that the caller waits, from when it was sent */
};

enum msg_far_kind {
    MSG_FAR_TAKEN, /* nothing: it runs here, and its end will be told */
    MSG_FAR_VALUE, /* msgpack array [result, err, code] */
    MSG_FAR_ERROR  /* a word */
};

struct msg_far_reply {
    uint64_t counter; /* of the call's wire head */
    uint32_t kind;    /* enum msg_far_kind */
    uint32_t reserved;
};

struct msg_event {
    uint32_t name_len;
    uint32_t node_len;
};

struct msg_task_call {
    uint64_t sent; /* clock_ms(), which all processes of a node share */
};

struct msg_task_cancel {
    uint64_t counter; /* wire head of the call */
};

/* A conn id names slot and epoch: a receiver that was refilled since finds
 * no such conn and answers SD_EGONE. */
struct msg_conn {
    uint64_t conn;
};

struct msg_publish {
    uint32_t kind; /* enum spread_kind, vm/spread.h */
    uint32_t name_len;
    uint32_t except_len; /* 0: nobody is left out */
    uint32_t is_volatile;
    uint64_t key; /* of conflation, 0: none */
};

enum msg_group_verb {
    MSG_GROUP_ENTER,
    MSG_GROUP_LEAVE
};

struct msg_group {
    uint32_t verb; /* enum msg_group_verb */
    uint32_t group_len;
};

struct msg_uids {
    uint32_t uids_len;
    uint32_t is_volatile;
    uint64_t key;  /* of conflation, 0: none */
    uint64_t send; /* counts those of the sender */
};

struct msg_missed {
    uint64_t send; /* of struct msg_uids */
    uint32_t uids_len;
    uint32_t reserved;
};

struct msg_conn_number {
    uint64_t conn;
    uint64_t number; /* of its binding, ipc/uidmap.h */
};

enum msg_uid_verb {
    MSG_UID_DELIVER,     /* the value to all of them */
    MSG_UID_ASK,         /* the newest one; the value is the question */
    MSG_UID_SUBSCRIBE,   /* all of them; the value is a filter */
    MSG_UID_UNSUBSCRIBE, /* the same */
    MSG_UID_TOPIC_COUNT, /* no uid: how many have the filter */
    MSG_UID_KICK,        /* all of them; the value is the reason */

    /* Of a node, no uid.  */
    MSG_UID_ONLINE, /* how many uids, and which of them may be elsewhere too */
    MSG_UID_PAGE,   /* some of its uids; the value is a cursor */
    MSG_UID_TOPICS, /* MSG_UID_TOPIC_COUNT of all its workers */

    /* For a task, which has no links. */
    MSG_UID_ABROAD,   /* one of the above, elsewhere */
    MSG_UID_PRESENCE, /* a call of lua/sd/presence.lua */
    MSG_UID_VERBS
};

struct msg_uid_call {
    uint32_t verb; /* enum msg_uid_verb */
    uint32_t uid_len;
};

struct msg_move {
    uint64_t conn; /* its id where it comes from */
    uint64_t fd;   /* number of its descriptor, see mesh_send_fd() */
};

struct msg_moved {
    uint64_t conn; /* as in struct msg_move */
    uint64_t id;   /* its new one */
    int32_t err;   /* 0, or why it is not there */
    uint32_t reserved;
};

struct msg_follow {
    uint64_t conn;
    uint64_t number; /* only while this is its binding; 0: in any case */
    uint64_t key;    /* of conflation, 0: none */
    uint32_t uid_len;
    uint16_t is_volatile;
    uint16_t tells; /* nobody else has it: on_undeliverable */
};

struct msg_door {
    char verb[16]; /* "send" ..., with NUL */
};

struct msg_door_reply {
    int32_t status; /* of HTTP */
    uint32_t reserved;
};

#endif
