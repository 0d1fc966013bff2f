/* senders.c - see senders.h. */
#include "cluster/senders.h"

#include <string.h>

#include "base/assert.h"
#include "base/mem.h"

static struct sender *sender_of(struct table_node *node)
{
    return (struct sender *)(void *)((char *)node -
                                     offsetof(struct sender, node));
}

/* Salts in the table are random: whoever has no key puts none there. */
static uint32_t hash_of(uint64_t key, const uint8_t *salt)
{
    uint32_t hash;

    memcpy(&hash, salt, sizeof(hash));
    return hash ^ (uint32_t)key;
}

/* Freeing a cipher wipes its key. */
static void forget(struct senders *t, struct sender *sender)
{
    table_del(&t->table, &sender->node);
    list_del(&sender->used);
    EVP_CIPHER_CTX_free(sender->cipher);
    mem_free(sender);
}

void senders_init(struct senders *t, unsigned max)
{
    sd_assert(max > 0);
    memset(t, 0, sizeof(*t));
    list_init(&t->used);
    t->max = max;
}

void senders_fini(struct senders *t)
{
    while (!list_empty(&t->used))
        forget(t, list_entry(t->used.next, struct sender, used));
    table_fini(&t->table);
}

struct sender *senders_find(const struct senders *t, uint64_t key,
                            const uint8_t salt[SENDERS_SALT])
{
    struct table_node *node = table_first(&t->table, hash_of(key, salt));

    for (; node != NULL; node = table_next(node)) {
        struct sender *sender = sender_of(node);

        if (sender->key == key && memcmp(sender->salt, salt, SENDERS_SALT) == 0)
            return sender;
    }
    return NULL;
}

struct sender *senders_add(struct senders *t, uint64_t key,
                           const uint8_t salt[SENDERS_SALT],
                           EVP_CIPHER_CTX *cipher)
{
    struct sender *sender = mem_zalloc(sizeof(*sender));

    if (t->table.count == t->max)
        forget(t, list_entry(t->used.next, struct sender, used));
    sender->key = key;
    memcpy(sender->salt, salt, SENDERS_SALT);
    sender->cipher = cipher;
    table_add(&t->table, &sender->node, hash_of(key, salt));
    list_add(&t->used, &sender->used);
    return sender;
}

void senders_touch(struct senders *t, struct sender *sender)
{
    list_del(&sender->used);
    list_add(&t->used, &sender->used);
}

static bool has_number(const struct keys *ring, uint64_t number)
{
    const struct key *key;
    unsigned i;

    for (i = 0; (key = keys_at(ring, i)) != NULL; i++) {
        if (key->number == number)
            return true;
    }
    return false;
}

void senders_sift(struct senders *t, const struct keys *ring)
{
    struct list *it, *tmp;

    list_each_safe (it, tmp, &t->used) {
        struct sender *sender = list_entry(it, struct sender, used);

        if (!has_number(ring, sender->key))
            forget(t, sender);
    }
}
