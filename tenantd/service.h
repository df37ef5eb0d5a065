#ifndef SOLO_TENANTD_SERVICE_H
#define SOLO_TENANTD_SERVICE_H

#include <ev.h>

#include "common/api/service_states.h"
#include "common/base/hash.h"
#include "common/base/limits.h"
#include "common/base/name.h"
#include "common/rpc/server.h"
#include "tenantd/capture.h"
#include "tenantd/credentials.h"
#include "tenantd/endings.h"
#include "tenantd/launch.h"
#include "tenantd/restart.h"
#include "tenantd/usage.h"

/* Names are chosen by tenants: they are hashed with a key of our own. */
#define HASH_FUNCTION(key, size, hash) ((hash) = service_name_hash(key, size))
unsigned service_name_hash(const void *key, size_t size);
/* Without memory a service stays out of the table; the supervisor must not end for it. */
#define HASH_NONFATAL_OOM            1
#define uthash_nonfatal_oom(element) ((element)->is_left_out = true)
#include <uthash.h>

struct supervisor;
struct service_readiness;

/* Why a process is started: decides what the report of it is called. */
enum start_cause {
    START_DEPLOY,
    START_FALLBACK,
    START_RECOVER,
    START_RESTART,
    START_RECONCILE,
    START_AFTER_CRASH
};

/* Why it is stopped. */
enum stop_cause { STOP_KILL, STOP_REPLACE, STOP_SHUTDOWN, STOP_RECOVER, STOP_RESTART };

/* What a call wants started, from its arrival until its service has become it. */
struct start_order {
    uint64_t generation, since, cause_id;
    enum start_cause cause;
    struct hash spec_hash;
    bool is_on_trial;
    struct span parked;           /* a service_row, owned: it is held as that says */
    struct launch *launch;        /* NULL: what is held already */
    struct rpc_call *calls;       /* that wait until it is exec'd, linked by `user` */
    struct rpc_call *ready_calls; /* that wait until it is ready */
};

/* One exit, packed as an exit_row. */
struct past_exit {
    size_t size;
    uint8_t packed[];
};

/* One service: at most one process tree at any time. See service_step for the states. */
struct service {
    struct supervisor *supervisor;
    UT_hash_handle by_name, by_pid;
    bool is_left_out; /* of the table that it was last added to */
    struct service *previous_changed, *next_changed;
    bool is_changed; /* its row has to be sent to the watch */
    char name[NAME_BYTES_MAX + 1];

    uint64_t generation, since, cause_id;
    struct hash spec_hash;
    struct launch *launch;
    enum service_state state;
    char reason[REASON_BYTES_MAX];

    /* the process */
    pid_t pid;      /* 0 when there is none; otherwise our child, not reaped yet */
    pid_t session;  /* that the last one led */
    uint64_t nonce; /* of its mark */
    uint64_t host_pid, start_ticks, started_wall_ns, started_boot_ns;
    struct capture capture;

    /* its secrets: service_secrets.h */
    uint64_t secret_request; /* what a delivery must name; 0: it waits for none */
    bool has_secrets;        /* they came, for the next process */
    bool is_withheld;        /* and were refused; it still waits */
    struct credentials credentials;

    /* what follows its end */
    struct ending ending;        /* of the rest of its tree */
    int exit_status;             /* of waitpid */
    uint64_t resident_bytes_max; /* of the process that has ended, or one that it waited for */
    uint64_t ran_ns;
    struct limits_breach breach;         /* what limits had to do with the last exit */
    uint64_t breaches;                   /* exits for a limit, since it was last ordered to start */
    char last_breach[BREACH_TEXT_BYTES]; /* the newest of them, "" for none */
    struct usage usage;
    struct past_exit *exits[EXITS_KEPT]; /* newest first */
    struct service_readiness *readiness; /* while it is being watched; NULL otherwise */
    bool is_on_trial; /* never was ready: if it does not become so it fails, whatever its policy */
    uint64_t told_ns; /* when it last told how it is */
    struct restart_history history;
    uint64_t restarts; /* by policy, since it was last started on request */
    enum start_cause start_cause;
    uint64_t start_report; /* that told of the newest start, 0 for none */
    bool owes_restarted;   /* a crash was reported, the first restart after it was not */

    /* what has been asked for */
    struct start_order *order;    /* comes when it has stopped */
    struct rpc_call *start_calls; /* wait for the process of this generation */
    struct rpc_call *ready_calls; /* wait until it is ready */
    struct rpc_call *stop_calls;
    bool is_stop_wanted;
    bool was_running_at_stop;
    bool was_killed;
    enum stop_cause stop_cause;
    uint64_t stop_cause_id;
    uint64_t stop_grace_ms;

    struct ev_timer timer; /* the end of a grace or of a backoff */
    bool is_due;           /* it has fired */
    uint64_t due_wall_ns;  /* for its row only */
};

/* Makes a service in the supervisor's tables, in state starting, with an order that is carried out
 * by the next service_step. Takes the order over. NULL when there is no memory. */
struct service *service_new(struct supervisor *supervisor, const char *name,
                            struct start_order *order);
/* Out of the tables, and its memory: when nothing of it is left, or at the supervisor's end. */
void service_free(struct service *service);

/* Begins what the order says; stops what runs. Takes the order over. An older order that waits is
 * dropped and its calls are told. */
void service_order(struct service *service, struct start_order *order);
struct stop_request {
    enum stop_cause cause;
    uint64_t cause_id;
    bool has_grace;
    uint64_t grace_ms; /* at most this */
};
/* Ends and forgets it; drops a waiting order. `call` (may be NULL) is answered when it is gone. */
void service_stop(struct service *service, const struct stop_request *request,
                  struct rpc_call *call);

/* Something that it waited for has come. May free it. */
void service_go_on(struct service *service);

/* Its process has ended. */
void service_exited(struct service *service, int exit_status, uint64_t resident_bytes_max);
/* Marks its row as changed. */
void service_touch(struct service *service);

#endif
