/* The normal path: connected, shown, agreed; from then on each answer of eventd brings a newer
 * anchor, and the owner's next commit keeps it. */
#include "common/outbox/log_witness.h"

#include <string.h>

#include "common/api/api.h"
#include "common/base/log.h"

enum { ANSWER_MS_MAX = 30 * 1000, AGAIN_MS = 10 * 1000 };

static const char anchor_key[] = "log.anchor";

enum status log_witness_anchor(struct db_txn *txn, struct span *anchor)
{
    *anchor = (struct span){ 0 };
    enum status status = db_meta_get(txn, anchor_key, anchor);
    if (status != STATUS_NOT_FOUND)
        TRY(status);
    if (anchor->size > LOG_ANCHOR_KEPT_BYTES_MAX)
        return log_failure(STATUS_DATA_LOSS, "read the log's anchor", "dir", txn->db->dir, "reason",
                           "not the form of its row in meta");
    return STATUS_OK;
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
        log_warning("eventd did not compare the log with what this store knows of it", "reason",
                    problem == NULL ? status_text(status) : problem->message);
        show_in(witness, AGAIN_MS);
        return;
    }
    witness->is_shown = witness->is_connected && !reply->is_forked;
    keep(witness, reply->anchor);
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
    witness->is_shown = false;
    if (is_connected)
        show_in(witness, 0); /* not from inside the client */
    else
        ev_timer_stop(witness->loop, &witness->show);
}

void log_witness_told(struct log_witness *witness, struct span anchor)
{
    if (witness->is_shown)
        keep(witness, anchor);
}

/* --- keeping --- */

enum status log_witness_write(struct log_witness *witness, struct db_txn *txn)
{
    witness->is_writing = witness->is_new;
    return witness->is_new ? db_meta_put(txn, anchor_key, span_of(witness->bytes, witness->size))
                           : STATUS_OK;
}

void log_witness_turn_ended(struct log_witness *witness, bool was_committed)
{
    if (was_committed && witness->is_writing)
        witness->is_new = false;
    witness->is_writing = false;
}

enum status log_witness_open(struct log_witness *witness, struct ev_loop *loop, struct db_txn *txn)
{
    struct span anchor;
    *witness = (struct log_witness){ .loop = loop };
    ev_timer_init(&witness->show, on_show, 0, 0);
    witness->show.data = witness;
    TRY(log_witness_anchor(txn, &anchor));
    keep(witness, anchor);
    witness->is_new = false;
    return STATUS_OK;
}

void log_witness_close(struct log_witness *witness)
{
    if (witness->loop != NULL)
        ev_timer_stop(witness->loop, &witness->show);
}
