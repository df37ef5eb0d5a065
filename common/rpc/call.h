#ifndef SOLO_COMMON_RPC_CALL_H
#define SOLO_COMMON_RPC_CALL_H

#include "common/rpc/connection.h"

/* What the server keeps beside a struct rpc_call. */
struct call_entry {
    struct rpc_call call;
    struct rpc_server *server;          /* NULL when it has closed */
    struct call_entry *next, *previous; /* connection->calls or server->orphans */
    void (*on_drained)(struct rpc_call *call);
    struct share *share; /* of server->deferred, while it is */
    bool is_deferred, is_answered, is_running;
    bool is_unauthorised;  /* see rpc_call_authorise_later */
    struct buffer request; /* its params, while that is so */
    int given;             /* goes out with the answer; -1: nothing */
    bool is_in_batch; /* its handler ran inside the turn's transaction: answered after the commit */
};

/* A zeroed entry for one request; NULL without memory. */
struct call_entry *call_take(struct rpc_connection *connection, uint64_t msgid);
/* A deferred call is run after all: as if its handler were on the stack. */
void call_run_again(struct call_entry *entry);
/* What the handler returned: answers, or leaves a deferred call open. The entry is not the caller's
 * any more. */
void call_settle(struct call_entry *entry, enum status status, const void *reply);
/* The connection of this call has gone. */
void call_orphan(struct call_entry *entry);
/* The server of this orphan has gone. */
void call_outlive(struct call_entry *entry);

#endif
