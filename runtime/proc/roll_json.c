/* roll_json.c - see roll_json.h. */
#include "proc/roll_json.h"

#include <inttypes.h>

#include "cluster/meta.h"
#include "codec/json.h"
#include "proc/json_lines.h"

static void put_text(struct buf *out, struct slice text)
{
    if (json_write_string(out, text) < 0)
        buf_append_str(out, "\"?\"");
}

static const char *word_of(const struct roll_node *n)
{
    switch (n->state) {
    case ROLL_DONE:
        return "reloaded";
    case ROLL_FAILED:
        return "failed";
    case ROLL_RUNNING:
        return "unknown";
    default:
        return "untouched";
    }
}

static void put_node(struct buf *out, struct slice name, const char *state,
                     uint32_t generation)
{
    bool is_first = out->p[out->head + out->len - 1] == '[';

    buf_append_str(out, is_first ? "{\"node\":" : ",{\"node\":");
    put_text(out, name);
    buf_printf(out, ",\"state\":\"%s\",\"generation\":%" PRIu32 "}", state,
               generation);
}

static bool has_node(const struct roll *roll, uint64_t boot)
{
    for (unsigned i = 0; i < roll_count(roll); i++)
        if (roll_at(roll, i)->boot == boot)
            return true;
    return false;
}

/* One that drains, or has come meanwhile. */
static void put_other(struct buf *out, const struct roll *roll,
                      const struct gossip_member *m)
{
    struct meta meta;

    if (m->kind != GOSSIP_NODE || has_node(roll, m->boot))
        return;
    (void)meta_read(&meta, m->meta);
    put_node(out, m->name, meta.is_draining ? "draining" : "untouched",
             meta.generation);
}

void roll_json_end(struct buf *out, const struct roll *roll,
                   const struct gossip *g)
{
    struct slice why = roll_why(roll);

    buf_printf(out, "{\"ok\":%s,\"nodes\":[", why.len == 0 ? "true" : "false");
    for (unsigned i = 0; i < roll_count(roll); i++) {
        const struct roll_node *n = roll_at(roll, i);

        put_node(out, slice_str(n->name), word_of(n), n->generation);
    }
    put_other(out, roll, gossip_self(g));
    for (unsigned i = 0; i < gossip_living(g); i++)
        put_other(out, roll, gossip_at(g, i));
    buf_append_str(out, "]");
    json_lines(out, "errors", why);
    buf_append_str(out, "}\n");
}

void roll_json_done(struct buf *out, const struct roll_node *n,
                    struct slice notes)
{
    buf_append_str(out, "{\"node\":");
    put_text(out, slice_str(n->name));
    buf_printf(out, ",\"generation\":%" PRIu32, n->generation);
    json_lines(out, "notes", notes);
    buf_append_str(out, "}\n");
}

void roll_json_refusal(struct buf *out, const char *why)
{
    buf_append_str(out, "{\"ok\":false,\"nodes\":[]");
    json_lines(out, "errors", slice_str(why));
    buf_append_str(out, "}\n");
}
