#ifndef SOLO_TESTS_FAULTS_LEDGER_H
#define SOLO_TESTS_FAULTS_LEDGER_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/name.h"
#include "common/base/uuid.h"

/* What was asked and what was acknowledged, written by the clients the moment an answer arrives and
 * known to nobody else: it shares nothing with Solo. */
enum ledger_kind { LEDGER_DEPLOY, LEDGER_KILL, LEDGER_APPEND };

struct ledger_entry {
    enum ledger_kind kind;
    char request_id[UUID_TEXT_BYTES];
    char key[SERVICE_KEY_BYTES]; /* TENANT/NAME; "" for an append */
    char token[32];              /* unique; stands in the spec's argv or in the payload */
    uint64_t event_id;           /* 0: not acknowledged */
    unsigned attempts;
    bool is_refused; /* answered, with a refusal that changes nothing */
};

struct ledger {
    pthread_mutex_t mutex;
    struct ledger_entry *entries;
    size_t count, capacity;
};

void ledger_open(struct ledger *ledger);
void ledger_close(struct ledger *ledger);
/* Before the request goes out; the index names it from then on. */
size_t ledger_asked(struct ledger *ledger, const struct ledger_entry *entry);
void ledger_answered(struct ledger *ledger, size_t index, uint64_t event_id, bool is_refused,
                     unsigned attempts);
struct ledger_entry ledger_get(struct ledger *ledger, size_t index);
/* "service_deployed" and so on. */
const char *ledger_event_type(enum ledger_kind kind);

#endif
