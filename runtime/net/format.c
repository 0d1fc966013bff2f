/* format.c - see format.h. */
#include "net/format.h"

#include <string.h>

#include "base/assert.h"
#include "base/err.h"
#include "base/mem.h"
#include "codec/ws.h"

static int frame_of(struct frame_spec *s, const struct conf_frame *f,
                    const char **why)
{
    int type = frame_type_of(f->type);

    if (type < 0 || f->delimiter_len > FRAME_DELIMITER_MAX) {
        *why = type < 0 ? "frame: no such type"
                        : "frame.delimiter: longer than 16 bytes";
        return SD_EINVALID;
    }
    frame_spec_init(s, type);
    s->max = f->max > FRAME_MAX ? FRAME_MAX : (uint32_t)f->max;
    s->offset = f->offset;
    s->add = (int32_t)f->add;
    s->bytes = f->bytes == 0 ? FRAME_VARINT : (uint8_t)f->bytes;
    s->little = f->little;
    s->includes_header = f->includes_header;
    s->whole = f->whole;
    s->size = f->size;
    s->delimiter_len = (uint8_t)f->delimiter_len;
    if (f->delimiter_len > 0)
        memcpy(s->delimiter, f->delimiter, f->delimiter_len);
    return frame_spec_check(s, why);
}

static char *dup_text(const char *text)
{
    return text != NULL ? mem_dup(text, strlen(text)) : NULL;
}

int format_new(struct format **out, const struct conf_port *conf,
               const char **why)
{
    struct format *f = mem_zalloc(sizeof(*f));
    const char *codec = conf->websocket.codec;
    int err = 0;

    f->refs = 1;
    list_init(&f->link);
    if (conf->protocol == CONF_TCP)
        err = frame_of(&f->frame, &conf->frame, why);
    f->ws_opcode =
        codec != NULL && strcmp(codec, "msgpack") == 0 ? WS_BINARY : WS_TEXT;
    f->ws_is_text = f->ws_opcode == WS_TEXT &&
                    (codec == NULL || strcmp(codec, "json") != 0);
    f->codec[0] = dup_text(conf->codec);
    f->codec[1] = dup_text(codec);
    if (err < 0) {
        format_unref(f);
        return err;
    }
    *out = f;
    return 0;
}

void format_unref(struct format *f)
{
    if (f == NULL)
        return;
    sd_assert(f->refs > 0);
    if (--f->refs > 0)
        return;
    list_del(&f->link);
    mem_free(f->codec[0]);
    mem_free(f->codec[1]);
    mem_free(f);
}

static bool is_same_text(const char *a, const char *b)
{
    return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

bool format_is_same(const struct format *a, const struct format *b)
{
    return frame_spec_is_same(&a->frame, &b->frame) &&
           is_same_text(a->codec[0], b->codec[0]) &&
           is_same_text(a->codec[1], b->codec[1]);
}
