/* The normal path: connected, the log is known, shown, agreed; from then on each answer of eventd
 * brings a newer anchor, and the owner's next commit keeps it. */
#include "common/outbox/log_witness.h"

#include <string.h>

#include "common/api/api.h"
#include "common/base/log.h"

enum { ANSWER_MS_MAX = 30 * 1000, AGAIN_MS = 10 * 1000 };

static const char anchor_key[] = "log.anchor";
static const char log_key[] = "log.id";

static enum status read_row(struct db_txn *txn, const char *key, struct span *row)
{
    *row = (struct span){ 0 };
    enum status status = db_meta_get(txn, key, row);
    return status == STATUS_NOT_FOUND ? STATUS_OK : status;
}

static enum status damaged(const struct db_txn *txn, const char *what)
{
    return log_failure(STATUS_DATA_LOSS, what, "dir", txn->db->dir, "reason",
                       "not the form of its row in meta");
}

enum status log_witness_anchor(struct db_txn *txn, struct span *anchor)
{
    TRY(read_row(txn, anchor_key, anchor));
    return anchor->size <= LOG_ANCHOR_KEPT_BYTES_MAX ? STATUS_OK
                                                     : damaged(txn, "read the log's anchor");
}

enum status log_witness_log(struct db_txn *txn, struct span *log)
{
    TRY(read_row(txn, log_key, log));
    return log->size == 0 || log->size == LOG_ID_BYTES ? STATUS_OK
                                                       : damaged(txn, "read which log was met");
}

/* --- which log it is --- */

void log_witness_adopt(struct log_witness *witness)
{
    memcpy(witness->log, witness->met, sizeof witness->log);
    witness->has_log = witness->is_log_new = true;
}

static bool is_of_met(const struct log_witness *witness)
{
    return memcmp(witness->log, witness->met, sizeof witness->log) == 0;
}

bool log_witness_meet(struct log_witness *witness, struct span log, bool is_stranger)
{
    if (log.size != LOG_ID_BYTES)
        return true; /* an eventd from before logs told their ids */
    memcpy(witness->met, log.data, sizeof witness->met);
    if (!witness->has_log && !is_stranger)
        log_witness_adopt(witness);
    return witness->has_log && is_of_met(witness);
}

void log_witness_forget(struct log_witness *witness)
{
    witness->size = 0;
    witness->is_new = true;
}

static void keep(struct log_witness *witness, struct span anchor)
{
    if (anchor.size == 0 || anchor.size > sizeof witness->bytes)
        return;
    memcpy(witness->bytes, anchor.data, anchor.size);
    witness->size = anchor.size;
    witness->is_new = true;
}

/* --- showing --- */

static void show_in(struct log_witness *witness, uint64_t delay_ms)
{
    ev_timer_stop(witness->loop, &witness->show);
    ev_timer_set(&witness->show, (double)delay_ms / 1e3, 0);
    ev_timer_start(witness->loop, &witness->show);
}

static void on_reply(void *context, enum status status, const struct problem *problem,
                     const void *reply_)
{
    const struct event_anchor_reply *reply = reply_;
    struct log_witness *witness = context;
    if (status != STATUS_OK) {
        if (!witness->is_connected)
            return; /* the next connection shows it */
        witness->is_refused = true;
        log_warning("eventd did not compare the log with what this store knows of it", "reason",
                    problem == NULL ? status_text(status) : problem->message);
        show_in(witness, AGAIN_MS);
        return;
    }
    if (!witness->is_connected)
        return;
    witness->is_refused = reply->is_forked;
    witness->is_shown = !witness->is_refused;
    if (witness->is_refused) {
        show_in(witness, AGAIN_MS); /* until it is resolved */
        return;
    }
    witness->on_agreed(witness->context);
    log_witness_told(witness, reply->anchor);
}

static void on_show(struct ev_loop *loop, struct ev_timer *timer, int events)
{
    (void)loop, (void)events;
    struct log_witness *witness = timer->data;
    const struct event_anchor_request request = {
        .anchor = span_of(witness->bytes, witness->size),
    };
    const struct rpc_call_options options = {
        .timeout_ms = ANSWER_MS_MAX,
        .on_reply = on_reply,
        .context = witness,
    };
    if (rpc_client_call(witness->client, &method_event_anchor, &request, &options, NULL) !=
        STATUS_OK)
        show_in(witness, AGAIN_MS);
}

void log_witness_connected(struct log_witness *witness, struct rpc_client *client,
                           bool is_connected)
{
    witness->client = client;
    witness->is_connected = is_connected;
    witness->is_shown = witness->is_refused = false;
    if (is_connected && witness->may_show)
        show_in(witness, 0); /* not from inside the client */
    else
        ev_timer_stop(witness->loop, &witness->show);
}

void log_witness_show(struct log_witness *witness)
{
    witness->may_show = true;
    if (witness->is_connected)
        show_in(witness, 0);
}

void log_witness_told(struct log_witness *witness, struct span anchor)
{
    if (witness->is_shown && is_of_met(witness))
        keep(witness, anchor);
}

/* --- keeping --- */

enum status log_witness_write(struct log_witness *witness, struct db_txn *txn)
{
    witness->is_writing = witness->is_new;
    witness->is_log_writing = witness->is_log_new;
    if (witness->is_log_new)
        TRY(db_meta_put(txn, log_key, span_of(witness->log, sizeof witness->log)));
    return witness->is_new ? db_meta_put(txn, anchor_key, span_of(witness->bytes, witness->size))
                           : STATUS_OK;
}

void log_witness_turn_ended(struct log_witness *witness, bool was_committed)
{
    if (was_committed && witness->is_writing)
        witness->is_new = false;
    if (was_committed && witness->is_log_writing)
        witness->is_log_new = false;
    witness->is_writing = witness->is_log_writing = false;
}

enum status log_witness_open(struct log_witness *witness, struct ev_loop *loop, struct db_txn *txn)
{
    struct span anchor, log;
    *witness = (struct log_witness){ .loop = loop };
    ev_timer_init(&witness->show, on_show, 0, 0);
    witness->show.data = witness;
    TRY(log_witness_anchor(txn, &anchor));
    keep(witness, anchor);
    witness->is_new = false;
    TRY(log_witness_log(txn, &log));
    witness->has_log = log.size > 0;
    if (witness->has_log)
        memcpy(witness->log, log.data, sizeof witness->log);
    return STATUS_OK;
}

void log_witness_close(struct log_witness *witness)
{
    if (witness->loop != NULL)
        ev_timer_stop(witness->loop, &witness->show);
}
