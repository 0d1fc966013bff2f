/* row.c - see row.h. */
#include "cmd/row.h"

#include <stdio.h>
#include <string.h>

static void copy(char *to, struct slice s)
{
    size_t n = s.len < ROW_TEXT - 1 ? s.len : ROW_TEXT - 1;

    memcpy(to, s.p, n);
    to[n] = '\0';
}

/* Pass over the map whose opening brace was read: what only programs want. */
static bool skip_map(struct json *j)
{
    unsigned depth = 1;

    while (depth > 0) {
        int token = json_next(j);

        if (token < 0 || token == JSON_END)
            return false;
        depth += token == JSON_MAP || token == JSON_LIST;
        depth -= token == JSON_MAP_END || token == JSON_LIST_END;
    }
    return true;
}

bool row_read_field(struct row *row, struct json *j)
{
    char *value;

    if (row->n == ROW_FIELDS)
        return false;
    copy(row->key[row->n], j->text);
    value = row->value[row->n];
    switch (json_next(j)) {
    case JSON_MAP:
        return skip_map(j);
    case JSON_STRING:
        copy(value, j->text);
        break;
    case JSON_NUMBER:
        snprintf(value, ROW_TEXT, "%.15g", j->number);
        break;
    case JSON_TRUE:
        snprintf(value, ROW_TEXT, "true");
        break;
    case JSON_FALSE:
    case JSON_NULL:
        value[0] = '\0';
        break;
    default:
        return false;
    }
    row->n++;
    return true;
}

bool row_read(struct row *row, struct json *j)
{
    int token;

    row->n = 0;
    while ((token = json_next(j)) == JSON_KEY)
        if (!row_read_field(row, j))
            return false;
    return token == JSON_MAP_END;
}

bool row_read_list(struct json *j,
                   void (*take)(void *ctx, const struct row *row), void *ctx)
{
    struct row row;
    int token;

    if (json_next(j) != JSON_LIST)
        return false;
    while ((token = json_next(j)) == JSON_MAP) {
        if (!row_read(&row, j))
            return false;
        take(ctx, &row);
    }
    return token == JSON_LIST_END;
}

const char *row_get(const struct row *row, const char *key)
{
    for (unsigned i = 0; i < row->n; i++)
        if (strcmp(row->key[i], key) == 0)
            return row->value[i];
    return "";
}

double row_number(const struct row *row, const char *key)
{
    double n = 0;

    return sscanf(row_get(row, key), "%lf", &n) == 1 ? n : 0;
}

void row_duration(char *out, size_t size, double seconds)
{
    static const unsigned units[] = {86400, 3600, 60, 1};
    static const char names[] = "dhms";
    unsigned long s = (unsigned long)seconds;
    unsigned i = 0;

    while (i < 3 && s < units[i])
        i++;
    if (i == 3)
        snprintf(out, size, "%.1fs", seconds);
    else
        snprintf(out, size, "%lu%c %lu%c", s / units[i], names[i],
                 s % units[i] / units[i + 1], names[i + 1]);
}

void row_printable(char *out, size_t size, const char *s)
{
    size_t n = 0;

    for (; *s != '\0' && n + 5 < size; s++) {
        unsigned char c = (unsigned char)*s;
        bool is_c1 = c == 0xc2 && (unsigned char)s[1] < 0xa0;

        if (c < 0x20 || c == 0x7f || is_c1)
            n += (size_t)snprintf(out + n, size - n, "\\x%02x", c);
        else
            out[n++] = *s;
    }
    out[n] = '\0';
}
