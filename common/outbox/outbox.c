/* The normal path: the owner puts rows and commits; a batch is read in a snapshot of its own and
 * sent; its acknowledgement lets the next one go and its rows be removed. Any failure leaves the
 * rows where they are, to be sent again. */
#include "common/outbox/outbox.h"

#include <stdio.h>
#include <string.h>

#include "common/base/auto.h"
#include "common/base/ensure.h"
#include "common/base/fault.h"
#include "common/base/log.h"
#include "common/db/table.h"
#include "common/outbox/standing.h"

enum {
    ANSWER_MS_MAX = 30 * 1000,
    AGAIN_AFTER_FAILURE_MS = 1000,
    AGAIN_AFTER_REFUSAL_MS = 10 * 1000,
    REMOVE_AFTER_MS = 1000,
    PACE_MS = 10,
    FLUSH_MS_MAX = 1000,
};
_Static_assert((int)OUTBOX_BATCH_MAX + (int)OUTBOX_UNREMOVED_MAX <= (int)SOURCE_WINDOW,
               "whatever is sent again can be compared with the first time");

static void send_next(struct outbox *outbox);

/* --- the turn --- */

static enum status read_standing(struct outbox *outbox, struct db_txn *txn)
{
    struct outbox_standing standing;
    enum status status = outbox_standing_read(txn, &standing);
    if (status == STATUS_NOT_FOUND)
        return STATUS_OK;
    TRY(status);
    outbox->committed = standing.next_position - 1;
    memcpy(outbox->incarnation, standing.incarnation, sizeof outbox->incarnation);
    outbox->numbered = standing.next_number - 1;
    outbox->known_id = standing.known_id;
    return STATUS_OK;
}

static enum status write_standing(const struct outbox *outbox, struct db_txn *txn)
{
    struct outbox_standing standing = {
        .next_position = outbox->put + 1,
        .next_number = outbox->number + 1,
        .known_id = outbox->known_id,
    };
    memcpy(standing.incarnation, outbox->incarnation, sizeof standing.incarnation);
    return outbox_standing_write(txn, &standing);
}

/* The standing that names it is written with the first event that it numbers, in one transaction;
 * when that fails nothing has this name, and the next one begins with it again. */
static void begin_incarnation(struct outbox *outbox)
{
    random_fill(outbox->incarnation, sizeof outbox->incarnation);
    outbox->numbered = outbox->number = 0;
    outbox->is_own = true;
}

uint64_t outbox_waiting(const struct outbox *outbox)
{
    return outbox->committed - outbox->acknowledged;
}

bool outbox_has_room(const struct outbox *outbox, uint64_t count)
{
    return outbox->put - outbox->acknowledged + count <= OUTBOX_ROWS_MAX;
}

static bool is_released(const struct outbox *outbox)
{
    return outbox->question == OUTBOX_RELEASED;
}

/* Also when nothing else is to be written: which log it belongs to, once in the store's life. */
static bool has_to_commit(const struct outbox *outbox)
{
    return outbox->removed < outbox->acknowledged || outbox->witness.is_log_new;
}

static enum status put(struct outbox *outbox, struct db_txn *txn,
                       const struct event_append_request *event)
{
    if (!is_released(outbox) && !outbox->is_own && !outbox->options.is_newest)
        begin_incarnation(outbox);
    struct event_append_request item = *event;
    item.source = outbox->source;
    item.incarnation = span_of(outbox->incarnation, sizeof outbox->incarnation);
    item.source_number = outbox->number + 1;
    item.intent = "";
    buffer_clear(&outbox->row);
    fields_encode(method_event_append.request, &item, &outbox->row);
    if (outbox->row.is_exhausted)
        return log_failure(STATUS_INTERNAL, "put an event into the outbox", "type", event->type,
                           "reason", "it is too large");
    struct table_number position = table_number(outbox->put + 1);
    TRY(table_append(txn, outbox->options.table, table_number_key(&position),
                     buffer_span(&outbox->row)));
    outbox->put++;
    outbox->number++;
    outbox->is_dirty = true;
    return STATUS_OK;
}

enum status outbox_put(struct outbox *outbox, struct db_txn *txn,
                       const struct event_append_request *event)
{
    enum status status = put(outbox, txn, event);
    if (status != STATUS_OK && txn->status == STATUS_OK)
        txn->status = status;
    return status;
}

enum status outbox_finish_turn(struct outbox *outbox, struct db_txn *txn)
{
    outbox->removing = outbox->removed;
    while (outbox->removing < outbox->acknowledged) {
        struct table_number position = table_number(outbox->removing + 1);
        TRY(table_delete(txn, outbox->options.table, table_number_key(&position)));
        outbox->removing++;
    }
    bool is_changed =
        outbox->is_dirty || outbox->removing > outbox->removed || outbox->witness.is_log_new;
    enum status status = is_changed ? log_witness_write(&outbox->witness, txn) : STATUS_OK;
    return is_changed && status == STATUS_OK ? write_standing(outbox, txn) : status;
}

void outbox_turn_ended(struct outbox *outbox, bool was_committed)
{
    if (was_committed) {
        if (outbox->removing > outbox->removed) {
            fault_point("outbox.removed");
            outbox->removed = outbox->removing;
        }
        outbox->committed = outbox->put;
        outbox->numbered = outbox->number;
    }
    log_witness_turn_ended(&outbox->witness, was_committed);
    outbox->removing = outbox->removed;
    outbox->put = outbox->committed;
    outbox->number = outbox->numbered;
    outbox->is_dirty = false;
    send_next(outbox);
}

/* --- sending --- */

static void set_timer(struct outbox *outbox, struct ev_timer *timer, uint64_t delay_ms)
{
    ev_timer_stop(outbox->options.loop, timer);
    ev_timer_set(timer, (double)delay_ms / 1e3, 0);
    ev_timer_start(outbox->options.loop, timer);
}

static void fail(struct outbox *outbox, enum status status, const struct problem *problem)
{
    bool is_passing = rpc_effect_of(status) == RPC_UNKNOWN || status == STATUS_UNAVAILABLE ||
                      status == STATUS_RESOURCE_EXHAUSTED;
    const char *said =
        problem != NULL && problem->message[0] != '\0' ? problem->message : status_text(status);
    /* Once per reason: it is tried again for as long as it takes. */
    if (outbox->problem_state == OUTBOX_EMPTY || strcmp(outbox->reason, said) != 0)
        log_warning("events wait in the outbox", "status", status_name(status), "reason", said,
                    "waiting", NUMBER(outbox_waiting(outbox)));
    outbox->problem_state = is_passing ? OUTBOX_WAITING : OUTBOX_REFUSED;
    snprintf(outbox->reason, sizeof outbox->reason, "%s", said);
    uint64_t delay_ms = is_passing ? AGAIN_AFTER_FAILURE_MS : AGAIN_AFTER_REFUSAL_MS;
    if (problem != NULL && problem->retry_after_ms > delay_ms)
        delay_ms = problem->retry_after_ms;
    set_timer(outbox, &outbox->again, delay_ms);
}

static void on_reply(void *context, enum status status, const struct problem *problem,
                     const void *reply_)
{
    const struct event_append_batch_reply *reply = reply_;
    struct outbox *outbox = context;
    uint64_t last = outbox->sent;
    outbox->sent = outbox->acknowledged;
    if (status != STATUS_OK) {
        fail(outbox, status, problem);
        return;
    }
    fault_point("outbox.acknowledged");
    outbox->acknowledged_count += last - outbox->acknowledged;
    outbox->acknowledged = outbox->sent = last;
    if (reply->last_id > outbox->known_id)
        outbox->known_id = reply->last_id;
    log_witness_told(&outbox->witness, reply->anchor);
    if (outbox->problem_state != OUTBOX_EMPTY)
        log_info("events of the outbox reach the log again", "waiting",
                 NUMBER(outbox_waiting(outbox)));
    outbox->problem_state = OUTBOX_EMPTY;
    outbox->reason[0] = '\0';
    if (outbox->acknowledged - outbox->removed >= OUTBOX_BATCH_MAX)
        set_timer(outbox, &outbox->remove, 0);
    else if (!ev_is_active(&outbox->remove))
        set_timer(outbox, &outbox->remove, REMOVE_AFTER_MS);
    send_next(outbox);
}

/* --- how far is the log --- */

/* In order, so what stands before a number that the log has is there, too. */
static void pass_over_what_is_there(struct outbox *outbox)
{
    uint64_t last = outbox->last_in_log;
    uint64_t beyond = outbox->number_at_opening > last ? outbox->number_at_opening - last : 0;
    if (last > 0 && outbox->last_at_opening - beyond > outbox->acknowledged)
        outbox->acknowledged = outbox->sent = outbox->last_at_opening - beyond;
}

static void on_source(void *context, enum status status, const struct problem *problem,
                      const void *reply_)
{
    const struct event_source_reply *reply = reply_;
    struct outbox *outbox = context;
    ensure(outbox->question == OUTBOX_ASKING);
    if (status != STATUS_OK) {
        outbox->question = OUTBOX_HELD;
        fail(outbox, status, problem);
        return;
    }
    outbox->question = OUTBOX_COMPARING;
    outbox->last_in_log = reply->last;
    outbox->newest_id = reply->last_id > reply->others_id ? reply->last_id : reply->others_id;
    bool is_stranger = outbox->known_id > 0 && reply->last == 0 && reply->others_id == 0;
    outbox->is_foreign = !log_witness_meet(&outbox->witness, reply->log, is_stranger);
    uint64_t known_id = outbox->is_foreign ? 0 : outbox->known_id; /* of that log, or of another */
    outbox->is_older = reply->last > outbox->number_at_opening || reply->others_id > known_id;
    outbox->siblings_id = reply->siblings_id;
    if (reply->last > outbox->number_at_opening)
        log_warning("the log is further than the store: it is an older copy, put back", "dir",
                    outbox->options.db->dir, "log", NUMBER(reply->last), "store",
                    NUMBER(outbox->number_at_opening));
    outbox->problem_state = OUTBOX_EMPTY;
    if (outbox->options.compare != NULL)
        outbox->options.compare(outbox->options.compare_context, outbox->known_id);
    else
        outbox_release(outbox);
    log_witness_show(&outbox->witness);
}

static void ask(struct outbox *outbox)
{
    const struct event_source_request request = {
        .source = outbox->source,
        .incarnation = span_of(outbox->incarnation_at_opening, sizeof outbox->incarnation),
    };
    const struct rpc_call_options options = {
        .flags = RPC_RETRY,
        .timeout_ms = ANSWER_MS_MAX,
        .on_reply = on_source,
        .context = outbox,
    };
    outbox->question = OUTBOX_ASKING;
    enum status status =
        rpc_client_call(outbox->client, &method_event_source, &request, &options, NULL);
    if (status != STATUS_OK) {
        outbox->question = OUTBOX_HELD;
        fail(outbox, status, NULL);
    }
}

/* From now on the store is of the log that is there. */
static void adopt(struct outbox *outbox)
{
    outbox->is_foreign = false;
    outbox->known_id = outbox->newest_id;
    log_witness_adopt(&outbox->witness);
    set_timer(outbox, &outbox->remove, 0);
}

/* The numbers of a row that waited go on from what the other log has: this one, which was never
 * FORKED by it, would not take it. */
void outbox_take_over(struct outbox *outbox)
{
    uint64_t waiting = outbox->last_at_opening - outbox->acknowledged;
    if (waiting > 0)
        log_warning("events that waited for another log are given up", "dir",
                    outbox->options.db->dir, "events", NUMBER(waiting));
    outbox->acknowledged = outbox->sent = outbox->last_at_opening;
    log_witness_forget(&outbox->witness);
    if (!outbox->is_own)
        begin_incarnation(outbox);
    adopt(outbox);
}

void outbox_release(struct outbox *outbox)
{
    pass_over_what_is_there(outbox);
    if ((outbox->is_older || outbox->is_foreign) && !outbox->is_own)
        begin_incarnation(outbox);
    /* What the log has by now was compared: in another incarnation it is of others. */
    if (outbox->is_own && !outbox->is_foreign && outbox->newest_id > outbox->known_id)
        outbox->known_id = outbox->newest_id;
    outbox->question = OUTBOX_RELEASED;
    if (has_to_commit(outbox))
        set_timer(outbox, &outbox->remove, outbox->witness.is_log_new ? 0 : REMOVE_AFTER_MS);
    send_next(outbox);
}

/* Each batch is a commit of eventd, on the disk that the owner's next answer waits for: so few rows
 * go at once after a pause only. */
static bool is_paced(const struct outbox *outbox)
{
    return ev_is_active(&outbox->pace) && !ev_is_active(&outbox->flush) &&
           outbox_waiting(outbox) < OUTBOX_BATCH_MAX;
}

static void on_pace(struct ev_loop *loop, struct ev_timer *timer, int events)
{
    (void)loop, (void)events;
    send_next(timer->data);
}

static void send_next(struct outbox *outbox)
{
    if (outbox->client == NULL || !is_released(outbox) || !outbox->witness.is_shown ||
        outbox->witness.is_log_new || /* what a log has is of a store that knows which it is */
        outbox->sent > outbox->acknowledged || outbox->acknowledged == outbox->committed ||
        ev_is_active(&outbox->again) ||
        outbox->acknowledged - outbox->removed > OUTBOX_UNREMOVED_MAX || is_paced(outbox))
        return;
    size_t count;
    enum status status = outbox_batch_read(&outbox->batch, outbox->options.db,
                                           outbox->options.table, outbox->acknowledged + 1, &count);
    if (status == STATUS_OK) {
        const struct event_append_batch_request request = {
            .events = buffer_span(&outbox->batch.list),
        };
        const struct rpc_call_options options = {
            .flags = RPC_RETRY,
            .timeout_ms = ANSWER_MS_MAX,
            .on_reply = on_reply,
            .context = outbox,
        };
        outbox->sent = outbox->acknowledged + count;
        set_timer(outbox, &outbox->pace, PACE_MS);
        status =
            rpc_client_call(outbox->client, &method_event_append_batch, &request, &options, NULL);
    }
    outbox_batch_forget(&outbox->batch);
    if (status != STATUS_OK) {
        outbox->sent = outbox->acknowledged;
        fail(outbox, status, NULL);
        return;
    }
    fault_point("outbox.sent");
}

/* What has been asked is not asked twice: the owner compares once. */
static void go_on(struct outbox *outbox)
{
    if (outbox->question == OUTBOX_HELD)
        ask(outbox);
    else
        send_next(outbox);
}

static void on_again(struct ev_loop *loop, struct ev_timer *timer, int events)
{
    (void)loop, (void)events;
    go_on(timer->data);
}

static void on_remove(struct ev_loop *loop, struct ev_timer *timer, int events)
{
    (void)loop, (void)events;
    struct outbox *outbox = timer->data;
    if (has_to_commit(outbox))
        outbox->options.remove(outbox->options.context);
}

static void on_flush_over(struct ev_loop *loop, struct ev_timer *timer, int events)
{
    (void)loop, (void)timer, (void)events; /* that it is not active any more is all */
}

void outbox_flush(struct outbox *outbox)
{
    if (outbox->client == NULL || outbox_waiting(outbox) == 0)
        return;
    ev_timer_stop(outbox->options.loop, &outbox->again);
    outbox->problem_state = OUTBOX_EMPTY;
    set_timer(outbox, &outbox->flush, FLUSH_MS_MAX);
    go_on(outbox);
}

/* Nothing is sent before, and nothing to a log that is FORKED: it may be the wrong one, and the
 * right one would miss the numbers. */
static void on_agreed(void *context)
{
    struct outbox *outbox = context;
    if (outbox->is_foreign && is_released(outbox))
        adopt(outbox);
    ev_timer_stop(outbox->options.loop, &outbox->again);
    send_next(outbox);
}

static void on_connection(void *context, bool is_connected)
{
    struct outbox *outbox = context;
    outbox->is_connected = is_connected;
    log_witness_connected(&outbox->witness, outbox->client, is_connected);
}

/* --- opening --- */

/* Rows lie from the first that is there to the last that `meta` knows of, without gaps; the sender
 * would meet a gap between them. */
static enum status find_rows(struct outbox *outbox)
{
    AUTO(db_end) struct db_txn txn = { 0 };
    AUTO(table_cursor_close) struct table_cursor cursor = { 0 };
    struct span key, row;
    TRY(db_begin_read(outbox->options.db, &txn));
    TRY(log_witness_open(&outbox->witness, outbox->options.loop, &txn));
    outbox->witness.on_agreed = on_agreed;
    outbox->witness.context = outbox;
    TRY(read_standing(outbox, &txn));
    outbox->put = outbox->last_at_opening = outbox->committed;
    outbox->number = outbox->number_at_opening = outbox->numbered;
    memcpy(outbox->incarnation_at_opening, outbox->incarnation, sizeof outbox->incarnation);
    outbox->removed = outbox->committed;
    TRY(table_cursor_open(&txn, outbox->options.table, &cursor));
    enum status status = table_cursor_seek(&cursor, (struct span){ 0 }, &key, &row);
    if (status == STATUS_OK) {
        outbox->removed = table_number_value(key) - 1;
        TRY(table_cursor_last(&cursor, &key, &row));
    } else if (status != STATUS_NOT_FOUND) {
        return status;
    }
    uint64_t count;
    TRY(table_count(&txn, outbox->options.table, &count));
    if (outbox->committed - outbox->removed != count ||
        (status == STATUS_OK && table_number_value(key) != outbox->committed))
        return log_failure(STATUS_DATA_LOSS, "open the outbox", "dir", outbox->options.db->dir,
                           "rows", NUMBER(count), "expected",
                           NUMBER(outbox->committed - outbox->removed), "reason",
                           "a row is missing or extra");
    outbox->acknowledged = outbox->sent = outbox->removing = outbox->removed;
    return STATUS_OK;
}

static enum status client_open(struct outbox *outbox)
{
    const struct outbox_options *options = &outbox->options;
    const struct rpc_client_options client = {
        .path = options->eventd_path,
        .daemon = options->run_key.size > 0 ? options->daemon : NULL,
        .key = options->run_key,
        .on_connection = on_connection,
        .context = outbox,
    };
    return rpc_client_open(&outbox->client, options->loop, &client);
}

enum status outbox_open(struct outbox *outbox, const struct outbox_options *options)
{
    *outbox = (struct outbox){
        .options = *options,
        .row.limit = OUTBOX_ROW_BYTES_MAX,
    };
    char id[2 * sizeof options->db->identity.id + 1];
    snprintf(outbox->source, sizeof outbox->source, "%s/%s", options->daemon,
             hex_text(id, options->db->identity.id, sizeof options->db->identity.id));
    ev_timer_init(&outbox->again, on_again, 0, 0);
    ev_timer_init(&outbox->remove, on_remove, 0, 0);
    ev_timer_init(&outbox->flush, on_flush_over, 0, 0);
    ev_timer_init(&outbox->pace, on_pace, 0, 0);
    outbox->again.data = outbox->remove.data = outbox->pace.data = outbox;
    TRY(find_rows(outbox));
    TRY(client_open(outbox));
    ask(outbox);
    return STATUS_OK;
}

void outbox_close(struct outbox *outbox)
{
    if (outbox->options.loop != NULL) {
        ev_timer_stop(outbox->options.loop, &outbox->again);
        ev_timer_stop(outbox->options.loop, &outbox->remove);
        ev_timer_stop(outbox->options.loop, &outbox->flush);
        ev_timer_stop(outbox->options.loop, &outbox->pace);
    }
    log_witness_close(&outbox->witness);
    rpc_client_close(&outbox->client);
    buffer_close(&outbox->row);
    outbox_batch_close(&outbox->batch);
}
