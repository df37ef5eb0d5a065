/* Reading the event store. Every record is checked when it is read: its hash, its number against
 * its key, and the store it belongs to. */
#include "common/api/records/event_log.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "common/api/records/log_cut.h"
#include "common/base/auto.h"
#include "common/base/clock.h"
#include "common/base/ensure.h"
#include "common/base/fault.h"
#include "common/base/log.h"
#include "common/wire/fields.h"
#include "common/wire/reader.h"

enum { ROW_ARENA_BYTES = 16 * 1024, ROW_BYTES_MAX = 512 };

enum status event_log_last(struct db_txn *txn, uint64_t *id)
{
    AUTO(table_cursor_close) struct table_cursor cursor = { 0 };
    TRY(table_cursor_open(txn, EVENTS_EVENTS, &cursor));
    struct span key, value;
    enum status status = table_cursor_last(&cursor, &key, &value);
    if (status == STATUS_NOT_FOUND) {
        *id = 0;
        return STATUS_OK;
    }
    TRY(status);
    *id = table_number_value(key);
    return *id == 0 ? log_failure(STATUS_DATA_LOSS, "read events", "dir", txn->db->dir, "reason",
                                  "the last key is no number")
                    : STATUS_OK;
}

static enum status check_place(struct db_txn *txn, uint64_t id, const struct event *event)
{
    if (event->id != id)
        return log_failure(STATUS_DATA_LOSS, "read event", "event", NUMBER(id), "reason",
                           "another event lies at its place", "found", NUMBER(event->id));
    if (memcmp(event->log_id, txn->db->identity.id, sizeof event->log_id) != 0)
        return log_failure(STATUS_DATA_LOSS, "read event", "event", NUMBER(id), "reason",
                           "it belongs to another log");
    return STATUS_OK;
}

static void end_link(uint64_t *link, uint64_t cut)
{
    if (*link <= cut)
        *link = 0;
}

/* What a link to an archived event leads to is not here. */
static enum status end_links_at_cut(struct db_txn *txn, struct event *event)
{
    uint64_t cut;
    TRY(log_cut_id(txn, &cut));
    end_link(&event->previous_of_tenant, cut);
    end_link(&event->previous_of_type, cut);
    end_link(&event->previous_of_subject, cut);
    return STATUS_OK;
}

/* Between the first and the last event there is every one. */
static enum status judge_missing(struct db_txn *txn, uint64_t id)
{
    uint64_t cut, last;
    TRY(log_cut_id(txn, &cut));
    TRY(event_log_last(txn, &last));
    if (id <= cut || id > last)
        return STATUS_NOT_FOUND;
    return log_failure(STATUS_DATA_LOSS, "read event", "event", NUMBER(id), "reason",
                       "it is missing");
}

typedef enum status decode_record(struct span record, struct arena *arena, struct event *event);

static enum status read_event(struct db_txn *txn, uint64_t id, decode_record *decode,
                              struct arena *arena, struct event *event)
{
    struct table_number number = table_number(id);
    struct span record;
    enum status status = table_get(txn, EVENTS_EVENTS, table_number_key(&number), &record);
    if (status == STATUS_NOT_FOUND)
        status = judge_missing(txn, id);
    TRY(db_note(txn->db, status));
    TRY(db_note(txn->db, decode(record, arena, event)));
    TRY(db_note(txn->db, check_place(txn, id, event)));
    return end_links_at_cut(txn, event);
}

enum status event_log_read(struct db_txn *txn, uint64_t id, struct arena *arena,
                           struct event *event)
{
    return read_event(txn, id, event_decode, arena, event);
}

enum status event_log_read_unproven(struct db_txn *txn, uint64_t id, struct arena *arena,
                                    struct event *event)
{
    return read_event(txn, id, event_decode_unproven, arena, event);
}

enum status event_log_first(struct db_txn *txn, uint64_t *id)
{
    TRY(log_cut_id(txn, id));
    ++*id;
    return STATUS_OK;
}

/* --- rows --- */

static enum status decode_row(const struct field_table *table, struct span value, void *row)
{
    AUTO(arena_close) struct arena arena = { .limit = ROW_ARENA_BYTES };
    struct problem problem = { 0 };
    if (fields_decode(table, value, &arena, row, &problem) != STATUS_OK)
        return log_failure(STATUS_DATA_LOSS, "read row", "record", table->name, "field",
                           problem.field, "reason", problem.message);
    return STATUS_OK;
}

enum status live_find(struct db_txn *txn, const char *tenant, const char *name,
                      struct live_row *row)
{
    char key[SERVICE_KEY_BYTES];
    struct span value;
    TRY(table_get(txn, EVENTS_LIVE, span_of_text(service_key(key, tenant, name)), &value));
    struct live_row found = { 0 };
    TRY(decode_row(&record_live_row, value, &found));
    *row = found;
    return STATUS_OK;
}

enum status tenant_find(struct db_txn *txn, const char *tenant, struct tenant_row *row)
{
    struct span value;
    TRY(table_get(txn, EVENTS_TENANTS, span_of_text(tenant), &value));
    struct tenant_row found = { 0 };
    TRY(decode_row(&record_tenant_row, value, &found));
    *row = found;
    return STATUS_OK;
}

static enum status put_row(struct db_txn *txn, unsigned table, const char *key,
                           const struct field_table *fields, const void *row)
{
    AUTO(buffer_close) struct buffer packed = { .limit = ROW_BYTES_MAX };
    fields_encode(fields, row, &packed);
    if (packed.is_exhausted)
        return log_failure(STATUS_RESOURCE_EXHAUSTED, "pack row", "record", fields->name);
    return table_put(txn, table, span_of_text(key), buffer_span(&packed));
}

enum status live_put(struct db_txn *txn, const char *key, const struct live_row *row)
{
    return put_row(txn, EVENTS_LIVE, key, &record_live_row, row);
}

enum status tenant_put(struct db_txn *txn, const char *tenant, const struct tenant_row *row)
{
    return put_row(txn, EVENTS_TENANTS, tenant, &record_tenant_row, row);
}

static enum status bad_key(const char *table)
{
    return log_failure(STATUS_DATA_LOSS, "read row", "table", table, "reason",
                       "its key is no name");
}

enum status live_each(struct db_txn *txn,
                      enum status (*visit)(void *context, const char *tenant, const char *name,
                                           const struct live_row *row),
                      void *context)
{
    /* First, so that nobody acts on a table that lacks a row. */
    TRY(table_verify(txn, EVENTS_LIVE));
    AUTO(table_cursor_close) struct table_cursor cursor = { 0 };
    TRY(table_cursor_open(txn, EVENTS_LIVE, &cursor));
    struct span key, value;
    enum status status = table_cursor_seek(&cursor, (struct span){ 0 }, &key, &value);
    for (; status == STATUS_OK; status = table_cursor_next(&cursor, &key, &value)) {
        char text[SERVICE_KEY_BYTES], tenant[NAME_BYTES_MAX + 1], name[NAME_BYTES_MAX + 1];
        if (key.size >= sizeof text)
            return bad_key("live");
        memcpy(text, key.data, key.size);
        text[key.size] = '\0';
        if (service_key_split(text, tenant, name) != STATUS_OK)
            return bad_key("live");
        struct live_row row = { 0 };
        TRY(decode_row(&record_live_row, value, &row));
        TRY(visit(context, tenant, name, &row));
    }
    return status == STATUS_NOT_FOUND ? STATUS_OK : status;
}

enum status tenant_each(struct db_txn *txn,
                        enum status (*visit)(void *context, const char *tenant,
                                             const struct tenant_row *row),
                        void *context)
{
    TRY(table_verify(txn, EVENTS_TENANTS));
    AUTO(table_cursor_close) struct table_cursor cursor = { 0 };
    TRY(table_cursor_open(txn, EVENTS_TENANTS, &cursor));
    struct span key, value;
    enum status status = table_cursor_seek(&cursor, (struct span){ 0 }, &key, &value);
    for (; status == STATUS_OK; status = table_cursor_next(&cursor, &key, &value)) {
        char tenant[NAME_BYTES_MAX + 1];
        if (key.size > NAME_BYTES_MAX)
            return bad_key("tenants");
        memcpy(tenant, key.data, key.size);
        tenant[key.size] = '\0';
        struct tenant_row row = { 0 };
        TRY(decode_row(&record_tenant_row, value, &row));
        TRY(visit(context, tenant, &row));
    }
    return status == STATUS_NOT_FOUND ? STATUS_OK : status;
}

enum status live_count(struct db_txn *txn, uint64_t *count)
{
    return table_count(txn, EVENTS_LIVE, count);
}

/* --- the chain --- */

enum status event_log_verify(struct db_txn *txn, uint64_t first, uint64_t count_max,
                             uint64_t *checked)
{
    struct log_cut cut;
    *checked = 0;
    TRY(log_cut_read(txn, &cut));
    if (first <= cut.id)
        first = cut.id + 1;
    AUTO(table_cursor_close) struct table_cursor cursor = { 0 };
    TRY(table_cursor_open(txn, EVENTS_EVENTS, &cursor));
    uint64_t id = first > cut.id + 1 ? first - 1 : cut.id + 1;
    struct table_number number = table_number(id);
    struct span key, record;
    struct hash previous = cut.hash;
    enum status status = table_cursor_seek(&cursor, table_number_key(&number), &key, &record);
    while (status == STATUS_OK && *checked < count_max) {
        struct event event;
        if (table_number_value(key) != id)
            return log_failure(STATUS_DATA_LOSS, "verify chain", "event", NUMBER(id), "reason",
                               "it is missing");
        TRY(event_decode_header(record, &event));
        TRY(check_place(txn, id, &event));
        /* The predecessor of the first lends its hash only. */
        if (id >= first) {
            if (memcmp(previous.bytes, event.previous_hash.bytes, HASH_BYTES) != 0)
                return log_failure(STATUS_DATA_LOSS, "verify chain", "event", NUMBER(id), "reason",
                                   "it does not follow the event before it");
            ++*checked;
        }
        previous = event.hash;
        id++;
        status = table_cursor_next(&cursor, &key, &record);
    }
    return status == STATUS_NOT_FOUND ? STATUS_OK : status;
}

enum status event_log_spec(struct db_txn *txn, uint64_t generation, struct span *spec)
{
    AUTO(arena_close) struct arena arena = { .limit = EVENT_TEXTS_BYTES_MAX };
    struct event event;
    TRY(event_log_read(txn, generation, &arena, &event));
    if (strcmp(event.type, event_type_name(EVENT_service_deployed)) != 0)
        return STATUS_NOT_FOUND;
    struct reader value;
    struct span found;
    if (map_find(event.payload, "spec", &value) != STATUS_OK || reader_peek(&value) != WIRE_MAP ||
        reader_any(&value, &found) != STATUS_OK)
        return log_failure(STATUS_DATA_LOSS, "read spec", "event", NUMBER(generation), "reason",
                           "the payload has no spec");
    *spec = found;
    return STATUS_OK;
}

/* --- heads --- */

static const char written_key[] = "written";

enum status event_log_written(struct db_txn *txn, uint64_t *id)
{
    struct span value;
    *id = 0;
    enum status status = db_meta_get(txn, written_key, &value);
    if (status == STATUS_OK)
        *id = table_number_value(value);
    return status == STATUS_NOT_FOUND ? STATUS_OK : status;
}

enum status event_log_set_written(struct db_txn *txn, uint64_t id)
{
    struct table_number number = table_number(id);
    return db_meta_put(txn, written_key, table_number_key(&number));
}

struct span event_log_head_key(uint8_t key[HEAD_KEY_BYTES], enum head_kind kind, const char *text)
{
    size_t size = strlen(text);
    ensure(size + 1 <= HEAD_KEY_BYTES);
    key[0] = (uint8_t)kind;
    memcpy(key + 1, text, size);
    return span_of(key, size + 1);
}

static const char *text_of(const struct event *event, enum head_kind kind)
{
    switch (kind) {
    case HEAD_OF_TENANT:
        return event->tenant;
    case HEAD_OF_TYPE:
        return event->type;
    case HEAD_OF_SUBJECT:
        return event->subject;
    }
    ensure(false);
    return "";
}

enum status event_log_search_head(struct db_txn *txn, struct span key, uint64_t *id)
{
    AUTO(arena_close) struct arena arena = { .limit = EVENT_TEXTS_BYTES_MAX };
    uint64_t at;
    *id = 0;
    size_t left = fault_number("walk", "heads", HEAD_WALK_EVENTS_MAX);
    TRY(event_log_last(txn, &at));
    for (; at > 0; at--, left--) {
        if (left == 0)
            return log_failure(STATUS_DATA_LOSS, "find the newest event about something", "dir",
                               txn->db->dir, "reason",
                               "its row is damaged or missing, and no event of late is about it",
                               "next", "`soloctl daemon restart eventd` makes the rows anew");
        struct event event;
        arena_reset(&arena);
        enum status status = event_log_read(txn, at, &arena, &event);
        if (status == STATUS_NOT_FOUND)
            return STATUS_OK;
        TRY(status);
        if (span_equal(span_of_text(text_of(&event, (enum head_kind)key.data[0])),
                       span_of(key.data + 1, key.size - 1))) {
            *id = at;
            return STATUS_OK;
        }
    }
    return STATUS_OK;
}

/* The records say what a row says: one that is damaged costs a walk, and nobody a refusal. */
enum status event_log_head_row(struct db_txn *txn, struct span key, uint64_t *id)
{
    struct span value;
    *id = 0;
    enum status status = table_get(txn, EVENTS_HEADS, key, &value);
    if (status == STATUS_OK)
        *id = table_number_value(value);
    else if (status == STATUS_DATA_LOSS && txn->status == STATUS_OK)
        status = event_log_search_head(txn, key, id);
    return status == STATUS_NOT_FOUND ? STATUS_OK : status;
}

/* What the newest events were seen to be about: each is read once by a process, however often it
 * asks. Tenants choose the texts: with a secret key they cannot choose the hashes. */
static struct {
    struct store_identity store;
    dev_t device;
    ino_t inode;         /* a copy that is put back has the same identity, and other events */
    uint64_t first, end; /* the events from first to end - 1 were seen */
    uint64_t hashes[LATE_EVENTS_MAX][3];
    unsigned char key[crypto_shorthash_KEYBYTES];
} seen;

static uint64_t hash_of_text(const char *text)
{
    uint64_t hash;
    crypto_shorthash((unsigned char *)&hash, (const unsigned char *)text, strlen(text), seen.key);
    return hash;
}

static uint64_t *hashes_of(uint64_t id)
{
    return seen.hashes[id % LATE_EVENTS_MAX];
}

/* Those after `written`; of more than LATE_EVENTS_MAX the newest. */
static enum status see_late(struct db_txn *txn, uint64_t written, uint64_t last,
                            struct arena *arena)
{
    const struct db *db = txn->db;
    if (memcmp(&seen.store, &db->identity, sizeof seen.store) != 0 || seen.device != db->device ||
        seen.inode != db->inode || seen.end > last + 1) {
        random_fill(seen.key, sizeof seen.key);
        seen.store = db->identity;
        seen.device = db->device;
        seen.inode = db->inode;
        seen.first = seen.end = 0;
    }
    uint64_t from = last > LATE_EVENTS_MAX ? last - LATE_EVENTS_MAX + 1 : 1;
    if (from <= written)
        from = written + 1;
    if (from > seen.end)
        seen.first = seen.end = from;
    for (; seen.end <= last; seen.end++) {
        struct event event;
        arena_reset(arena);
        TRY(event_log_read(txn, seen.end, arena, &event));
        hashes_of(seen.end)[0] = hash_of_text(event.tenant);
        hashes_of(seen.end)[1] = hash_of_text(event.type);
        hashes_of(seen.end)[2] = hash_of_text(event.subject);
        if (seen.end - seen.first == LATE_EVENTS_MAX)
            seen.first++;
    }
    return STATUS_OK;
}

/* False only for what was seen to be about something else. */
static bool may_be_about(uint64_t id, enum head_kind kind, uint64_t hash)
{
    if (id < seen.first || id >= seen.end)
        return true;
    return hashes_of(id)[kind == HEAD_OF_TENANT ? 0 : kind == HEAD_OF_TYPE ? 1 : 2] == hash;
}

enum status event_log_end_head(struct db_txn *txn, uint64_t *id)
{
    uint64_t cut;
    struct span record;
    TRY(log_cut_id(txn, &cut));
    if (*id == 0 || *id > cut)
        return STATUS_OK;
    struct table_number number = table_number(*id);
    enum status status = table_get(txn, EVENTS_EVENTS, table_number_key(&number), &record);
    if (status != STATUS_NOT_FOUND)
        return status;
    *id = 0;
    return STATUS_OK;
}

enum status event_log_head(struct db_txn *txn, enum head_kind kind, const char *text, uint64_t *id)
{
    AUTO(arena_close) struct arena arena = { .limit = EVENT_TEXTS_BYTES_MAX };
    uint8_t key[HEAD_KEY_BYTES];
    uint64_t written, late;
    if (strlen(text) + 1 > HEAD_KEY_BYTES)
        return STATUS_INVALID_ARGUMENT;
    TRY(event_log_written(txn, &written));
    TRY(event_log_last(txn, &late));
    if (!txn->is_write) /* what it wrote may be taken back */
        TRY(see_late(txn, written, late, &arena));
    uint64_t hash = hash_of_text(text);
    for (; late > written; late--) {
        struct event event;
        if (!txn->is_write && !may_be_about(late, kind, hash))
            continue;
        arena_reset(&arena);
        TRY(event_log_read(txn, late, &arena, &event));
        if (strcmp(text_of(&event, kind), text) == 0) {
            *id = late;
            return STATUS_OK;
        }
    }
    TRY(event_log_head_row(txn, event_log_head_key(key, kind, text), id));
    return event_log_end_head(txn, id);
}

struct hash event_log_request_body(const char *tenant, const struct hash *body)
{
    struct hash_state state;
    hash_begin(&state);
    hash_add(&state, span_of(tenant, strlen(tenant) + 1));
    hash_add(&state, span_of(body->bytes, HASH_BYTES));
    return hash_end(&state);
}

enum status event_log_request(struct db_txn *txn, const char *tenant, const struct uuid *id,
                              const struct hash *body, struct request_outcome *outcome,
                              struct problem *problem)
{
    const struct hash bound = event_log_request_body(tenant, body);
    struct uuid forgotten;
    TRY(requests_forgotten(txn, &forgotten));
    return requests_find(txn, EVENTS_REQUESTS, id, &bound, clock_wall_ns() / 1000000, &forgotten,
                         outcome, problem);
}
