/* Positions of sources. Keys of one source stand together, so that its incarnations and its window
 * are short walks. */
#include "eventd/sources.h"

#include <string.h>

#include "common/api/records/schemas.h"
#include "common/base/auto.h"
#include "common/base/ensure.h"
#include "common/base/limits.h"
#include "common/base/log.h"
#include "common/db/table.h"

enum {
    KEY_BYTES = 1 + EVENT_SOURCE_BYTES_MAX + 1 + SOURCE_INCARNATION_BYTES + 8,
    INCARNATION_ROW_BYTES = 16,
    WINDOW_ROW_BYTES = 8 + HASH_BYTES,
};

struct source_key {
    uint8_t bytes[KEY_BYTES];
    size_t size;
};

static struct source_key make_key(char kind, const char *name)
{
    struct source_key key;
    size_t size = strlen(name);
    ensure(size > 0);
    ensure(size <= EVENT_SOURCE_BYTES_MAX);
    key.bytes[0] = (uint8_t)kind;
    memcpy(key.bytes + 1, name, size + 1);
    key.size = size + 2;
    return key;
}

static void key_add(struct source_key *key, const void *data, size_t size)
{
    ensure(key->size + size <= sizeof key->bytes);
    memcpy(key->bytes + key->size, data, size);
    key->size += size;
}

static struct source_key incarnation_key(const struct source_position *position)
{
    struct source_key key = make_key('i', position->name);
    key_add(&key, position->incarnation, SOURCE_INCARNATION_BYTES);
    return key;
}

static struct source_key window_key(const char *name, const uint8_t *incarnation, uint64_t number)
{
    struct source_key key = make_key('w', name);
    struct table_number bytes = table_number(number);
    key_add(&key, incarnation, SOURCE_INCARNATION_BYTES);
    key_add(&key, bytes.bytes, sizeof bytes.bytes);
    return key;
}

static struct span key_span(const struct source_key *key)
{
    return span_of(key->bytes, key->size);
}

static uint64_t number_at(struct span row, size_t offset)
{
    return table_number_value(span_of(row.data + offset, 8));
}

static enum status read_row(struct db_txn *txn, const struct source_key *key, size_t size,
                            struct span *row)
{
    TRY(table_get(txn, EVENTS_SOURCES, key_span(key), row));
    return row->size == size
               ? STATUS_OK
               : log_failure(STATUS_DATA_LOSS, "read source", "reason", "not the size of its row");
}

static void hash_text(struct hash_state *state, const char *text)
{
    hash_add(state, span_of(text, strlen(text) + 1));
}

struct hash sources_body(const struct event *event)
{
    struct hash_state state;
    hash_begin(&state);
    hash_text(&state, event->type);
    hash_text(&state, event->tenant);
    hash_text(&state, event->subject);
    hash_add(&state, event->payload);
    return hash_end(&state);
}

enum status sources_last_event(struct db_txn *txn, const struct source_position *position,
                               uint64_t *last, uint64_t *event_id)
{
    struct source_key key = incarnation_key(position);
    struct span row;
    enum status status = read_row(txn, &key, INCARNATION_ROW_BYTES, &row);
    if (status == STATUS_NOT_FOUND) {
        *last = *event_id = 0;
        return STATUS_OK;
    }
    TRY(status);
    *last = number_at(row, 0);
    *event_id = number_at(row, 8);
    return STATUS_OK;
}

enum status sources_last(struct db_txn *txn, const struct source_position *position, uint64_t *last)
{
    uint64_t event_id;
    return sources_last_event(txn, position, last, &event_id);
}

/* Nothing has come of it since the log was FORKED. */
static enum status may_jump(struct db_txn *txn, const struct source_position *position, bool *may)
{
    uint64_t last, event_id;
    *may = position->jump_until != 0;
    if (!*may)
        return STATUS_OK;
    TRY(sources_last_event(txn, position, &last, &event_id));
    *may = event_id <= position->jump_until;
    return STATUS_OK;
}

enum status sources_check(struct db_txn *txn, const struct source_position *position, uint64_t last,
                          uint64_t *event_id, struct problem *problem)
{
    bool may = false;
    if (position->number > last + 1)
        TRY(may_jump(txn, position, &may));
    if (position->number == last + 1 || may)
        return STATUS_NOT_FOUND;
    if (position->number > last)
        return problem_set(problem, STATUS_FAILED_PRECONDITION, "source_number",
                           "%s sent %llu, but %llu is expected next: something is missing between",
                           position->name, (unsigned long long)position->number,
                           (unsigned long long)last + 1);
    struct source_key key = window_key(position->name, position->incarnation, position->number);
    struct span row;
    enum status status = read_row(txn, &key, WINDOW_ROW_BYTES, &row);
    if (status == STATUS_NOT_FOUND)
        return problem_set(problem, STATUS_FAILED_PRECONDITION, "source_number",
                           "%llu of %s arrived too long ago to be compared; %llu is expected next",
                           (unsigned long long)position->number, position->name,
                           (unsigned long long)last + 1);
    TRY(status);
    if (memcmp(row.data + 8, position->body_hash.bytes, HASH_BYTES) != 0)
        return problem_set(problem, STATUS_DATA_LOSS, "source_number",
                           "%llu of %s was event %llu with another body: the source has lost its "
                           "place",
                           (unsigned long long)position->number, position->name,
                           (unsigned long long)number_at(row, 0));
    *event_id = number_at(row, 0);
    return STATUS_OK;
}

/* --- keeping few --- */

/* One incarnation row, as it is met on a walk. */
struct incarnation {
    char name[EVENT_SOURCE_BYTES_MAX + 1];
    uint8_t bytes[SOURCE_INCARNATION_BYTES];
    uint64_t last, event_id;
};

static bool parse_incarnation(struct span key, struct span row, struct incarnation *out)
{
    if (key.size < 2 + SOURCE_INCARNATION_BYTES || key.data[0] != 'i' ||
        row.size != INCARNATION_ROW_BYTES)
        return false;
    size_t name_size = key.size - 2 - SOURCE_INCARNATION_BYTES;
    if (name_size > EVENT_SOURCE_BYTES_MAX || key.data[1 + name_size] != '\0')
        return false;
    memcpy(out->name, key.data + 1, name_size + 1);
    memcpy(out->bytes, key.data + 2 + name_size, SOURCE_INCARNATION_BYTES);
    out->last = number_at(row, 0);
    out->event_id = number_at(row, 8);
    return true;
}

static enum status drop_incarnation(struct db_txn *txn, const struct incarnation *gone)
{
    uint64_t first = gone->last > SOURCE_WINDOW ? gone->last - SOURCE_WINDOW + 1 : 1;
    for (uint64_t number = first; number <= gone->last; number++) {
        struct source_key key = window_key(gone->name, gone->bytes, number);
        enum status status = table_delete(txn, EVENTS_SOURCES, key_span(&key));
        if (status != STATUS_NOT_FOUND)
            TRY(status);
    }
    const struct source_position position = { .name = gone->name, .incarnation = gone->bytes };
    struct source_key key = incarnation_key(&position);
    return table_delete(txn, EVENTS_SOURCES, key_span(&key));
}

/* The incarnations of one source: how many, and the one that was silent for longest. */
static enum status survey_source(struct db_txn *txn, const char *name, size_t *count,
                                 struct incarnation *oldest)
{
    struct source_key at = make_key('i', name);
    AUTO(table_cursor_close) struct table_cursor cursor = { 0 };
    TRY(table_cursor_open(txn, EVENTS_SOURCES, &cursor));
    struct span key, row;
    struct incarnation met;
    *count = 0;
    enum status status = table_cursor_seek(&cursor, key_span(&at), &key, &row);
    for (; status == STATUS_OK && parse_incarnation(key, row, &met) && strcmp(met.name, name) == 0;
         status = table_cursor_next(&cursor, &key, &row))
        if ((*count)++ == 0 || met.event_id < oldest->event_id)
            *oldest = met;
    return status == STATUS_NOT_FOUND ? STATUS_OK : status;
}

enum status sources_newest_other(struct db_txn *txn, const struct source_position *position,
                                 uint64_t *event_id)
{
    struct source_key at = make_key('i', position->name);
    AUTO(table_cursor_close) struct table_cursor cursor = { 0 };
    struct span key, row;
    struct incarnation met;
    *event_id = 0;
    TRY(table_cursor_open(txn, EVENTS_SOURCES, &cursor));
    enum status status = table_cursor_seek(&cursor, key_span(&at), &key, &row);
    for (; status == STATUS_OK && parse_incarnation(key, row, &met) &&
           strcmp(met.name, position->name) == 0;
         status = table_cursor_next(&cursor, &key, &row))
        if (memcmp(met.bytes, position->incarnation, SOURCE_INCARNATION_BYTES) != 0 &&
            met.event_id > *event_id)
            *event_id = met.event_id;
    return status == STATUS_NOT_FOUND ? STATUS_OK : status;
}

enum status sources_newest_sibling(struct db_txn *txn, const char *name, uint64_t *event_id)
{
    const char *slash = strchr(name, '/');
    AUTO(table_cursor_close) struct table_cursor cursor = { 0 };
    struct span key, row;
    struct incarnation met;
    *event_id = 0;
    if (slash == NULL)
        return STATUS_OK;
    size_t prefix_bytes = (size_t)(slash - name) + 1;
    uint8_t prefix[KEY_BYTES] = { 'i' };
    memcpy(prefix + 1, name, prefix_bytes);
    TRY(table_cursor_open(txn, EVENTS_SOURCES, &cursor));
    enum status status = table_cursor_seek(&cursor, span_of(prefix, prefix_bytes + 1), &key, &row);
    for (; status == STATUS_OK && parse_incarnation(key, row, &met) &&
           strncmp(met.name, name, prefix_bytes) == 0;
         status = table_cursor_next(&cursor, &key, &row))
        if (strcmp(met.name, name) != 0 && met.event_id > *event_id)
            *event_id = met.event_id;
    return status == STATUS_NOT_FOUND ? STATUS_OK : status;
}

/* How many sources there are, and the one whose newest event is the oldest. Runs only when a source
 * is met for the first time. */
static enum status survey_all(struct db_txn *txn, size_t *count, struct incarnation *oldest)
{
    AUTO(table_cursor_close) struct table_cursor cursor = { 0 };
    TRY(table_cursor_open(txn, EVENTS_SOURCES, &cursor));
    struct span key, row;
    struct incarnation met, newest = { 0 };
    *count = 0;
    enum status status = table_cursor_seek(&cursor, span_of_text("i"), &key, &row);
    for (;;) {
        bool is_more = status == STATUS_OK && parse_incarnation(key, row, &met);
        bool is_same = is_more && strcmp(met.name, newest.name) == 0;
        if (is_same && met.event_id > newest.event_id)
            newest = met;
        if (!is_same && newest.name[0] != '\0' &&
            ((*count)++ == 0 || newest.event_id < oldest->event_id))
            *oldest = newest;
        if (!is_more)
            break;
        if (!is_same)
            newest = met;
        status = table_cursor_next(&cursor, &key, &row);
    }
    return status == STATUS_NOT_FOUND ? STATUS_OK : status;
}

static enum status make_room(struct db_txn *txn, const char *name)
{
    size_t count;
    struct incarnation oldest;
    TRY(survey_source(txn, name, &count, &oldest));
    if (count >= SOURCE_INCARNATIONS_MAX)
        return drop_incarnation(txn, &oldest);
    if (count > 0)
        return STATUS_OK;
    TRY(survey_all(txn, &count, &oldest));
    if (count < SOURCES_MAX)
        return STATUS_OK;
    log_info("forgetting a source", "source", oldest.name, "last_event", NUMBER(oldest.event_id));
    char gone[sizeof oldest.name];
    memcpy(gone, oldest.name, sizeof gone);
    do {
        TRY(survey_source(txn, gone, &count, &oldest));
        if (count > 0)
            TRY(drop_incarnation(txn, &oldest));
    } while (count > 1);
    return STATUS_OK;
}

enum status sources_put(struct db_txn *txn, const struct source_position *position,
                        uint64_t event_id)
{
    uint64_t last = position->number - 1;
    if (position->jump_until != 0)
        TRY(sources_last(txn, position, &last));
    if (last == 0)
        TRY(make_room(txn, position->name));
    struct table_number number = table_number(position->number), event = table_number(event_id);
    uint8_t row[INCARNATION_ROW_BYTES];
    memcpy(row, number.bytes, 8);
    memcpy(row + 8, event.bytes, 8);
    struct source_key key = incarnation_key(position);
    TRY(table_put(txn, EVENTS_SOURCES, key_span(&key), span_of(row, sizeof row)));

    uint8_t window_row[WINDOW_ROW_BYTES];
    memcpy(window_row, event.bytes, 8);
    memcpy(window_row + 8, position->body_hash.bytes, HASH_BYTES);
    key = window_key(position->name, position->incarnation, position->number);
    TRY(table_put(txn, EVENTS_SOURCES, key_span(&key), span_of(window_row, sizeof window_row)));
    if (position->number <= SOURCE_WINDOW)
        return STATUS_OK;
    key = window_key(position->name, position->incarnation, position->number - SOURCE_WINDOW);
    enum status status = table_delete(txn, EVENTS_SOURCES, key_span(&key));
    return status == STATUS_NOT_FOUND ? STATUS_OK : status;
}
