#ifndef SOLO_DEPLOYD_OPERATION_H
#define SOLO_DEPLOYD_OPERATION_H

#include "deployd/deployd.h"

/* One thing to be done with one service. Operations of a service run one after the other, in the
 * order in which they came; those of different services run side by side. A kill may run beside the
 * operations before it once they are past their commit, so that it waits for nobody's grace, and a
 * deploy or restart beside one that only waits until its program is ready.
 *
 * This is what all parts of its life share; operation_queue.h says who is next, operation_commit.c
 * what happens until its event is in the log, operation_act.c and operation_start.c what is asked
 * of the supervisor then, operation_failure.h what follows when that fails, operation_outcome.h how
 * it ends.
 *
 *   queued ──► tenant ──► committing ──► supervisor ◄──► acting ──► done
 *     │                       ▲   │          ▲             │
 *     ├───────────────────────┘   │          └─recording ◄─┘ ──► done
 *     └──► supervisor             └──► done            acting ──► reporting ──► done, supervisor
 *
 * With a build: queued or tenant ──► supervisor ◄──► building ──► committing, and before it is
 * started supervisor ◄──► building ──► recording once more: what was built may have been removed.
 *
 * A restart on secrets of what runs, or a deploy that replaces it: secrets before committing.
 *
 * queued: others are before it. secrets: vaultd is asked whether it can give them; if not,
 * what runs goes on, and nothing has changed. tenant: waits until tenant_created is in the log.
 * committing: its event is on the way to eventd; until then nothing has changed. supervisor: waits
 * for a supervisor that is ready (again). building: the supervisor has it built; before its commit
 * nothing has changed, and a kill ends it. acting: the supervisor does it. reporting: the program
 * of a deploy or restart runs, and the report of it is on the way into the log; so what was
 * acknowledged has run by the log, too, and a later recovery that cannot start it does not take it
 * for a deploy that failed. recording: the failure is on the way to eventd; where the log falls
 * back it then goes back to `supervisor` with the generation that the log wants instead, and once
 * more to `recording` if that one cannot be started either.
 */
enum {
    SUPERVISOR_WAIT_MS_MAX = 10 * 1000,  /* for one that is ready */
    SUPERVISOR_ACT_MS_MAX = 3660 * 1000, /* the longest grace that a spec can ask for, and more */
    SUPERVISOR_ATTEMPTS_MAX = 3,
    REPORTING_MS_MAX = 20 * 1000, /* for eventd to take the report */
};

enum operation_state {
    OPERATION_QUEUED,
    OPERATION_TENANT,
    OPERATION_SECRETS,
    OPERATION_COMMITTING,
    OPERATION_SUPERVISOR,
    OPERATION_BUILDING,
    OPERATION_ACTING,
    OPERATION_REPORTING,
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

/* What its failed start leads to, one after the other (operation_failure.h). */
enum operation_fallback {
    FALLBACK_NONE,    /* it has not failed, or stays wanted */
    FALLBACK_RECORD,  /* service_deployment_failed is recorded */
    FALLBACK_START,   /* then the generation that the log wants again is started, */
    FALLBACK_DISCARD, /* or there was none: its supervisor shall forget the first one */
    FALLBACK_FAILED,  /* that one cannot be started either, which is recorded, too */
};

struct operation {
    struct operation *next; /* of the same service */
    struct deployd *owner;
    struct service *service;
    struct rpc_call *call;    /* NULL: nobody waits for the answer */
    enum operation_kind kind; /* what was asked for; never changes */
    enum operation_state state;
    struct ev_timer timer; /* how long it may wait for a supervisor */

    struct uuid request_id;
    bool has_request_id; /* the caller's own: then it may be a repeat */
    struct hash body_hash;
    bool is_repeat; /* it was committed before */
    bool wait, only_if_changed, is_unchanged, is_forced;
    bool is_killed;    /* before it was committed: it will not be */
    bool is_overtaken; /* after that, by another event: `result` is what the log says of it */
    uint64_t if_event;

    struct span spec; /* canonical, owned; only until it is in the log */
    struct hash spec_hash;
    uint64_t event_id;          /* of service_deployed, _killed or _restart_requested */
    uint64_t generation, since; /* being started, or to be stopped; for kill what ran */
    uint64_t report;            /* number of its supervisor's report that it runs */
    bool is_prepared;           /* folder and cgroup were made while the log had it */
    bool is_built;              /* its artefact was there when its supervisor was asked last */
    enum operation_fallback fallback;
    bool is_recovery; /* came by recovery.act */
    bool is_retry;    /* it failed for a cause that passes, and is tried again */
    bool is_passing;  /* it has failed for such a cause */
    uint64_t recovery_id;
    unsigned attempts; /* times that the supervisor was asked */
    /* Who began it is told of its end; NULL for nobody. It still is in the struct, in no queue. */
    void (*on_end)(const struct operation *operation, enum status status);

    void (*on_secrets)(struct operation *operation); /* when they can be had */

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
/* One that was never begun. */
void operation_free(struct operation *operation);

/* Takes the caller's request over; the call is deferred and answered when it is done. */
void operation_for_call(struct operation *operation, struct rpc_call *call);

/* A deploy whose event is not in the log: it may be refused, and nothing has changed. */
bool operation_is_uncommitted(const struct operation *operation);

bool operation_may_move(enum operation_state from, enum operation_state to);
void operation_move(struct operation *operation, enum operation_state state);
/* Answers the caller and tells on_end, unless that was done, and frees the operation. Begins
 * nothing, but notes what the service needs that was left alone because this one was at it
 * (catalog_look). */
void operation_end(struct operation *operation, enum status status);

/* Answers the caller and tells on_end, who wait for nothing any more; the operation goes on. */
void operation_answer(struct operation *operation, enum status status);

/* Moves to `supervisor`: goes on in the queue's next step if it is ready, else when it is. */
void operation_await_supervisor(struct operation *operation);
/* The connection broke: nothing is known of the request. */
bool operation_is_broken(enum status status);
/* After each request to the supervisor: counts it, and goes on when it could not be sent. */
void operation_asked(struct operation *operation, enum status status);

#endif
