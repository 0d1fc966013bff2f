/* reload_answer.c - see reload_answer.h. */
#include "proc/reload_answer.h"

#include "base/buf.h"
#include "codec/json.h"

static void take_number(struct reload_answer *out, struct slice key, double n)
{
    if (slice_is(key, "generation"))
        out->generation = (uint32_t)n;
    else if (slice_is(key, "workers"))
        out->workers = (uint32_t)n;
    else if (slice_is(key, "tasks"))
        out->tasks = (uint32_t)n;
}

void reload_answer_read(struct reload_answer *out, struct slice line)
{
    struct buf scratch = {0}, key = {0};
    struct json j;
    int token;

    json_init(&j, line, &scratch);
    while ((token = json_next(&j)) > JSON_END) {
        if (token == JSON_KEY) {
            buf_truncate(&key, 0);
            buf_append(&key, j.text.p, j.text.len);
        } else if (token == JSON_TRUE) {
            out->ok = true;
        } else if (token == JSON_NUMBER) {
            take_number(out, buf_slice(&key), j.number);
        } else if (token == JSON_STRING) {
            out->on_text(out->arg, j.text);
        }
    }
    buf_fini(&key);
    buf_fini(&scratch);
}
