/* The normal path of a turn: begin, some events and requests, end. */
#include "eventd/late_rows.h"

#include <string.h>

#include "common/base/auto.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "eventd/projection.h"

enum status late_rows_init(struct late_rows *late)
{
    late->opened_ms = clock_wall_ns() / 1000000;
    TRY(heads_init(&late->heads));
    return recent_requests_init(&late->requests);
}

void late_rows_reset(struct late_rows *late)
{
    heads_reset(&late->heads);
    recent_requests_reset(&late->requests);
}

void late_rows_forget(struct late_rows *late)
{
    heads_forget(&late->heads);
    recent_requests_clear(&late->requests);
    late->bytes = 0;
    late->is_loaded = false;
}

void late_rows_committed(struct late_rows *late, uint64_t last_id)
{
    late->committed_id = last_id;
    late->heads.is_ahead = false;
}

/* --- reading what is not written --- */

static enum status advance_heads(struct late_rows *late, struct db_txn *txn, struct event *event)
{
    late->bytes += EVENT_HEADER_BYTES + event->payload.size;
    event->previous_of_tenant = event->previous_of_type = event->previous_of_subject = 0;
    if (event->tenant[0] != '\0')
        TRY(heads_advance(&late->heads, txn, HEAD_OF_TENANT, event->tenant, event->id,
                          late->committed_id, &event->previous_of_tenant));
    if (event->subject[0] != '\0')
        TRY(heads_advance(&late->heads, txn, HEAD_OF_SUBJECT, event->subject, event->id,
                          late->committed_id, &event->previous_of_subject));
    return heads_advance(&late->heads, txn, HEAD_OF_TYPE, event->type, event->id,
                         late->committed_id, &event->previous_of_type);
}

/* An id gets a row in the table. */
static void note_row(struct late_rows *late, const struct uuid *id)
{
    if (memcmp(id->bytes, late->newest.bytes, UUID_BYTES) > 0)
        late->newest = *id;
}

static enum status remember(struct late_rows *late, struct db_txn *txn, const struct uuid *id,
                            const struct request_outcome *outcome)
{
    const struct recent_request request = {
        .id = *id,
        .body_hash = outcome->body_hash,
        .first_id = outcome->first_id,
        .count = outcome->count,
    };
    late->rows_put++;
    if (recent_requests_add(&late->requests, &request) == STATUS_OK)
        return STATUS_OK;
    note_row(late, id);
    return requests_put(txn, EVENTS_REQUESTS, id, outcome);
}

/* A broken row at the end of `requests` is no reason to refuse every request: then each is looked
 * for. */
static enum status load_newest(struct late_rows *late, struct db_txn *txn)
{
    enum status status = requests_newest(txn, EVENTS_REQUESTS, &late->newest);
    if (status != STATUS_DATA_LOSS)
        return status;
    memset(&late->newest, 0xff, sizeof late->newest);
    return STATUS_OK;
}

static enum status load(struct late_rows *late, struct db_txn *txn, uint64_t last_id)
{
    AUTO(arena_close) struct arena arena = { .limit = EVENT_TEXTS_BYTES_MAX };
    TRY(event_log_written(txn, &late->written));
    TRY(load_newest(late, txn));
    for (uint64_t id = late->written + 1; id <= last_id; id++) {
        struct event event;
        arena_reset(&arena);
        TRY(event_log_read(txn, id, &arena, &event));
        TRY(advance_heads(late, txn, &event));
        if (event.request_count == 0)
            continue;
        const struct request_outcome outcome = {
            .body_hash = event.request_hash,
            .intent = "",
            .first_id = id,
            .count = (uint32_t)event.request_count,
        };
        TRY(remember(late, txn, &event.request_id, &outcome));
    }
    return STATUS_OK;
}

enum status late_rows_begin(struct late_rows *late, struct db_txn *txn, uint64_t last_id)
{
    late->must_write = false;
    late->committed_id = last_id;
    late->now_ms = clock_wall_ns() / 1000000;
    TRY(requests_forgotten(txn, &late->forgotten));
    if (late->is_loaded)
        return STATUS_OK;
    enum status status = load(late, txn, last_id);
    late->is_loaded = status == STATUS_OK;
    if (status != STATUS_OK)
        late_rows_forget(late);
    return status;
}

/* Of archived events the records that were kept are there, too. */
enum status late_rows_make_heads(struct late_rows *late, struct db_txn *txn,
                                 void (*tell)(uint64_t done, uint64_t total))
{
    AUTO(arena_close) struct arena arena = { .limit = EVENT_TEXTS_BYTES_MAX };
    AUTO(table_cursor_close) struct table_cursor cursor = { 0 };
    struct span key, record;
    uint64_t written;
    TRY(event_log_written(txn, &written));
    TRY(table_clear(txn, EVENTS_HEADS));
    TRY(table_cursor_open(txn, EVENTS_EVENTS, &cursor));
    enum status status = table_cursor_seek(&cursor, (struct span){ 0 }, &key, &record);
    for (; status == STATUS_OK; status = table_cursor_next(&cursor, &key, &record)) {
        struct event event;
        uint64_t id = table_number_value(key);
        if (id > written)
            break;
        arena_reset(&arena);
        TRY(event_log_read(txn, id, &arena, &event));
        TRY(advance_heads(late, txn, &event));
        if (id % PROGRESS_EVENTS == 0)
            tell(id, written);
    }
    if (status == STATUS_OK || status == STATUS_NOT_FOUND)
        status = heads_write(&late->heads, txn);
    late_rows_forget(late);
    return status;
}

/* --- the turn --- */

enum status late_rows_add_event(struct late_rows *late, struct db_txn *txn, struct event *event)
{
    return advance_heads(late, txn, event);
}

/* That a row is not there says something only of a table in which none is missing: each proves
 * itself, and nothing but the digest proves that it is there. Not at each question, because that
 * reads the whole table: the time of a two hundredth at most. */
static enum status prove_whole(struct db_txn *txn, unsigned table, uint64_t *proved_ns)
{
    enum { PROVED_SECONDS = 10, SHARE = 200 };
    uint64_t began_ns = clock_boottime_ns();
    if (began_ns < *proved_ns)
        return STATUS_OK;
    TRY(db_note(txn->db, table_verify(txn, table)));
    uint64_t now_ns = clock_boottime_ns(), pause_ns = SHARE * (now_ns - began_ns);
    *proved_ns =
        now_ns + (pause_ns > PROVED_SECONDS * NS_PER_S ? pause_ns : PROVED_SECONDS * NS_PER_S);
    return STATUS_OK;
}

static enum status find_head(struct late_rows *late, struct db_txn *txn, enum head_kind kind,
                             const char *text, uint64_t *id)
{
    if (!late->is_loaded || late->heads.is_ahead)
        return event_log_head(txn, kind, text, id);
    TRY(heads_find(&late->heads, txn, kind, text, late->committed_id, id));
    return event_log_end_head(txn, id);
}

enum status late_rows_find_head(struct late_rows *late, struct db_txn *txn, enum head_kind kind,
                                const char *text, uint64_t *id)
{
    uint8_t bytes[HEAD_KEY_BYTES];
    TRY(find_head(late, txn, kind, text, id));
    if (*id != 0)
        return STATUS_OK;
    enum status status = prove_whole(txn, EVENTS_HEADS, &late->heads_proved_ns);
    if (status != STATUS_DATA_LOSS || txn->status != STATUS_OK)
        return status;
    TRY(event_log_search_head(txn, event_log_head_key(bytes, kind, text), id));
    return event_log_end_head(txn, id);
}

/* Those that were drawn after the damage was found had no row to be lost. */
static enum status prove_unused(struct late_rows *late, struct db_txn *txn, const struct uuid *id,
                                struct problem *problem)
{
    if (late->doubted_ms == 0) {
        enum status status = prove_whole(txn, EVENTS_REQUESTS, &late->requests_proved_ns);
        if (status != STATUS_DATA_LOSS)
            return status == STATUS_OK ? STATUS_NOT_FOUND : status;
        late->doubted_ms = late->now_ms;
    }
    if (uuid_milliseconds(id) > late->doubted_ms)
        return STATUS_NOT_FOUND;
    return problem_set(problem, STATUS_DATA_LOSS, "request_id",
                       "whether it was carried out before cannot be told, because what is "
                       "remembered of requests is damaged: look, then ask with a new one");
}

enum status late_rows_find_request(struct late_rows *late, struct db_txn *txn,
                                   const struct uuid *id, const struct hash *body_hash,
                                   struct request_outcome *outcome, struct problem *problem)
{
    const struct recent_request *recent = recent_requests_find(&late->requests, id);
    bool is_damaged = txn->db->has_met_damage || late->doubted_ms != 0;
    if (recent == NULL && memcmp(id->bytes, late->newest.bytes, UUID_BYTES) > 0) {
        TRY(requests_check_age(id, late->now_ms, &late->forgotten, problem));
        /* The newest row may be the one that is lost. */
        return is_damaged && uuid_milliseconds(id) <= late->opened_ms
                   ? prove_unused(late, txn, id, problem)
                   : STATUS_NOT_FOUND;
    }
    if (recent == NULL) {
        enum status status = requests_find(txn, EVENTS_REQUESTS, id, body_hash, late->now_ms,
                                           &late->forgotten, outcome, problem);
        return status == STATUS_NOT_FOUND && is_damaged ? prove_unused(late, txn, id, problem)
                                                        : status;
    }
    if (!hash_equal(&recent->body_hash, body_hash))
        return requests_refuse_other(problem);
    *outcome = (struct request_outcome){
        .body_hash = *body_hash,
        .intent = "",
        .first_id = recent->first_id,
        .count = recent->count,
    };
    return STATUS_OK;
}

enum status late_rows_add_request(struct late_rows *late, struct db_txn *txn, const struct uuid *id,
                                  const struct request_outcome *outcome, bool is_recorded)
{
    if (is_recorded)
        return remember(late, txn, id, outcome);
    late->rows_put++;
    note_row(late, id);
    return requests_put(txn, EVENTS_REQUESTS, id, outcome);
}

static enum status write_recent(struct late_rows *late, struct db_txn *txn)
{
    AUTO(table_cursor_close) struct table_cursor cursor = { 0 };
    TRY(table_cursor_open(txn, EVENTS_REQUESTS, &cursor));
    recent_requests_sort(&late->requests);
    for (size_t i = 0; i < late->requests.count; i++) {
        const struct recent_request *request = &late->requests.items[i];
        const struct request_outcome outcome = {
            .body_hash = request->body_hash,
            .intent = "",
            .first_id = request->first_id,
            .count = request->count,
        };
        TRY(requests_put_at(&cursor, &late->newest, &request->id, &outcome));
    }
    recent_requests_clear(&late->requests);
    return STATUS_OK;
}

static enum status write_requests(struct late_rows *late, struct db_txn *txn)
{
    TRY(write_recent(late, txn));
    unsigned pruned;
    TRY(requests_prune(txn, EVENTS_REQUESTS, late->now_ms, REQUESTS_KEPT_MAX, 2 * late->rows_put,
                       &pruned));
    late->rows_put = 0;
    return STATUS_OK;
}

enum status late_rows_end(struct late_rows *late, struct db_txn *txn, uint64_t last_id)
{
    bool is_due = late->must_write || last_id - late->written >= LATE_EVENTS_MAX ||
                  late->bytes >= LATE_BYTES_MAX;
    if (!is_due || txn->db->is_short_of_space)
        return STATUS_OK;
    TRY(heads_write(&late->heads, txn));
    TRY(write_requests(late, txn));
    late->written = last_id;
    late->bytes = 0;
    return event_log_set_written(txn, last_id);
}
