/* conf_doc.c - see conf_doc.h.
 *
 * One table for each file of config/.  What holds for all of them stands in
 * front, because it is asked first. */
#include "base/conf_doc.h"

#include <ctype.h>
#include <string.h>

#include "base/conf_schema.h"
#include "base/conf_value.h"

static const char front[] =
    "# Configuration\n"
    "\n"
    "Generated from the schema by `make docs`; do not edit.\n"
    "\n"
    "Each file of `config/` is Lua that returns one table. Later layers win:\n"
    "\n"
    "1. the default\n"
    "2. `config/x.lua`\n"
    "3. `config/$SD_CONFIG_DIR/x.lua`: maps are merged, lists replaced\n"
    "4. the environment: `SD_<FILE>_<PATH>` in upper case, parts joined by\n"
    "   `_`, lists by comma; `..._FILE` reads the value from that file\n"
    "5. a flag of the command line\n"
    "\n"
    "`sdlua check` lists every error with file and line. `sdlua config`\n"
    "shows each value, where it came from, and whether a reload applies it.\n"
    "A file of another name is the application's own: it is not checked and\n"
    "read as `sd.config.<name>`. Configuration files are plain data; they\n"
    "have `string`, `table`, `math` and `os.getenv`, no other I/O. They and\n"
    "all scripts must be loaded within 10 seconds, or `$SD_CONFIG_SECONDS`.\n"
    "\n"
    "Durations are `\"250ms\"`, `\"10s\"`, `\"5m\"`, `\"1h\"` or a number of\n"
    "seconds; sizes `\"64k\"`, `\"8m\"`, `\"1g\"` or a number of bytes; `0` "
    "is\n"
    "no limit. `*` stands for a name of your choice, and for the number of a\n"
    "timer.\n";

static struct slice file_of(const struct conf_key *key)
{
    return slice_make(key->path, strcspn(key->path, "."));
}

/* A table's cell is one line and has bars of its own. */
static void put_cell(struct buf *out, const char *text)
{
    for (; *text != '\0'; text++) {
        if (*text == '|')
            buf_append_str(out, "\\|");
        else if (*text == '\r')
            buf_append_str(out, "\\r");
        else if (*text == '\n')
            buf_append_str(out, "\\n");
        else
            buf_append(out, text, 1);
    }
}

static const char *short_type(enum conf_type type)
{
    static const char *const names[] = {
        [CONF_STRING] = "text",       [CONF_BOOL] = "boolean",
        [CONF_INT] = "integer",       [CONF_NUMBER] = "number",
        [CONF_DURATION] = "duration", [CONF_SIZE] = "size",
        [CONF_CHOICE] = "",           [CONF_LIST] = "list",
        [CONF_WORDS] = "text, list",  [CONF_TIME] = "time",
        [CONF_ANY] = "plain data",
    };

    return names[type];
}

/* Bounds that only keep out nonsense are not worth a reader's time. */
static void put_type(struct buf *out, const struct conf_key *key)
{
    buf_append_str(out, short_type(key->type));
    if (key->choices != NULL) {
        buf_append_str(out, key->type == CONF_CHOICE ? "" : ", ");
        put_cell(out, key->choices);
    }
    if (key->type == CONF_INT && key->max > 0)
        buf_printf(out, " %.15g..%.15g", key->min, key->max);
}

static void put_row(struct buf *out, const struct conf_key *key)
{
    const char *inside = key->path + file_of(key).len + 1;

    buf_printf(out, "| `%s` | ", inside);
    put_type(out, key);
    buf_append_str(out, " | ");
    if (key->fallback != NULL && *key->fallback != '\0') {
        buf_append_str(out, "`");
        put_cell(out, key->fallback);
        buf_append_str(out, "`");
    } else {
        buf_append_str(out, key->needed ? "needed" : "");
    }
    buf_printf(out, " | %s | ", key->reload ? "yes" : "");
    put_cell(out, key->doc);
    buf_append_str(out, " |\n");
}

void conf_markdown(struct buf *out)
{
    struct slice file = {0};
    const struct conf_key *key;
    unsigned i;

    buf_append_str(out, front);
    for (i = 0; (key = conf_key_at(i)) != NULL; i++) {
        if (!slice_eq(file, file_of(key))) {
            file = file_of(key);
            buf_printf(out,
                       "\n## config/%.*s.lua\n\n"
                       "| key | type | default | reload | |\n"
                       "| --- | --- | --- | --- | --- |\n",
                       (int)file.len, file.p);
        }
        put_row(out, key);
    }
}
