#ifndef SOLO_TESTS_FAULTS_JUDGE_H
#define SOLO_TESTS_FAULTS_JUDGE_H

#include "tests/faults/clients.h"

/* What is left, compared with what was promised. Called while the clients rest and Solo is ready;
 * ends the test with the number of the promise that was broken. */
struct judge {
    /* The log's hashes as the last round saw them: what was written never changes. */
    char (*hashes)[65];
    size_t hash_count, hash_capacity;
    uint64_t rounds, acknowledged, events, processes;
};

void judge_close(struct judge *judge);
void judge_round(struct judge *judge, struct testbed *bed, struct ledger *ledger,
                 struct clients *clients, struct watcher *watcher);

/* The wanted services by a fold of the test's own: TENANT/NAME to {"generation", "token"}. */
json_t *judge_fold(const json_t *events);

/* The whole log, read by recoveryd from the store itself. */
json_t *judge_read_log(const struct testbed *bed);

/* Exactly one live process for each wanted service, of the right generation's spec, and no other;
 * waits while restarts and reports are under way. Returns how many there are. */
size_t judge_processes(const struct testbed *bed, const json_t *wanted);

#endif
