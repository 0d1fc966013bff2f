/* terms.c - see terms.h. */
#include "cluster/terms.h"

#include "base/assert.h"

#define LABEL "sdlua link 1 "

enum {
    SAID_MAX = 512, /* bytes that one proof covers */
};

static const struct {
    const char *proof, *identity, *records;
} labels[] = {
    [HAND_WORKER] = {LABEL "worker", LABEL "worker identity",
                     LABEL "worker records"},
    [HAND_RELAY] = {LABEL "relay", LABEL "relay identity",
                    LABEL "relay records"},
};

static void derive(unsigned char *out, const struct terms *t, const char *label)
{
    agree_expand(out, t->secret, label, slice_make(t->transcript, AGREE_LEN));
}

void terms_check(unsigned char *out, const unsigned char *cluster_key,
                 struct slice question)
{
    unsigned char k[AGREE_LEN];

    agree_expand(k, cluster_key, LABEL "question", slice_make("", 0));
    agree_mac(out, k, question);
    agree_wipe(k, sizeof(k));
}

bool terms_make(struct terms *t, const unsigned char *cluster_key,
                const unsigned char *own_private,
                const unsigned char *peer_public, struct slice question,
                struct slice answer)
{
    unsigned char shared[AGREE_LEN];

    if (!agree_shared(shared, own_private, peer_public))
        return false;
    agree_extract(t->secret, slice_make(cluster_key, AGREE_LEN),
                  slice_make(shared, AGREE_LEN));
    agree_wipe(shared, sizeof(shared));
    agree_hash(t->transcript, question, answer);
    return true;
}

void terms_answer(unsigned char *out, const struct terms *t)
{
    derive(out, t, LABEL "answer");
}

void terms_prove(unsigned char *out, const struct terms *t, enum hand_role role,
                 struct slice before, struct slice now)
{
    unsigned char k[AGREE_LEN], said[SAID_MAX];

    sd_assert(before.len + now.len <= SAID_MAX);
    memcpy(said, before.p, before.len);
    memcpy(said + before.len, now.p, now.len);
    derive(k, t, labels[role].proof);
    agree_mac(out, k, slice_make(said, before.len + now.len));
    agree_wipe(k, sizeof(k));
}

void terms_hide(unsigned char *identity, size_t n, const struct terms *t,
                enum hand_role role)
{
    unsigned char k[AGREE_LEN];

    derive(k, t, labels[role].identity);
    agree_hide(identity, n, k);
    agree_wipe(k, sizeof(k));
}

void terms_records(unsigned char *out, const struct terms *t,
                   enum hand_role role)
{
    derive(out, t, labels[role].records);
}
