#ifndef SOLO_BENCH_SOAK_WORK_H
#define SOLO_BENCH_SOAK_WORK_H

#include <pthread.h>

#include "tests/support/services.h"

/* The work of a soak: threads that deploy and kill, grant and revoke, and append; each request with
 * an id, sent again until it is answered. What was acknowledged is noted, and looked for in the
 * log. */

enum { SOAK_WORKERS = 4, SOAK_APPEND_BATCH = 100 };

/* An event that must be there: its number, and what stands in it. */
struct soak_ack {
    uint64_t id, mark;
    enum { SOAK_DEPLOYED, SOAK_KILLED, SOAK_NOTED } kind;
};

struct soak {
    const struct testbed *bed;
    uint64_t pairs, notes; /* to be done by all */
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    uint64_t pairs_begun, notes_begun, pairs_done, notes_done, tokens_done;
    bool is_paused;
    unsigned resting, ended; /* workers */
    uint64_t retries, longest_ms;
    struct soak_ack *acks; /* since they were looked for last */
    size_t ack_count, ack_capacity;
    uint64_t found; /* acknowledged, and there */
    pthread_t threads[SOAK_WORKERS];
};

void soak_start(struct soak *soak);
/* Returns when no request is under way. */
void soak_pause(struct soak *soak);
void soak_resume(struct soak *soak);
void soak_join(struct soak *soak);
bool soak_is_done(struct soak *soak);

/* While it is paused: looks for all that was acknowledged since the last time in the log itself;
 * how many are not there, or are others. */
uint64_t soak_count_lost(struct soak *soak);

#endif
