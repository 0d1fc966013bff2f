/* questions.h - the questions that a relay has answered lately, so that a
 * recording of one is not answered again: its maker had the key, who sends it
 * again need not.  Pure; of fixed size, zeroed at first. */
#ifndef SD_CLUSTER_QUESTIONS_H
#define SD_CLUSTER_QUESTIONS_H

#include <stdbool.h>
#include <stdint.h>

enum {
    QUESTIONS_KEPT = 1024 /* a power of two */
};

struct questions {
    uint64_t seen[QUESTIONS_KEPT];
};

/* The check of a question (cluster/hand.h), which was right.  False: it was
 * here before. */
bool questions_add(struct questions *q, const unsigned char *check);

#endif
