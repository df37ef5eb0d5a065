#ifndef SOLO_TOKEND_METHODS_H
#define SOLO_TOKEND_METHODS_H

#include "common/access/resource_watch.h"
#include "common/rpc/server.h"
#include "tokend/sweep.h"
#include "tokend/token_store.h"

/* What tokend answers, and the turn around it. */
struct tokend {
    struct token_store store;
    struct sweep sweep;
    struct resource_watch resources;
    struct buffer items, list; /* of the answer that is being made */
    bool is_damaged;           /* the store was not opened: everything is data_loss */
    bool is_unsound;           /* it is open, and not whole: revoking goes on */
    bool is_persistent;        /* token_persistence_enabled */
    bool is_replaced;          /* the store is new, and the log tells of another one */
};

/* Fills routes, context and the turn's callbacks; the caller adds authorise and access. */
void tokend_service(struct tokend *tokend, struct rpc_service *service);
/* A row of the store is not what was written: it is said, and nothing is swept any more. Takes a
 * struct tokend; once is enough. */
void tokend_note_damage(void *context);
/* Stops the sweep, closes the store; a zeroed one is fine. */
void tokend_close(struct tokend *tokend);

/* Counters for daemon.stats. */
void tokend_write_counters(void *context, struct buffer *buffer);

#endif
