/* json.c - any text: the reader ends, its tokens nest, what it gives can be
 * written and reads back as the same tokens. */
#include <stdint.h>
#include <string.h>

#include "base/assert.h"
#include "codec/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct buf scratch, again, back;

/* Write the token as it would stand in a text; commas are not kept. */
static void write_token(const struct json *j, int token)
{
    static const char *const words[] = {
        [JSON_NULL] = "null ", [JSON_FALSE] = "false ", [JSON_TRUE] = "true ",
        [JSON_LIST] = "[",     [JSON_LIST_END] = "]",   [JSON_MAP] = "{",
        [JSON_MAP_END] = "}",
    };

    switch (token) {
    case JSON_NUMBER:
        sd_assert(json_write_number(&again, j->number) == 0);
        break;
    case JSON_BIGINT:
        buf_append(&again, j->text.p, j->text.len);
        break;
    case JSON_STRING:
    case JSON_KEY:
        sd_assert(json_write_string(&again, j->text) == 0);
        break;
    default:
        buf_append_str(&again, words[token]);
        break;
    }
}

/* A leaf that was written reads back as itself. */
static void check_leaf(const struct json *j, int token, size_t from)
{
    struct json k;

    if (token == JSON_KEY)
        token = JSON_STRING;
    if (token != JSON_NUMBER && token != JSON_BIGINT && token != JSON_STRING)
        return;
    json_init(&k, slice_skip(buf_slice(&again), from), &back);
    sd_assert(json_next(&k) == token);
    if (token == JSON_NUMBER)
        sd_assert(memcmp(&k.number, &j->number, sizeof(k.number)) == 0);
    else
        sd_assert(slice_eq(k.text, j->text));
    sd_assert(json_next(&k) == JSON_END);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct json j;
    size_t tokens = 0, from;
    int depth = 0, token;

    buf_truncate(&again, 0);
    json_init(&j, slice_make(data, size), &scratch);
    while ((token = json_next(&j)) > 0) {
        sd_assert(++tokens <= size);
        if (token == JSON_LIST || token == JSON_MAP)
            sd_assert(++depth <= JSON_DEPTH);
        else if (token == JSON_LIST_END || token == JSON_MAP_END)
            sd_assert(--depth >= 0);
        from = again.len;
        write_token(&j, token);
        check_leaf(&j, token, from);
    }
    sd_assert(j.p >= j.start && j.p <= j.end);
    sd_assert(token < 0 ? j.why != NULL : depth == 0 && j.p == j.end);
    sd_assert(json_next(&j) < 0);

    /* Any bytes as a string: written only when they read back. */
    buf_truncate(&again, 0);
    if (json_write_string(&again, slice_make(data, size)) == 0) {
        json_init(&j, buf_slice(&again), &scratch);
        sd_assert(json_next(&j) == JSON_STRING);
        sd_assert(slice_eq(j.text, slice_make(data, size)));
    }
    return 0;
}
