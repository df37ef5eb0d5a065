/* The stores that more than one program opens, and the probe of each. */
#include "common/api/records/schemas.h"

#include <stdlib.h>
#include <string.h>

#include "common/api/records/event_log.h"
#include "common/base/auto.h"
#include "common/base/fault.h"
#include "common/base/log.h"
#include "common/db/copy.h"
#include "common/db/walk.h"

/* What the quick probe reads of a log: enough to see that its end is whole. */
enum { PROBED_RECORDS = 1000, CHECKED_AT_ONCE = 20000 };

static const struct table_schema events_tables[] = {
    [EVENTS_EVENTS] = { "events", TABLE_UNSEALED },
    [EVENTS_HEADS] = { "heads", TABLE_DIGEST | TABLE_DERIVED | TABLE_LARGE },
    [EVENTS_REQUESTS] = { "requests", TABLE_DIGEST | TABLE_LARGE },
    [EVENTS_SOURCES] = { "sources", TABLE_DIGEST | TABLE_LARGE },
    [EVENTS_LIVE] = { "live", TABLE_DIGEST | TABLE_DERIVED },
    [EVENTS_TENANTS] = { "tenants", TABLE_DIGEST | TABLE_DERIVED },
};
const struct db_schema events_schema = {
    .name = "events",
    .owner = "eventd",
    .format = 4,
    .tables = events_tables,
    .table_count = COUNT_OF(events_tables),
    .map_bytes = (size_t)64 << 30,
    .is_durable = true,
};

static const struct table_schema tokens_tables[] = {
    [TOKENS_TOKENS] = { "tokens", TABLE_DIGEST | TABLE_LARGE },
    [TOKENS_BY_TENANT] = { "by_tenant", TABLE_DIGEST | TABLE_LARGE },
    [TOKENS_BY_EXPIRY] = { "by_expiry", TABLE_PLAIN },
    [TOKENS_BY_ACCESSOR] = { "by_accessor", TABLE_DIGEST | TABLE_LARGE },
    [TOKENS_CHILDREN] = { "children", TABLE_DIGEST | TABLE_LARGE },
    [TOKENS_REVOKED] = { "revoked", TABLE_DIGEST | TABLE_LARGE },
    [TOKENS_USED] = { "used", TABLE_PLAIN },
    [TOKENS_OUTBOX] = { "outbox", TABLE_PLAIN },
    [TOKENS_REQUESTS] = { "requests", TABLE_PLAIN },
};
const struct db_schema tokens_schema = {
    .name = "tokens",
    .owner = "tokend",
    .format = 2,
    .tables = tokens_tables,
    .table_count = COUNT_OF(tokens_tables),
    .map_bytes = (size_t)4 << 30,
    .is_durable = true,
};

static const struct table_schema vault_tables[] = {
    [VAULT_TENANTS] = { "tenants", TABLE_PLAIN }, [VAULT_KEYS] = { "keys", TABLE_PLAIN },
    [VAULT_SECRETS] = { "secrets", TABLE_PLAIN }, [VAULT_VERSIONS] = { "versions", TABLE_PLAIN },
    [VAULT_OUTBOX] = { "outbox", TABLE_PLAIN },   [VAULT_REQUESTS] = { "requests", TABLE_PLAIN },
};
const struct db_schema vault_schema = {
    .name = "vault",
    .owner = "vaultd",
    .format = 1,
    .tables = vault_tables,
    .table_count = COUNT_OF(vault_tables),
    .map_bytes = (size_t)4 << 30,
    .is_durable = true,
    .is_private = true,
};

static const struct table_schema registry_tables[] = {
    [REGISTRY_SERVICES] = { "services", TABLE_PLAIN },
    [REGISTRY_TENANTS] = { "tenants", TABLE_PLAIN },
};
const struct db_schema registry_schema = {
    .name = "registry",
    .owner = "deployd",
    .format = 1,
    .tables = registry_tables,
    .table_count = COUNT_OF(registry_tables),
    .map_bytes = (size_t)4 << 30,
    .is_durable = false,
};

static enum status check_events(struct db *db)
{
    AUTO(db_end) struct db_txn txn = { 0 };
    uint64_t last, checked, count = fault_number("probe", "events", PROBED_RECORDS);
    TRY(db_begin_read(db, &txn));
    TRY(event_log_last(&txn, &last));
    return event_log_verify(&txn, last > count ? last - count + 1 : 1, count, &checked);
}

static uint64_t checked_at_once(void)
{
    return fault_number("walk", "events", CHECKED_AT_ONCE);
}

/* Of the events from *next on, so many that there may be; *next moves behind them. A snapshot of
 * its own for each: a writer may go on meanwhile. */
static enum status check_some_events(struct db *db, uint64_t *next, uint64_t *last)
{
    AUTO(db_end) struct db_txn txn = { 0 };
    uint64_t first, checked, end = *next + checked_at_once();
    TRY(db_begin_read(db, &txn));
    TRY(event_log_first(&txn, &first));
    TRY(event_log_last(&txn, last));
    uint64_t from = *next < first ? first : *next; /* what went meanwhile is not missing */
    *next = end;
    if (end > *last + 1)
        end = *last + 1;
    if (from >= end)
        return STATUS_OK;
    TRY(event_log_verify(&txn, from, end - from, &checked));
    /* A page that leads elsewhere may end the walk early, or before it begins. */
    return checked == end - from ? STATUS_OK
                                 : log_failure(STATUS_DATA_LOSS, "verify chain", "dir", db->dir,
                                               "events", NUMBER(from + checked - 1), "last_event",
                                               NUMBER(*last), "reason", "events are missing");
}

static enum status check_all_events(struct db *db, unsigned part, unsigned parts)
{
    uint64_t next = 1 + part * checked_at_once(), last = UINT64_MAX;
    for (; next <= last; next += (parts - 1) * checked_at_once())
        TRY(check_some_events(db, &next, &last));
    return STATUS_OK;
}

static const struct {
    const struct db_schema *schema;
    enum status (*check_rows)(struct db *db);
    walk_rows *check_all_rows;
} stores[] = {
    { &events_schema, check_events, check_all_events },
    { &tokens_schema, NULL, NULL },
    { &vault_schema, NULL, NULL },
    { &registry_schema, NULL, NULL },
};

void schema_probe_if_asked(int argc, char **argv)
{
    bool is_probe = argc == 4 && strcmp(argv[1], "--probe-store") == 0;
    bool is_copy = argc == 5 && strcmp(argv[1], "--copy-store") == 0;
    bool is_walk = argc == 5 && strcmp(argv[1], "--walk-store") == 0;
    if (!is_probe && !is_copy && !is_walk)
        return;
    for (size_t i = 0; i < COUNT_OF(stores); i++) {
        if (strcmp(stores[i].schema->name, argv[2]) != 0)
            continue;
        if (is_probe)
            exit(db_probe_main(stores[i].schema, argv[3], stores[i].check_rows));
        exit((is_copy ? db_copy_main : db_walk_main)(stores[i].schema, argv[3], argv[4],
                                                     stores[i].check_all_rows));
    }
    exit(status_exit_code(STATUS_USAGE));
}
