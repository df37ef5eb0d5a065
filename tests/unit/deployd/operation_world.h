#ifndef SOLO_TESTS_UNIT_DEPLOYD_OPERATION_WORLD_H
#define SOLO_TESTS_UNIT_DEPLOYD_OPERATION_WORLD_H

#include "common/api/event_types.h"
#include "deployd/deployd.h"
#include "deployd/operation.h"

/* What surrounds an operation, played: a log of one service acme/api that folds like the real one,
 * a supervisor that answers when the test says so, and callers whose answers are kept. */

enum { ASKED_MAX = 16, CALLERS_MAX = OPERATIONS_QUEUED_MAX + 8 };

/* Something that the operation asked for and that waits for the test's answer. */
struct asked {
    char what[40];       /* event type, or method of the supervisor */
    uint64_t generation; /* in its payload or request */
    uint64_t since, cause_id;
    char cause[16];
    bool is_parked;                              /* to be held as it was, and not started */
    char code[40], reason[REASON_BYTES_MAX + 1]; /* in its payload */
    bool has_grace;
    uint64_t trial_ended; /* by the same batch, before it; 0: it is no batch */
    struct uuid request_id;
    rpc_on_reply on_reply;
    void *context;
};

struct answer {
    bool is_there;
    enum status status;
    struct problem problem;
    union {
        struct service_deploy_reply deploy;
        struct service_kill_reply kill;
        struct service_restart_reply restart;
        struct recovery_act_reply act;
    } reply;
    char texts[2][REASON_BYTES_MAX + 1]; /* state, or result and code */
};

extern struct world {
    struct deployd deployd;
    struct tenant *tenant;
    struct service *service;
    /* the log */
    uint64_t last_event;
    struct live_row live;
    bool log_is_unreadable;
    struct request_record repeat; /* what the next request_id stands for, */
    struct hash repeat_body;      /* and with which body; all zero: that of the request */
    struct generation_outcome outcome;
    uint64_t report;      /* that the next start is answered with */
    bool has_run;         /* the generation that is asked about */
    uint64_t started_for; /* event that the newest start names */
    /* what is admitted */
    bool program_is_missing;
    bool has_build; /* specs have one from now on */
    bool has_secrets;
    /* what waits for an answer */
    struct asked asked[ASKED_MAX];
    size_t asked_count;
    unsigned reconciled, tenants_asked, supervisors_needed, boots, recoveries_failed;
    unsigned prepared;   /* times that a supervisor was told of a deploy that is being recorded */
    unsigned taken_back; /* times that it was told that it had not been */
    unsigned long_turns; /* that left something to the next one */
    struct {
        const char *state;
        uint64_t generation, since;
    } row_sent; /* that the supervisor tells */
    struct rpc_call calls[CALLERS_MAX];
    struct answer answers[CALLERS_MAX];
    size_t call_count;
} world;

/* What deployd looks at of a spec: whether there is a build. */
struct span world_spec(void);

void world_open(void);
void world_close(void);

/* Everything that deployd does by itself at the end of a turn of its loop. Whatever the test
 * answers or begins by way of this world is followed by it. */
void world_turn(void);
void world_begin(struct operation *operation);

/* A new operation with a caller; begun. Its answer comes to world.answers[the index returned]. */
size_t world_ask(enum operation_kind kind);
/* The same, prepared by the test before it begins. */
size_t world_prepare(enum operation_kind kind, struct operation **operation);

/* The oldest thing that was asked for and not answered; the test fails unless it is `what`. */
struct asked world_take(const char *what);
void world_nothing_asked(void);

/* Answers of the log: appended and folded, or refused. Of a batch the number of the last. */
uint64_t world_append(const char *type);
void world_append_fails(const char *type, enum status status);
/* Answers of the supervisor. `state` running holds a process. */
void world_starts(const char *state);
void world_start_fails(enum status status, const char *message);
void world_stops(enum status status);
void world_restarts(enum status status);
void world_builds(enum status status, const char *message);

/* The supervisor's state, as supervisors.c would tell it. */
void world_supervisor_ready(void);
void world_supervisor_lost(void);
/* As after a deploy that went well: generation `generation` is wanted, held and runs. */
void world_runs(uint64_t generation, const char *spec);
/* The supervisor tells that it holds this generation so; `starting` has a process. */
void world_tells(const char *state, uint64_t generation);

#endif
