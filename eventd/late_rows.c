/* The normal path of a turn: begin, some events and requests, end. */
#include "eventd/late_rows.h"

#include <inttypes.h>
#include <string.h>

#include "common/base/auto.h"
#include "common/base/clock.h"
#include "common/base/limits.h"
#include "common/base/log.h"
#include "common/daemon/parent.h"
#include "eventd/projection.h"

enum status late_rows_init(struct late_rows *late)
{
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
 * for. Since the start the newest is known, whether its row is lost or not. */
static enum status load_newest(struct late_rows *late, struct db_txn *txn)
{
    struct uuid newest;
    enum status status = requests_newest(txn, EVENTS_REQUESTS, &newest);
    if (status == STATUS_DATA_LOSS)
        memset(&newest, 0xff, sizeof newest);
    else
        TRY(status);
    note_row(late, &newest);
    return STATUS_OK;
}

/* Ids are drawn by their callers' clocks, which may be ahead of ours. */
static uint64_t latest_ms(const struct late_rows *late)
{
    uint64_t newest_ms = uuid_milliseconds(&late->newest);
    bool is_ahead = newest_ms > late->now_ms && newest_ms <= late->now_ms + REQUESTS_AHEAD_MS_MAX;
    return is_ahead ? newest_ms : late->now_ms;
}

static enum status load(struct late_rows *late, struct db_txn *txn, uint64_t last_id)
{
    AUTO(arena_close) struct arena arena = { .limit = EVENT_TEXTS_BYTES_MAX };
    TRY(event_log_written(txn, &late->written));
    TRY(load_newest(late, txn));
    if (late->opened_ms == 0)
        late->opened_ms = latest_ms(late);
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

static enum status load_all(struct late_rows *late, struct db_txn *txn, uint64_t last_id)
{
    enum status status = load(late, txn, last_id);
    late->is_loaded = status == STATUS_OK;
    if (status != STATUS_OK)
        late_rows_forget(late);
    return status;
}

/* --- whether rows are missing --- */

/* That a row is not there says something only of a table in which none is missing: each proves
 * itself, and nothing but the digest proves that it is there. Not at each question, because that
 * reads the whole table: the time of a two hundredth at most. */
static enum status prove_whole(struct db_txn *txn, unsigned table, uint64_t *proved_ns)
{
    enum { PROVED_SECONDS = 10, SHARE = 200 };
    struct table_walk walk = { 0 };
    uint64_t began_ns = clock_boottime_ns();
    if (began_ns < *proved_ns)
        return STATUS_OK;
    while (!walk.is_done) {
        TRY(db_note(txn->db, table_verify_some(txn, table, PROGRESS_EVENTS, &walk)));
        if (walk.count >= PROGRESS_EVENTS) /* whoever waits sees that it goes on */
            parent_progress("%" PRIu64 " rows of %s compared", walk.count,
                            txn->db->schema->tables[table].name);
    }
    uint64_t now_ns = clock_boottime_ns(), pause_ns = SHARE * (now_ns - began_ns);
    *proved_ns =
        now_ns + (pause_ns > PROVED_SECONDS * NS_PER_S ? pause_ns : PROVED_SECONDS * NS_PER_S);
    return STATUS_OK;
}

enum status late_rows_prove_heads(struct late_rows *late, struct db_txn *txn)
{
    return prove_whole(txn, EVENTS_HEADS, &late->heads_proved_ns);
}

static void tell_heads(uint64_t done, uint64_t total)
{
    parent_progress("finding the newest events anew: %" PRIu64 "/%" PRIu64, done, total);
}

/* Of archived events the records that were kept are there, too. */
enum status late_rows_make_heads(struct late_rows *late, struct db_txn *txn)
{
    AUTO(arena_close) struct arena arena = { .limit = EVENT_TEXTS_BYTES_MAX };
    AUTO(table_cursor_close) struct table_cursor cursor = { 0 };
    struct span key, record;
    uint64_t written;
    late_rows_forget(late);
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
            tell_heads(id, written);
    }
    if (status == STATUS_OK || status == STATUS_NOT_FOUND)
        status = heads_write(&late->heads, txn);
    late_rows_forget(late);
    return status;
}

/* Within a turn. When it fails the turn must come to nothing; the next one does without. */
static enum status mend_heads(struct late_rows *late, struct db_txn *txn, uint64_t last_id)
{
    log_warning("rows of heads are missing, they are made anew", "dir", txn->db->dir);
    enum status status = late_rows_make_heads(late, txn);
    if (status == STATUS_OK)
        status = load_all(late, txn, last_id);
    if (status == STATUS_DATA_LOSS) {
        (void)db_note(txn->db, status);
        late->heads_state = HEADS_BEYOND_REPAIR;
        return STATUS_UNAVAILABLE;
    }
    TRY(status);
    late->heads_state = HEADS_WHOLE;
    if (late->is_damage_of_heads)
        txn->db->has_met_damage = false;
    return STATUS_OK;
}

/* A row that was removed shows in LMDB's own count, at once; what a damaged page has lost shows in
 * the digest, which is compared before the first turn, when somebody asks in vain, and, once damage
 * is known, here. */
static enum status look_for_lost_heads(struct late_rows *late, struct db_txn *txn, bool is_asked)
{
    bool had_met_damage = txn->db->has_met_damage;
    if (late->heads_state != HEADS_WHOLE)
        return STATUS_DATA_LOSS;
    enum status status = db_note(txn->db, table_compare_count(txn, EVENTS_HEADS));
    if (status == STATUS_OK && (is_asked || had_met_damage))
        status = prove_whole(txn, EVENTS_HEADS, &late->heads_proved_ns);
    if (status == STATUS_DATA_LOSS) {
        late->heads_state = HEADS_LOST;
        late->is_damage_of_heads = !had_met_damage;
    }
    return status;
}

enum status late_rows_begin(struct late_rows *late, struct db_txn *txn, uint64_t last_id)
{
    late->must_write = false;
    late->committed_id = last_id;
    late->now_ms = clock_wall_ns() / 1000000;
    TRY(requests_forgotten(txn, &late->forgotten));
    if (late->heads_state == HEADS_LOST && !txn->db->is_short_of_space)
        TRY(mend_heads(late, txn, last_id));
    return late->is_loaded ? STATUS_OK : load_all(late, txn, last_id);
}

/* --- the turn --- */

/* Nothing came before, by the heads: which stays so for ever. */
static bool is_first_of_something(const struct event *event)
{
    return event->previous_of_type == 0 ||
           (event->tenant[0] != '\0' && event->previous_of_tenant == 0) ||
           (event->subject[0] != '\0' && event->previous_of_subject == 0);
}

/* Takes no page: without space what must not be refused needs every one. One that is too far back
 * is not found. */
static enum status search_link(struct db_txn *txn, enum head_kind kind, const char *text,
                               uint64_t *previous)
{
    uint8_t bytes[HEAD_KEY_BYTES];
    if (*previous != 0 || text[0] == '\0')
        return STATUS_OK;
    enum status status =
        event_log_search_head(txn, event_log_head_key(bytes, kind, text), previous);
    return status == STATUS_DATA_LOSS ? STATUS_OK
           : status == STATUS_OK      ? event_log_end_head(txn, previous)
                                      : status;
}

static enum status search_links(struct db_txn *txn, struct event *event)
{
    TRY(search_link(txn, HEAD_OF_TYPE, event->type, &event->previous_of_type));
    TRY(search_link(txn, HEAD_OF_TENANT, event->tenant, &event->previous_of_tenant));
    return search_link(txn, HEAD_OF_SUBJECT, event->subject, &event->previous_of_subject);
}

enum status late_rows_add_event(struct late_rows *late, struct db_txn *txn, struct event *event)
{
    TRY(advance_heads(late, txn, event));
    if (!is_first_of_something(event) || late->heads_state == HEADS_BEYOND_REPAIR)
        return STATUS_OK;
    enum status status = look_for_lost_heads(late, txn, false);
    if (status != STATUS_DATA_LOSS || txn->status != STATUS_OK)
        return status;
    if (txn->db->is_short_of_space)
        return search_links(txn, event);
    TRY(mend_heads(late, txn, event->id - 1));
    return advance_heads(late, txn, event);
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
    enum status status = look_for_lost_heads(late, txn, true);
    if (status != STATUS_DATA_LOSS || txn->status != STATUS_OK ||
        late->heads_state == HEADS_BEYOND_REPAIR)
        return status;
    TRY(event_log_search_head(txn, event_log_head_key(bytes, kind, text), id)); /* until a turn */
    return event_log_end_head(txn, id);
}

/* There is no row. Whatever got one since the start got it from us: before that rows may have been
 * lost, the newest ones, too, and once damage is known also since. */
static enum status judge_absent(struct late_rows *late, struct db_txn *txn, const struct uuid *id,
                                bool is_behind_all, struct problem *problem)
{
    bool is_older = uuid_milliseconds(id) <= late->opened_ms;
    if (late->lost_ms == 0) {
        bool is_doubted = is_older ? late->requests_proved_ns == 0 || txn->db->has_met_damage
                                   : !is_behind_all && txn->db->has_met_damage;
        if (!is_doubted)
            return STATUS_NOT_FOUND;
        enum status status = prove_whole(txn, EVENTS_REQUESTS, &late->requests_proved_ns);
        if (status != STATUS_DATA_LOSS)
            return status == STATUS_OK ? STATUS_NOT_FOUND : status;
        late->lost_ms = latest_ms(late);
    }
    if (is_behind_all ? !is_older : uuid_milliseconds(id) > late->lost_ms)
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
    if (recent == NULL) {
        bool is_behind_all = memcmp(id->bytes, late->newest.bytes, UUID_BYTES) > 0;
        enum status status = is_behind_all
                                 ? requests_check_age(id, late->now_ms, &late->forgotten, problem)
                                 : requests_find(txn, EVENTS_REQUESTS, id, body_hash, late->now_ms,
                                                 &late->forgotten, outcome, problem);
        bool is_absent = status == (is_behind_all ? STATUS_OK : STATUS_NOT_FOUND);
        return is_absent ? judge_absent(late, txn, id, is_behind_all, problem) : status;
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
