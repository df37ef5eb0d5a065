#ifndef SOLO_COMMON_OUTBOX_LOG_WITNESS_H
#define SOLO_COMMON_OUTBOX_LOG_WITNESS_H

#include "common/db/db.h"
#include "common/rpc/client.h"

/* What a store remembers of the log: the anchor that eventd gave its owner last (event.anchor). It
 * goes into `meta` with a commit that is made anyway, and is shown to every eventd that is met, so
 * that one with an older copy of the log, or without its end, is told so. Only one that has not
 * contradicted it gives a newer one. To us an anchor is bytes. */

enum { LOG_ANCHOR_KEPT_BYTES_MAX = 64 };

struct log_witness {
    struct ev_loop *loop;
    struct rpc_client *client;
    uint8_t bytes[LOG_ANCHOR_KEPT_BYTES_MAX];
    size_t size;
    bool is_new;     /* not in the store yet */
    bool is_writing; /* by the turn that is open */
    bool is_connected;
    bool is_shown; /* to the eventd that we are connected to, which agreed */
    struct ev_timer show;
};

/* For other readers of the store too: empty when there is none. It points into the transaction. */
enum status log_witness_anchor(struct db_txn *txn, struct span *anchor);

enum status log_witness_open(struct log_witness *witness, struct ev_loop *loop, struct db_txn *txn);
void log_witness_close(struct log_witness *witness);

/* From the client's on_connection. */
void log_witness_connected(struct log_witness *witness, struct rpc_client *client,
                           bool is_connected);
/* eventd gave one with an answer. */
void log_witness_told(struct log_witness *witness, struct span anchor);

/* Within a turn of the owner that writes; and after its commit or abort. */
enum status log_witness_write(struct log_witness *witness, struct db_txn *txn);
void log_witness_turn_ended(struct log_witness *witness, bool was_committed);

#endif
