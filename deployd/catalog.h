#ifndef SOLO_DEPLOYD_CATALOG_H
#define SOLO_DEPLOYD_CATALOG_H

#include <stdbool.h>
#include <stddef.h>
#include <uthash.h>

#include "common/api/api.h"
#include "common/api/service_states.h"
#include "deployd/supervisor.h"

/* What deployd knows, in memory: every tenant, and every service that the log wants, that a
 * supervisor holds, or that somebody waits for. Compact on purpose: specs stay in the log, rows
 * stay packed. */

struct operation;
struct wait;

/* What reconciling found to be due. */
enum due { DUE_NOTHING, DUE_START, DUE_STOP };

/* Where its secrets are (deliveries.h). */
enum delivery_state {
    DELIVERY_NONE,
    DELIVERY_QUEUED,
    DELIVERY_ASKED,  /* vaultd */
    DELIVERY_HANDED, /* to its supervisor */
    DELIVERY_WITHHELD
};

/* What a service may use of its tenant's share. */
struct quota_use {
    uint64_t services, processes, memory_bytes, log_bytes, code_bytes;
};

struct service {
    UT_hash_handle hh; /* by key */
    struct tenant *tenant;
    struct service *previous, *next; /* of the same tenant, in the order in which they came */

    struct live_row wanted; /* as the log has it; generation 0: not wanted */

    /* For quota.c. */
    struct quota_use used;    /* by what the log wants, as of used_generation */
    uint64_t used_generation; /* 0: not known */
    struct quota_use asked;   /* by the deploy on its way into the log */

    /* What its supervisor said last; meaningful while is_held, and for `failed` without a holder.
     */
    bool is_held;
    bool is_ready;
    bool has_started;        /* its process ran at least once */
    bool is_trial_over;      /* it failed and never was ready */
    bool is_usage_high;      /* near a limit of its own */
    bool has_breached;       /* ended for one, since it was deployed */
    bool is_seen;            /* named by the listing in progress */
    bool was_held;           /* at some time in the life of this deployd */
    bool was_killed;         /* a kill is in the log and may not have been carried out */
    enum due due;            /* other than DUE_NOTHING: stands in catalog.due */
    uint64_t due_generation; /* that the plan found running, for DUE_STOP */
    struct service *previous_due, *next_due;
    enum service_state state;
    uint64_t generation, since, pid;
    uint64_t secret_request; /* 0: it waits for no secrets */
    bool is_assumed; /* not held: its supervisor does not answer, the row is what was last known */
    /* Nothing wants or holds it: its first deploy failed, and the row says why. In catalog.failed.
     */
    bool is_failed_deploy;
    struct service *previous_failed, *next_failed;
    struct span row; /* the complete service_row, packed; owned; while one of the three says so */
    char *reason;    /* why nothing holds it; owned, NULL for none */
    struct span parked; /* the row of one that was parked when its supervisor ended; owned */

    /* For deliveries.c. */
    enum delivery_state delivery;
    uint64_t delivery_request; /* that was dealt with last, or is; 0: none */
    unsigned delivery_change;  /* of the vault, when that was begun */
    struct service *previous_delivery, *next_delivery;

    uint64_t retry_ns;          /* boottime of its next start (retry.h); 0: none is due by itself */
    unsigned retries;           /* since it ran, or was wanted in this generation */
    uint64_t building_since_ns; /* wall clock; 0: nothing of it is being built */
    struct operation *queue;    /* first is the oldest */
    unsigned queued;
    bool is_marked; /* stands in catalog.marked: its queue has to be looked at in this turn */
    struct service *previous_marked, *next_marked;
    struct wait *waits;

    bool is_changed;   /* stands in catalog.changed: looked at when the turn ends */
    bool is_row_stale; /* the registry has not been given its row since that changed */
    struct service *next_changed;
    unsigned tenant_bytes;
    char key[]; /* TENANT/NAME */
};

struct tenant {
    UT_hash_handle hh; /* by name */
    uint64_t index;
    bool is_recorded;    /* tenant_created is in the log */
    bool is_index_drawn; /* for it, and given to nobody before */
    /* While this is being appended (tenants.c). */
    void (*on_created)(struct tenant *tenant, const struct problem *refusal);
    struct service *services;
    size_t service_count, failed_count;
    unsigned high_totals;  /* that are nearly used up: bits of quota.c */
    bool are_totals_known; /* high_totals is what this deployd found */
    struct supervisor supervisor;
    char name[NAME_BYTES_MAX + 1];
};

struct catalog {
    struct service *services;
    struct tenant *tenants;
    size_t service_count, tenant_count;
    uint64_t index_next; /* of the next new tenant */
    struct service *changed;
    struct service *marked; /* queues that the next step of the turn looks at, in their order */
    struct service *due;    /* what reconciling has found and not yet begun */
    struct service *failed; /* first deploys that failed, oldest first */
    size_t failed_count;
    /* Runs whenever a service's state, pid or wanted row may have changed. */
    void (*on_change)(void *context, struct service *service);
    void *context;
};

static inline const char *service_name(const struct service *service)
{
    return service->key + service->tenant_bytes + 1;
}

struct tenant *catalog_tenant(const struct catalog *catalog, const char *name);
/* Finds or makes. resource_exhausted past TENANTS_MAX, with used and allowed in the problem. */
enum status catalog_tenant_make(struct catalog *catalog, const char *name, struct tenant **tenant,
                                struct problem *problem);

/* Frees one that is nothing but a name: not in the log, without services, never supervised. */
void catalog_tenant_release(struct catalog *catalog, struct tenant *tenant);

struct service *catalog_service(const struct catalog *catalog, const char *tenant,
                                const char *name);
/* Finds or makes; resource_exhausted past SERVICES_MAX or SERVICES_PER_TENANT_MAX. */
enum status catalog_service_make(struct catalog *catalog, struct tenant *tenant, const char *name,
                                 struct service **service, struct problem *problem);

/* Takes over what a supervisor said. The row is copied. */
enum status catalog_hold(struct catalog *catalog, struct service *service,
                         const struct service_row *row);
/* Nothing holds it any more; `state` is wanted, failed or starting, `reason` is copied. */
void catalog_unhold(struct catalog *catalog, struct service *service, enum service_state state,
                    const char *reason);
/* The same, because its supervisor has ended: what that had parked, the next one is to hold so. */
void catalog_bereave(struct catalog *catalog, struct service *service, const char *reason);
/* The supervisor that may hold it does not answer: shown as it was last known, held or not. */
void catalog_assume(struct catalog *catalog, struct service *service,
                    const struct service_row *row);
/* Its first deploy failed: it is shown until it is wanted or held again, or forgotten. `exits` as
 * in service_row, may be empty. Past FAILED_DEPLOYS_PER_TENANT_MAX or FAILED_DEPLOYS_MAX the oldest
 * is forgotten. */
void catalog_fail_deploy(struct catalog *catalog, struct service *service, uint64_t generation,
                         const char *reason, struct span exits);
void catalog_forget_failure(struct catalog *catalog, struct service *service);
void catalog_want(struct catalog *catalog, struct service *service, const struct live_row *row);

/* Puts the service onto the list of changed ones, which before_sleep works off: registry, release.
 */
void catalog_touch(struct catalog *catalog, struct service *service);
/* The same, and on_change is told: an operation ended, say. */
void catalog_changed(struct catalog *catalog, struct service *service);
/* Takes one from that list; NULL when it is empty. */
struct service *catalog_next_changed(struct catalog *catalog);

/* Something happened that its queue of operations may have waited for. */
void catalog_mark(struct catalog *catalog, struct service *service);
/* And the same for every service of a tenant. */
void catalog_mark_queues(struct catalog *catalog, struct tenant *tenant);
/* Takes the oldest mark; NULL when there is none. */
struct service *catalog_next_marked(struct catalog *catalog);

/* Notes what reconciling found, in place of what it found before. */
void catalog_due(struct catalog *catalog, struct service *service, enum due due,
                 uint64_t generation);
/* Nobody is at it, although the log wants something else than what is. To be started: a deploy that
 * was answered and has failed since, or nothing holds it and nothing was said about it; not while
 * its supervisor is on its way: all that it holds is compared then. To be stopped: it is held, can
 * run, and is not wanted. */
enum due service_overlooked(const struct service *service);
/* Notes that: it is begun if it is ours to do, and finds out why not. */
void catalog_look(struct catalog *catalog, struct service *service);
/* Frees the service when nothing refers to it any more: not wanted, not held, no operation, no
 * wait. Called by before_sleep only, so that a service stays where it is during a turn of the loop.
 */
void catalog_release(struct catalog *catalog, struct service *service);

/* The service's row as it is listed: the supervisor's, or one made from what is known. */
void catalog_row_write(const struct service *service, struct buffer *buffer);
/* Why it is in its state. */
char *service_reason(const struct service *service, char reason[REASON_BYTES_MAX + 1]);
/* Held, or assumed to be. */
static inline bool service_has_row(const struct service *service)
{
    return service->is_held || service->is_assumed;
}
/* False when nothing holds it, may hold it or wants it, nor its failed deploy is shown; also for
 * NULL. */
bool service_exists(const struct service *service);
/* Whether its supervisor holds the generation that the log wants, and that has this spec and has
 * not been given up: what failed or is parked is worth another try. */
bool service_has_spec(const struct service *service, const struct hash *spec_hash);

/* Services in the order of TENANT/NAME: a new array (free it), of `tenant` only when that is not
 * NULL. NULL when memory runs out; *count 0 for none. */
struct service **catalog_sorted(const struct catalog *catalog, const struct tenant *tenant,
                                size_t *count);

void catalog_close(struct catalog *catalog);

#endif
