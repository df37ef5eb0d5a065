#ifndef SOLO_DEPLOYD_OPERATION_H
#define SOLO_DEPLOYD_OPERATION_H

#include "deployd/deployd.h"

/* One thing to be done with one service. Operations of a service run one after the other, in the
 * order in which they came; those of different services run side by side. A kill may run beside the
 * operation before it once that one is past its commit, so that it waits for nobody's grace.
 *
 * What happens to a service (an operation that begins, moves on or ends, a supervisor that is
 * ready) marks its queue. The marked queues are stepped by operations_step, once per turn of the
 * loop: so nothing is begun inside the end of something else, however many of them end at once.
 *
 *   queued ──► tenant ──► committing ──► supervisor ◄──► acting ──► done
 *     │                       ▲   │          ▲             │
 *     ├───────────────────────┘   │          └─recording ◄─┘ ──► done
 *     └──► supervisor             └──► done
 *
 * queued: others are before it. tenant: waits until tenant_created is in the log. committing: its
 * event is on the way to eventd; until then nothing has changed. supervisor: waits for a supervisor
 * that is ready (again). acting: the supervisor does it. recording: the failure is on the way to
 * eventd; a deploy then goes back to `supervisor` with the generation that the log wants instead.
 */
enum operation_state {
    OPERATION_QUEUED,
    OPERATION_TENANT,
    OPERATION_COMMITTING,
    OPERATION_SUPERVISOR,
    OPERATION_ACTING,
    OPERATION_RECORDING,
    OPERATION_DONE,
    OPERATION_STATES
};

enum operation_kind {
    OPERATION_DEPLOY,
    OPERATION_KILL,
    OPERATION_RESTART,
    OPERATION_START, /* what the log wants: reconciling and recovery */
    OPERATION_STOP,  /* what the log does not want: the same */
};

struct operation {
    struct operation *next; /* of the same service */
    struct deployd *owner;
    struct service *service;
    struct rpc_call *call; /* NULL: nobody waits for the answer */
    enum operation_kind kind;
    enum operation_state state;
    struct ev_timer timer; /* how long it may wait for a supervisor */

    struct uuid request_id;
    bool has_request_id; /* the caller's own: then it may be a repeat */
    struct hash body_hash;
    bool is_repeat; /* it was committed before */
    bool wait, only_if_changed, is_unchanged, is_forced;
    uint64_t if_event;

    struct span spec; /* canonical, owned; only until it is in the log */
    struct hash spec_hash;
    uint64_t event_id;          /* of service_deployed or service_killed */
    uint64_t generation, since; /* being started, or to be stopped; for kill what ran */
    bool is_falling_back;
    bool is_discarding; /* a first deploy that failed: its supervisor shall forget it */
    bool is_reconcile;  /* counted in reconcile.running */
    bool is_recovery;   /* came by recovery.act */
    uint64_t recovery_id;
    unsigned attempts; /* times that the supervisor was asked */

    struct problem problem; /* the refusal that the caller will get */
    /* recovery.act's answer, and what is recorded of a failed start */
    const char *result;
    char code[40];
    char reason[REASON_BYTES_MAX + 1];
};

/* A new operation on a service, which exists for as long as one refers to it. Not queued yet. NULL
 * with the problem filled when the service's queue is full or memory runs out. */
struct operation *operation_new(struct deployd *deployd, struct service *service,
                                enum operation_kind kind, struct problem *problem);
/* Puts it at the end of its service's queue, which is marked. Owns it from now on. */
void operation_begin(struct operation *operation);
/* One that was never begun. */
void operation_free(struct operation *operation);

/* Takes the caller's request over; the call is deferred and answered when it is done. */
void operation_for_call(struct operation *operation, struct rpc_call *call);

/* Steps the queue that was marked first; false when none is marked. */
bool operations_step(struct deployd *deployd);

/* Events of a tenant's supervisor and of the tenant's creation. */
void operations_supervisor_ready(struct tenant *tenant);
void operations_supervisor_lost(struct tenant *tenant);
void operations_tenant_created(struct tenant *tenant);
void operations_tenant_refused(struct tenant *tenant, const struct problem *problem);

/* Used by operation_commit.c and operation_act.c, which decide what comes next: */
bool operation_may_move(enum operation_state from, enum operation_state to);
void operation_move(struct operation *operation, enum operation_state state);
/* Answers the caller and frees the operation. Begins nothing. */
void operation_end(struct operation *operation, enum status status);

/* For SIGTERM and system.drain: what is still queued is refused with the problem; what runs goes
 * on. */
void operations_refuse_queued(struct deployd *deployd, const struct problem *problem);

/* At the very end: forgets them all, answering nobody. */
void operations_close(struct deployd *deployd);

#endif
