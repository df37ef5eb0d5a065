/* The store of tokens is read before the log: what passes from one to the other meanwhile is then
 * in the log. Numbers count from 1 in each incarnation of the store, and a row is removed only when
 * eventd has acknowledged it; so eventd has every number before the first row that is left. */
#include "recoveryd/outbox_check.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/api/records/log_salvage.h"
#include "common/api/records/schemas.h"
#include "common/base/auto.h"
#include "common/base/hash.h"
#include "common/base/limits.h"
#include "common/db/table.h"
#include "common/outbox/log_witness.h"
#include "common/outbox/standing.h"
#include "common/wire/reader.h"
#include "recoveryd/event_store.h"
#include "recoveryd/token_census.h"

enum { INCARNATION_BYTES = 16, SOURCE_ROW_BYTES = 16 };

struct standing {
    char source[EVENT_SOURCE_BYTES_MAX + 1];
    uint8_t incarnation[INCARNATION_BYTES];
    uint64_t first_waiting; /* every number below it was acknowledged */
    uint8_t log[LOG_ID_BYTES];
    bool has_log;
    bool is_known;
};

/* What the log has of it. */
struct heard {
    uint64_t last; /* number */
    bool is_of_log;
    bool is_settled;
};

static bool is_of(struct span row, const uint8_t incarnation[INCARNATION_BYTES])
{
    struct reader value;
    struct span bytes;
    return map_find(row, "incarnation", &value) == STATUS_OK &&
           reader_bin(&value, &bytes) == STATUS_OK && bytes.size == INCARNATION_BYTES &&
           memcmp(bytes.data, incarnation, INCARNATION_BYTES) == 0;
}

static enum status read_rows(struct db_txn *txn, struct standing *standing)
{
    AUTO(table_cursor_close) struct table_cursor cursor = { 0 };
    struct span key, row;
    TRY(table_cursor_open(txn, TOKENS_OUTBOX, &cursor));
    enum status status = table_cursor_seek(&cursor, (struct span){ 0 }, &key, &row);
    for (; status == STATUS_OK; status = table_cursor_next(&cursor, &key, &row))
        if (is_of(row, standing->incarnation)) {
            standing->first_waiting = map_u64(row, "source_number", standing->first_waiting);
            return STATUS_OK;
        }
    return status == STATUS_NOT_FOUND ? STATUS_OK : status;
}

static enum status read_tokens(const struct settings *settings, struct standing *standing)
{
    AUTO(db_close) struct db db = { .lease = FILE_LOCK_NONE };
    AUTO(db_end) struct db_txn txn = { 0 };
    bool is_without_trace, is_stable = true;
    char id[2 * sizeof db.identity.id + 1];
    struct outbox_standing outbox;
    struct span log;
    TRY(token_census_open_walked(settings, &db, &is_without_trace));
    TRY(db_begin_read(&db, &txn));
    TRY(outbox_standing_read(&txn, &outbox));
    TRY(log_witness_log(&txn, &log));
    standing->has_log = log.size > 0;
    if (standing->has_log)
        memcpy(standing->log, log.data, sizeof standing->log);
    memcpy(standing->incarnation, outbox.incarnation, INCARNATION_BYTES);
    standing->first_waiting = outbox.next_number;
    snprintf(standing->source, sizeof standing->source, "%s/%s", tokens_schema.owner,
             hex_text(id, db.identity.id, sizeof db.identity.id));
    TRY(read_rows(&txn, standing));
    if (is_without_trace)
        TRY(db_is_stable(&db, &is_stable));
    standing->is_known = is_stable;
    return STATUS_OK;
}

static enum status read_log(const struct settings *settings, const struct standing *standing,
                            struct heard *heard)
{
    AUTO(event_store_close) struct event_store store = { 0 };
    AUTO(db_end) struct db_txn txn = { 0 };
    uint8_t key[1 + EVENT_SOURCE_BYTES_MAX + 1 + INCARNATION_BYTES];
    size_t size = strlen(standing->source) + 1;
    struct log_salvage salvage;
    struct span row;
    key[0] = 'i';
    memcpy(key + 1, standing->source, size);
    memcpy(key + 1 + size, standing->incarnation, INCARNATION_BYTES);
    TRY(event_store_open(&store, settings->data_dir));
    heard->is_of_log = !standing->has_log ||
                       memcmp(store.db.identity.id, standing->log, sizeof standing->log) == 0;
    TRY(db_begin_read(&store.db, &txn));
    TRY(log_salvage_read(&txn, &salvage));
    if (salvage.is_fresh) /* eventd makes `sources` when it opens it */
        return STATUS_OK;
    enum status status =
        table_get(&txn, EVENTS_SOURCES, span_of(key, 1 + size + INCARNATION_BYTES), &row);
    heard->last = status == STATUS_OK && row.size == SOURCE_ROW_BYTES
                      ? table_number_value(span_of(row.data, 8))
                      : 0;
    db_end(&txn);
    if (status != STATUS_NOT_FOUND)
        TRY(status);
    return event_store_is_settled(&store, &heard->is_settled);
}

enum status outbox_check(const struct settings *settings, struct findings *findings)
{
    struct standing standing = { 0 };
    struct heard heard = { 0 };
    if (!settings->token_persistence_enabled || read_tokens(settings, &standing) != STATUS_OK ||
        !standing.is_known || read_log(settings, &standing, &heard) != STATUS_OK ||
        !heard.is_settled || (heard.is_of_log && standing.first_waiting <= heard.last + 1))
        return STATUS_OK;
    struct finding finding = {
        .code = FINDING_outbox_gap,
        .tenant = "",
        .name = tokens_schema.name,
        .generation = standing.first_waiting - 1,
        .running_generation = heard.last,
    };
    if (heard.is_of_log)
        snprintf(finding.reason, sizeof finding.reason,
                 "tokend was told that eventd has its events up to number %" PRIu64
                 ", eventd has them up to %" PRIu64,
                 standing.first_waiting - 1, heard.last);
    else
        snprintf(finding.reason, sizeof finding.reason,
                 "the store of tokens belongs to another log: every token is refused");
    return findings_add(findings, &finding);
}
