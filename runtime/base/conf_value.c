/* conf_value.c - see conf_value.h.
 *
 * Texts come from Lua, from the environment and from flags; all are read
 * here, so all obey the same rules.  A number may carry a unit only where the
 * type has units. */
#include "base/conf_value.h"

#include <ctype.h>
#include <inttypes.h>
#include <math.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"

enum {
    AUTO_MAX = 64,
    SHOWN_MAX = 60 /* of a wrong text, in its message */
};

struct unit {
    const char *name;
    double factor;
};

static const struct unit durations[] = {
    {"", 1}, {"ms", 0.001}, {"s", 1}, {"m", 60}, {"h", 3600}, {NULL, 0},
};

static const struct unit sizes[] = {
    {"", 1},         {"b", 1},           {"k", 1024},
    {"m", 1048576},  {"g", 1073741824},  {"kb", 1024},
    {"mb", 1048576}, {"gb", 1073741824}, {NULL, 0},
};

static const struct unit none[] = {{"", 1}, {NULL, 0}};

static const char *const type_names[] = {
    [CONF_STRING] = "text",
    [CONF_BOOL] = "true or false",
    [CONF_INT] = "a whole number",
    [CONF_NUMBER] = "a number",
    [CONF_DURATION] =
        "a duration (\"250ms\", \"10s\", \"5m\", \"1h\" or seconds)",
    [CONF_SIZE] = "a size (\"64k\", \"8m\", \"1g\" or bytes)",
    [CONF_CHOICE] = "one of its words",
    [CONF_LIST] = "a list of texts",
    [CONF_WORDS] = "a text or a list of texts",
    [CONF_TIME] = "a time of the day (\"08:30\")",
    [CONF_ANY] = "plain data",
};

const char *conf_type_name(enum conf_type type)
{
    return type_names[type];
}

unsigned conf_cores(void)
{
    cpu_set_t set;
    int n = 1;

    if (sched_getaffinity(0, sizeof(set), &set) == 0)
        n = CPU_COUNT(&set);
    return n < 1 ? 1 : n > AUTO_MAX ? AUTO_MAX : (unsigned)n;
}

/* Digits, a point, digits, and a unit.  strtod() knows more (inf, hex,
 * exponents of a number that Lua wrote), so the start is checked first. */
static bool read_number(double *out, const char *text, const struct unit *units)
{
    const char *digits = *text == '-' ? text + 1 : text;
    char *end;
    double n;

    if (!isdigit((unsigned char)*digits) || digits[1] == 'x' ||
        digits[1] == 'X')
        return false;
    n = strtod(text, &end);
    for (; units->name != NULL; units++) {
        if (strcasecmp(end, units->name) == 0) {
            *out = n * units->factor;
            return isfinite(*out);
        }
    }
    return false;
}

static int find_choice(const char *choices, const char *text)
{
    size_t len = strlen(text);
    int i;

    for (i = 0; choices != NULL && *choices != '\0'; i++) {
        size_t n = strcspn(choices, "|");

        if (n == len && memcmp(choices, text, n) == 0)
            return i;
        choices += n + (choices[n] == '|');
    }
    return -1;
}

static bool read_time(double *out, const char *text)
{
    unsigned hour, minute;
    int used = 0;

    if (!isdigit((unsigned char)*text) ||
        sscanf(text, "%2u:%2u%n", &hour, &minute, &used) != 2 ||
        text[used] != '\0' || hour > 24 || minute > 59 ||
        (hour == 24 && minute > 0))
        return false;
    *out = hour * 60 + minute;
    return true;
}

static bool read_bool(bool *out, const char *text)
{
    *out = strcmp(text, "true") == 0 || strcmp(text, "1") == 0;
    return *out || strcmp(text, "false") == 0 || strcmp(text, "0") == 0;
}

/* Is the text of the key's type?  Ranges come later. */
static bool read_type(struct conf_value *v, const struct conf_key *key,
                      const char *text)
{
    switch (key->type) {
    case CONF_BOOL:
        return read_bool(&v->yes, text);
    case CONF_INT:
        return read_number(&v->number, text, none) &&
               floor(v->number) == v->number;
    case CONF_NUMBER:
        return read_number(&v->number, text, none);
    case CONF_DURATION:
        return read_number(&v->number, text, durations);
    case CONF_SIZE:
        return read_number(&v->number, text, sizes);
    case CONF_TIME:
        return read_time(&v->number, text);
    case CONF_CHOICE:
        return false; /* it was none of them */
    case CONF_STRING:
    case CONF_LIST:
    case CONF_WORDS:
    case CONF_ANY:
        break;
    }
    return true;
}

static int refuse(const struct conf_key *key, const char *text, char *why,
                  size_t size)
{
    const char *dots = strlen(text) > SHOWN_MAX ? "..." : "";

    if (key->type == CONF_CHOICE)
        snprintf(why, size, "expected one of %s, got \"%.*s%s\"", key->choices,
                 SHOWN_MAX, text, dots);
    else
        snprintf(why, size, "expected %s%s%s, got \"%.*s%s\"",
                 conf_type_name(key->type), key->choices != NULL ? " or " : "",
                 key->choices != NULL ? key->choices : "", SHOWN_MAX, text,
                 dots);
    return SD_EINVALID;
}

int conf_value_read(struct conf_value *out, const struct conf_key *key,
                    const char *text, char *why, size_t why_size)
{
    struct conf_value v = {.choice = find_choice(key->choices, text)};
    double scale = key->type == CONF_DURATION ? 1000 : 1;

    if (v.choice < 0) {
        if (!read_type(&v, key, text))
            return refuse(key, text, why, why_size);
        if (key->max > 0 && (v.number < key->min || v.number > key->max)) {
            snprintf(why, why_size, "%.*s is not in %.15g .. %.15g", SHOWN_MAX,
                     text, key->min, key->max);
            return SD_EINVALID;
        }
        if (v.number > 0)
            v.whole = (uint64_t)(v.number * scale + 0.5);
    } else if (strcmp(text, "auto") == 0) {
        v.number = conf_cores();
        v.whole = conf_cores();
    } else if (isdigit((unsigned char)*text)) {
        v.number = atoi(text);
        v.whole = (uint64_t)v.number;
    }
    *out = v;
    return 0;
}
