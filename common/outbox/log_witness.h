#ifndef SOLO_COMMON_OUTBOX_LOG_WITNESS_H
#define SOLO_COMMON_OUTBOX_LOG_WITNESS_H

#include "common/db/db.h"
#include "common/rpc/client.h"

/* What a store remembers of the log: which one it was, and the anchor that eventd gave its owner
 * last (event.anchor). Both go into `meta` with a commit that is made anyway. The anchor is shown
 * to every eventd that is met, so that one with an older copy of the log, or without its end, is
 * told so. Only one that has not contradicted it gives a newer one. To us an anchor is bytes. */

enum { LOG_ANCHOR_KEPT_BYTES_MAX = 64, LOG_ID_BYTES = 16 };

struct log_witness {
    struct ev_loop *loop;
    struct rpc_client *client;
    uint8_t bytes[LOG_ANCHOR_KEPT_BYTES_MAX];
    size_t size;
    bool is_new;               /* not in the store yet */
    bool is_writing;           /* by the turn that is open */
    uint8_t log[LOG_ID_BYTES]; /* that the store knows, or met first */
    uint8_t met[LOG_ID_BYTES]; /* of the eventd that was asked */
    bool has_log;
    bool is_log_new, is_log_writing; /* as for the anchor */
    bool may_show;                   /* the log that was met is known */
    bool is_connected;
    bool is_shown;   /* to the eventd that we are connected to, which agreed */
    bool is_refused; /* it did not agree, when it was shown last */
    struct ev_timer show;
    void (*on_agreed)(void *context); /* each time, then; set it after opening */
    void *context;
};

/* For other readers of the store too: empty when there is none. It points into the transaction. */
enum status log_witness_anchor(struct db_txn *txn, struct span *anchor);
/* The log that the store belongs to, likewise: empty when it has met none. */
enum status log_witness_log(struct db_txn *txn, struct span *log);

enum status log_witness_open(struct log_witness *witness, struct ev_loop *loop, struct db_txn *txn);
void log_witness_close(struct log_witness *witness);

/* From the client's on_connection. */
void log_witness_connected(struct log_witness *witness, struct rpc_client *client,
                           bool is_connected);
/* eventd said which log it has. False: the store belongs to another one. The first is remembered,
 * unless it is a stranger: a log has taken events of the store, and this one has none. */
bool log_witness_meet(struct log_witness *witness, struct span log, bool is_stranger);
/* The store belongs to the log that was met, from now on. */
void log_witness_adopt(struct log_witness *witness);
/* The anchor is of another log, and says nothing about this one. */
void log_witness_forget(struct log_witness *witness);
/* After that was decided: eventd is shown the anchor, now and whenever it is met again. */
void log_witness_show(struct log_witness *witness);
/* eventd gave one with an answer. */
void log_witness_told(struct log_witness *witness, struct span anchor);

/* Within a turn of the owner that writes; and after its commit or abort. */
enum status log_witness_write(struct log_witness *witness, struct db_txn *txn);
void log_witness_turn_ended(struct log_witness *witness, bool was_committed);

#endif
