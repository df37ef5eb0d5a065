/* A list behind a mutex. */
#include "tests/faults/ledger.h"

#include <stdlib.h>

#include "tests/support/command.h"

void ledger_open(struct ledger *ledger)
{
    *ledger = (struct ledger){ .entries = NULL };
    pthread_mutex_init(&ledger->mutex, NULL);
}

void ledger_close(struct ledger *ledger)
{
    free(ledger->entries);
    pthread_mutex_destroy(&ledger->mutex);
}

size_t ledger_asked(struct ledger *ledger, const struct ledger_entry *entry)
{
    pthread_mutex_lock(&ledger->mutex);
    if (ledger->count == ledger->capacity) {
        ledger->capacity = ledger->capacity == 0 ? 1024 : 2 * ledger->capacity;
        ledger->entries = realloc(ledger->entries, ledger->capacity * sizeof *ledger->entries);
        if (ledger->entries == NULL)
            test_fail("out of memory");
    }
    size_t index = ledger->count++;
    ledger->entries[index] = *entry;
    pthread_mutex_unlock(&ledger->mutex);
    return index;
}

void ledger_answered(struct ledger *ledger, size_t index, uint64_t event_id, bool is_refused,
                     unsigned attempts)
{
    pthread_mutex_lock(&ledger->mutex);
    struct ledger_entry *entry = &ledger->entries[index];
    entry->event_id = event_id;
    entry->is_refused = is_refused;
    entry->attempts = attempts;
    pthread_mutex_unlock(&ledger->mutex);
}

struct ledger_entry ledger_get(struct ledger *ledger, size_t index)
{
    pthread_mutex_lock(&ledger->mutex);
    struct ledger_entry entry = ledger->entries[index];
    pthread_mutex_unlock(&ledger->mutex);
    return entry;
}

const char *ledger_event_type(enum ledger_kind kind)
{
    static const char *const types[] = { "service_deployed", "service_killed", "app.ledger" };
    return types[kind];
}
