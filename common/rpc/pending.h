#ifndef SOLO_COMMON_RPC_PENDING_H
#define SOLO_COMMON_RPC_PENDING_H

#include "common/rpc/client.h"

/* Where rpc_client_call_wait finds its answer. */
struct waiter {
    struct arena *arena;
    void *reply;
    struct problem *problem;
    enum status status;
    bool is_done;
};

/* A call that has no answer yet. */
struct pending_call {
    struct pending_call *next, *previous; /* in the order of calling */
    uint64_t handle;
    uint32_t msgid;
    const struct method *method;
    unsigned flags;
    double due; /* 0: no deadline */
    uint64_t timeout_ms;
    struct buffer frame; /* kept until it cannot be needed again */
    int file;            /* goes with it; -1 for none, or handed over */
    bool is_queued;      /* not handed to the connection yet */
    bool was_ever_sent;  /* over a connection that broke: it may have been carried out */
    uint64_t first_byte; /* its place in what the connection sends */
    rpc_on_reply on_reply;
    rpc_on_notify on_notify;
    void *context;
    struct waiter *waiter;
};

/* The calls of one client: found by msgid or handle through slots, kept in order in a list. */
struct pending {
    struct pending_call **slots;
    uint16_t *free_slots;
    size_t capacity, count;
    uint64_t serial; /* of the next call */
    struct pending_call *first;
    struct pending_call *queued; /* the first that is; all after it are, too */
};

/* resource_exhausted past CLIENT_PENDING_MAX and without memory. */
enum status pending_add(struct pending *pending, struct pending_call **call);
/* NULL when there is none. */
struct pending_call *pending_find(const struct pending *pending, uint64_t msgid);
struct pending_call *pending_find_handle(const struct pending *pending, uint64_t handle);
/* Calls made later have a higher one. */
uint64_t pending_serial(uint64_t handle);
/* The call is taken out but not freed. */
void pending_take(struct pending *pending, struct pending_call *call);
void pending_free(struct pending_call *call);
void pending_close(struct pending *pending);

#endif
