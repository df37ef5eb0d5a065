/* Rows of the requests table: body hash [32], first event number u64, count u32 (both big-endian),
 * then the intent's text. */
#include "common/db/requests.h"

#include <string.h>

#include "common/base/auto.h"
#include "common/base/clock.h"
#include "common/base/ensure.h"
#include "common/base/limits.h"
#include "common/base/log.h"

enum { AT_FIRST = HASH_BYTES, AT_COUNT = AT_FIRST + 8, AT_INTENT = AT_COUNT + 4 };

static const char forgotten_key[] = "requests.forgotten";

static struct span id_key(const struct uuid *id)
{
    return span_of(id->bytes, UUID_BYTES);
}

/* The greatest id of this millisecond. */
static struct uuid id_at(uint64_t now_ms)
{
    struct uuid id;
    memset(&id, 0xff, sizeof id);
    for (int i = 0; i < 6; i++) /* where its time stands, in milliseconds */
        id.bytes[i] = (uint8_t)(now_ms >> (40 - 8 * i));
    return id;
}

/* Of a time when the clock ran ahead. */
static bool is_ahead(const struct uuid *id, uint64_t now_ms)
{
    return uuid_milliseconds(id) > now_ms + REQUESTS_AHEAD_MS_MAX;
}

enum status requests_check_age(const struct uuid *id, uint64_t now_ms, const struct uuid *forgotten,
                               struct problem *problem)
{
    char drawn[TIME_TEXT_BYTES], kept[TIME_TEXT_BYTES], now[TIME_TEXT_BYTES];
    TRY(uuid_check_age(id, now_ms, problem));
    if (memcmp(id->bytes, forgotten->bytes, UUID_BYTES) > 0)
        return STATUS_OK;
    return problem_set(
        problem, STATUS_INVALID_ARGUMENT, "request_id",
        "was drawn at %s by the caller's clock, and here it is %s: requests are remembered since "
        "%s. Set the clock that is wrong; if none is, whether it was carried out is not known any "
        "more: look, then ask with a new one",
        uuid_time_text(drawn, id), time_text(now, now_ms * NS_PER_MS),
        uuid_time_text(kept, forgotten));
}

enum status requests_forgotten(struct db_txn *txn, struct uuid *newest)
{
    struct span value;
    *newest = (struct uuid){ 0 };
    enum status status = db_meta_get(txn, forgotten_key, &value);
    if (status == STATUS_NOT_FOUND)
        return STATUS_OK;
    TRY(status);
    if (value.size != UUID_BYTES)
        return log_failure(STATUS_DATA_LOSS, "read the newest forgotten request", "reason",
                           "not the size of an id");
    memcpy(newest->bytes, value.data, UUID_BYTES);
    return STATUS_OK;
}

enum status requests_newest(struct db_txn *txn, unsigned table, struct uuid *newest)
{
    AUTO(table_cursor_close) struct table_cursor cursor = { 0 };
    TRY(table_cursor_open(txn, table, &cursor));
    struct span key, value;
    enum status status = table_cursor_last(&cursor, &key, &value);
    if (status == STATUS_NOT_FOUND) {
        *newest = (struct uuid){ 0 };
        return STATUS_OK;
    }
    TRY(status);
    if (key.size != UUID_BYTES)
        return log_failure(STATUS_DATA_LOSS, "read request", "reason", "not the size of its key");
    memcpy(newest->bytes, key.data, UUID_BYTES);
    return STATUS_OK;
}

static uint32_t row_count(struct span row)
{
    uint32_t count = 0;
    for (int i = 0; i < 4; i++)
        count = count << 8 | row.data[AT_COUNT + i];
    return count;
}

enum status requests_refuse_other(struct problem *problem)
{
    return problem_set(problem, STATUS_ABORTED, "request_id",
                       "was used before with another request: draw a new one");
}

enum status requests_find(struct db_txn *txn, unsigned table, const struct uuid *id,
                          const struct hash *body_hash, uint64_t now_ms,
                          const struct uuid *forgotten, struct request_outcome *outcome,
                          struct problem *problem)
{
    TRY(requests_check_age(id, now_ms, forgotten, problem));
    struct span row;
    TRY(table_get(txn, table, id_key(id), &row));
    if (row.size < AT_INTENT || row.size > AT_INTENT + INTENT_BYTES_MAX)
        return log_failure(STATUS_DATA_LOSS, "read request", "reason", "not the size of its row");
    if (memcmp(row.data, body_hash->bytes, HASH_BYTES) != 0)
        return requests_refuse_other(problem);
    outcome->body_hash = *body_hash;
    memcpy(outcome->found, row.data + AT_INTENT, row.size - AT_INTENT);
    outcome->found[row.size - AT_INTENT] = '\0';
    outcome->intent = outcome->found;
    outcome->first_id = table_number_value(span_of(row.data + AT_FIRST, 8));
    outcome->count = row_count(row);
    return STATUS_OK;
}

struct row {
    uint8_t bytes[AT_INTENT + INTENT_BYTES_MAX];
    size_t size;
};

static void row_pack(struct row *row, const struct request_outcome *outcome)
{
    size_t intent_size = strlen(outcome->intent);
    ensure(intent_size <= INTENT_BYTES_MAX);
    struct table_number first = table_number(outcome->first_id);
    memcpy(row->bytes, outcome->body_hash.bytes, HASH_BYTES);
    memcpy(row->bytes + AT_FIRST, first.bytes, sizeof first.bytes);
    for (int i = 0; i < 4; i++)
        row->bytes[AT_COUNT + i] = (uint8_t)(outcome->count >> (24 - 8 * i));
    memcpy(row->bytes + AT_INTENT, outcome->intent, intent_size);
    row->size = AT_INTENT + intent_size;
}

enum status requests_put(struct db_txn *txn, unsigned table, const struct uuid *id,
                         const struct request_outcome *outcome)
{
    struct row row;
    row_pack(&row, outcome);
    return table_put(txn, table, id_key(id), span_of(row.bytes, row.size));
}

enum status requests_put_at(struct table_cursor *cursor, struct uuid *newest, const struct uuid *id,
                            const struct request_outcome *outcome)
{
    struct row row;
    row_pack(&row, outcome);
    struct span value = span_of(row.bytes, row.size);
    if (memcmp(id->bytes, newest->bytes, UUID_BYTES) <= 0)
        return table_cursor_put(cursor, id_key(id), value);
    *newest = *id;
    return table_cursor_append(cursor, id_key(id), value);
}

/* The first row's id, and whether it is to go. */
static enum status oldest_is_due(struct db_txn *txn, unsigned table, uint64_t now_ms,
                                 uint64_t kept_max, struct uuid *id, bool *is_due)
{
    *is_due = false;
    AUTO(table_cursor_close) struct table_cursor cursor = { 0 };
    TRY(table_cursor_open(txn, table, &cursor));
    struct span key, value;
    enum status status = table_cursor_seek(&cursor, (struct span){ 0 }, &key, &value);
    if (status == STATUS_NOT_FOUND)
        return STATUS_OK;
    TRY(status);
    uint64_t count;
    TRY(table_count(txn, table, &count));
    if (key.size != UUID_BYTES)
        return log_failure(STATUS_DATA_LOSS, "read request", "reason", "not the size of its key");
    memcpy(id->bytes, key.data, UUID_BYTES);
    *is_due = count > kept_max || uuid_milliseconds(id) + REQUESTS_KEPT_MS < now_ms;
    return STATUS_OK;
}

enum status requests_prune(struct db_txn *txn, unsigned table, uint64_t now_ms, uint64_t kept_max,
                           unsigned count_max, unsigned *pruned)
{
    struct uuid id, newest;
    TRY(requests_forgotten(txn, &newest));
    /* Nothing was drawn with the right clock after this moment; what was before it stays refused.
     */
    bool is_lowered = uuid_milliseconds(&newest) > now_ms;
    if (is_lowered)
        newest = id_at(now_ms);
    for (*pruned = 0; *pruned < count_max; ++*pruned) {
        bool is_due;
        TRY(requests_newest(txn, table, &id));
        if (is_ahead(&id, now_ms)) {
            TRY(table_delete(txn, table, id_key(&id))); /* refused as one of the future */
            continue;
        }
        TRY(oldest_is_due(txn, table, now_ms, kept_max, &id, &is_due));
        if (!is_due)
            break;
        TRY(table_delete(txn, table, id_key(&id)));
        /* A row may have been written behind the mark. */
        if (memcmp(id.bytes, newest.bytes, UUID_BYTES) > 0)
            newest = id;
    }
    return *pruned == 0 && !is_lowered ? STATUS_OK
                                       : db_meta_put(txn, forgotten_key, id_key(&newest));
}

enum status requests_are_due(struct db_txn *txn, unsigned table, uint64_t now_ms, bool *are_due)
{
    struct uuid forgotten, id;
    TRY(requests_forgotten(txn, &forgotten));
    TRY(requests_newest(txn, table, &id));
    *are_due = uuid_milliseconds(&forgotten) > now_ms || is_ahead(&id, now_ms);
    return *are_due ? STATUS_OK
                    : oldest_is_due(txn, table, now_ms, REQUESTS_KEPT_MAX, &id, are_due);
}

enum status requests_forget(struct db_txn *txn, uint64_t now_ms)
{
    struct uuid newest = id_at(now_ms);
    return db_meta_put(txn, forgotten_key, id_key(&newest));
}
