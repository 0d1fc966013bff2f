/* addresses.c - see addresses.h.
 *
 * A key is the family and the bytes that count.  An IPv4 address inside an IPv6
 * one, as a socket on [::] sees them, is the same as by itself. */
#include "net/addresses.h"

#include <stddef.h>
#include <string.h>

#include "base/assert.h"
#include "base/mem.h"
#include "base/slice.h"

enum {
    KEY_SIZE = 9
};

struct address {
    struct table_node node; /* its number: conns */
    unsigned char key[KEY_SIZE];
};

void addresses_init(struct addresses *a)
{
    *a = (struct addresses){.key = hash_key_random()};
}

void addresses_fini(struct addresses *a)
{
    sd_assert(a->table.count == 0);
    table_fini(&a->table);
}

static bool is_mapped(const unsigned char *ip)
{
    static const unsigned char prefix[12] = {[10] = 0xff, [11] = 0xff};

    return memcmp(ip, prefix, sizeof(prefix)) == 0;
}

static void make_key(unsigned char *key, const unsigned char *ip, bool is_6)
{
    memset(key, 0, KEY_SIZE);
    if (is_6 && !is_mapped(ip)) {
        key[0] = 6;
        memcpy(key + 1, ip, 8);
    } else {
        key[0] = 4;
        memcpy(key + 1, is_6 ? ip + 12 : ip, 4);
    }
}

static struct address *find(const struct addresses *a, uint32_t hash,
                            const unsigned char *key)
{
    struct table_node *node = table_first(&a->table, hash);

    for (; node != NULL; node = table_next(node)) {
        struct address *one = (struct address *)(void *)node;

        if (memcmp(one->key, key, KEY_SIZE) == 0)
            return one;
    }
    return NULL;
}

struct address *addresses_take(struct addresses *a, const unsigned char *ip,
                               bool is_6, unsigned max)
{
    unsigned char key[KEY_SIZE];
    struct address *one;
    uint32_t hash;

    make_key(key, ip, is_6);
    hash =
        (uint32_t)hash_bytes(&a->key, slice_make((const char *)key, KEY_SIZE));
    one = find(a, hash, key);
    if (one == NULL) {
        one = mem_zalloc(sizeof(*one));
        memcpy(one->key, key, KEY_SIZE);
        table_add(&a->table, &one->node, hash);
    } else if (one->node.number >= max) {
        return NULL;
    }
    one->node.number++;
    return one;
}

void addresses_give(struct addresses *a, struct address *one)
{
    sd_assert(one->node.number > 0);
    if (--one->node.number > 0)
        return;
    table_del(&a->table, &one->node);
    mem_free(one);
}
