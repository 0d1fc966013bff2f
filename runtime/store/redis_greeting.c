/* redis_greeting.c - see redis_greeting.h. */
#include "store/redis_greeting.h"

#include <hiredis/hiredis.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "store/resp.h"

static const char *const names[GREET_DONE] = {
    [GREET_AUTH] = "AUTH",
    [GREET_SELECT] = "SELECT",
    [GREET_PING] = "PING",
};

static bool is_needed(const struct redis_url *u, enum redis_greeting_step step)
{
    switch (step) {
    case GREET_AUTH:
        return u->password[0] != '\0';
    case GREET_SELECT:
        return u->db > 0;
    default:
        return true;
    }
}

static void skip_needless(struct redis_greeting *g)
{
    while (!is_needed(g->url, g->step))
        g->step++;
}

static void put_text(struct buf *out, const char *text)
{
    resp_put_arg(out, text, strlen(text));
}

static void put(struct buf *out, const struct redis_url *u,
                enum redis_greeting_step step)
{
    bool has_user = step == GREET_AUTH && u->user[0] != '\0';
    char db[12];

    resp_put_head(out, step == GREET_PING ? 1 : has_user ? 3 : 2);
    put_text(out, names[step]);
    if (has_user)
        put_text(out, u->user);
    if (step == GREET_AUTH)
        put_text(out, u->password);
    if (step == GREET_SELECT) {
        snprintf(db, sizeof(db), "%u", u->db);
        put_text(out, db);
    }
}

void redis_greeting_begin(struct redis_greeting *g, const struct redis_url *url,
                          struct buf *out)
{
    g->url = url;
    for (g->step = GREET_AUTH; g->step < GREET_DONE; g->step++) {
        if (is_needed(url, g->step))
            put(out, url, g->step);
    }
    g->step = GREET_AUTH;
    skip_needless(g);
}

static bool begins(const redisReply *reply, const char *word)
{
    return strncmp(reply->str, word, strlen(word)) == 0;
}

/* An error to PING that is not about the server as a whole (no right to PING,
 * a full disk) does not keep other commands from working. */
static bool is_refusal(enum redis_greeting_step step, const redisReply *reply)
{
    if (reply->type != REDIS_REPLY_ERROR)
        return false;
    return step != GREET_PING || begins(reply, "NOAUTH") ||
           begins(reply, "LOADING") || begins(reply, "MASTERDOWN");
}

int redis_greeting_take(struct redis_greeting *g,
                        const struct redisReply *reply, char *why, size_t size)
{
    if (is_refusal(g->step, reply)) {
        snprintf(why, size, "%s refused: %s", names[g->step], reply->str);
        return SD_EREFUSED;
    }
    g->step++;
    if (g->step == GREET_DONE)
        return 1;
    skip_needless(g);
    return 0;
}
