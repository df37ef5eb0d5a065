#ifndef SOLO_DEPLOYD_DEPLOYD_H
#define SOLO_DEPLOYD_DEPLOYD_H

#include <ev.h>

#include "common/access/resource_watch.h"
#include "common/access/token_checks.h"
#include "common/base/clock.h"
#include "common/daemon/lifecycle.h"
#include "common/daemon/settings.h"
#include "common/rpc/client.h"
#include "common/rpc/server.h"
#include "common/rpc/shares.h"
#include "deployd/catalog.h"
#include "deployd/event_map.h"
#include "deployd/registry.h"

/* The run of Solo that this deployd belongs to. */
struct run {
    char id[UUID_TEXT_BYTES];
    char boot_id[BOOT_ID_BYTES];
    bool is_new;                  /* the log did not know it: adopt only, recoveryd does the rest */
    uint64_t started;             /* event system_started */
    char last_end[RUN_END_BYTES]; /* how the run before it ended */
};

/* How far deployd's own start is (boot.c). */
enum boot_state {
    BOOT_WAITING_FOR_EVENTD,
    BOOT_RECORDING_RUN,
    BOOT_ADOPTING,
    BOOT_RECONCILING,
    BOOT_READY,
    BOOT_DAMAGED,
};
struct boot {
    enum boot_state state;
    struct ev_timer timer;
    unsigned adopting; /* supervisors that have not told yet what they hold */
    char damage[320];  /* why the event store cannot be used; of BOOT_DAMAGED */
};

/* What recoveryd says of itself (recovery.c). */
enum recovery_phase { RECOVERY_NONE, RECOVERY_RUNNING, RECOVERY_DONE, RECOVERY_CUT };
struct recovery {
    enum recovery_phase phase;
    uint64_t event_id;               /* of the newest recovery_started */
    struct recovery_outcome outcome; /* so far, while it runs */
    unsigned acting;                 /* recovery.act calls in progress */
    bool is_abandoned;               /* cut, because recoveryd ended in the midst of it */
};
/* recoveryd, from its first request until it is gone. */
struct recovery_watch {
    struct ev_io process; /* its pidfd */
    pid_t pid;            /* 0: none is watched */
};

/* The orderly shutdown (drain.c). */
struct drain {
    bool is_begun, is_recorded, is_killing, is_done;
    bool is_last;    /* the daemons are stopped next */
    bool is_closing; /* eventd is asked to close the log */
    struct rpc_call *calls[DRAIN_CALLS_MAX];
    size_t call_count;
    struct ev_timer timer;
    uint64_t deadline_ns; /* boottime */
    unsigned supervisors; /* not gone yet */
    uint64_t stopped, killed;
    struct buffer killed_names;               /* packed texts */
    char killed_text[EVENT_KILLED_BYTES_MAX]; /* the same for the log, as far as there is room */
    size_t killed_count;
};

/* Work that is due because of what was found, not because somebody asked (reconcile.c). */
struct reconcile {
    struct ev_timer timer;
    struct ev_timer look_timer;
    bool is_wanted;   /* since the last turn (deployd_look_again) */
    bool is_asking;   /* waits for eventd's answer */
    unsigned running; /* operations begun by it and not yet done */
};

/* Secrets on their way (deliveries.c). */
struct deliveries {
    struct service *queued, *withheld; /* linked by next_delivery */
    unsigned running;
    uint64_t change;  /* of the vault, as vaultd counts */
    unsigned changes; /* seen so far */
    bool is_awaiting; /* the next one */
    unsigned asking;  /* of `running`: vaultd has not answered yet */
    bool is_silent;   /* it did not answer the last one */
    struct ev_timer again;
    uint64_t refused_ms; /* how long a supervisor's refusals are waited out; 0 for none */
};

struct deployd {
    struct settings settings;
    struct lifecycle lifecycle;
    struct ev_loop *loop;
    struct access access;
    struct token_checks tokens;
    uint8_t run_key[RUN_KEY_BYTES];
    bool has_run_key;
    int listener;
    struct rpc_server *server;
    struct rpc_client *eventd, *vaultd;
    struct event_map map;
    struct registry registry;
    struct catalog catalog;
    struct arena scratch; /* for one decoding at a time; reset after each use */
    struct run run;
    struct boot boot;
    struct recovery recovery;
    struct recovery_watch recovery_watch;
    struct drain drain;
    struct reconcile reconcile;
    struct deliveries deliveries;
    struct ev_prepare before_sleep;
    struct ev_prepare after_requests;
    struct ev_idle go_on; /* active while a turn has left something to the next one */
    struct ev_timer stop_timer;
    struct resource_watch resources;
    struct {
        bool is_sent;  /* it is on its way to eventd */
        bool was_lost; /* the one before was not recorded, which has been logged */
    } resource_event;
    struct ev_timer token_timer; /* looks at the tokens of streams and waits again */
    struct rpc_service service;  /* what the server answers */
    unsigned operations;         /* begun or queued, all services */
    const struct supervisor_events *supervisor_events; /* whom the supervisors tell */
    struct sent_report *reports_sent;                  /* on their way to eventd */
    unsigned supervisors_spawning;
    struct shares log_streams, waits;
    bool is_acknowledging; /* some supervisor is owed an acknowledgement */
    bool is_stopping;      /* SIGTERM: no new work */
    struct {
        uint64_t deploys, kills, restarts, fallbacks, supervisor_starts, supervisor_deaths, reports,
            reports_refused;
    } counters;
};

/* Whether deploys, kills and restarts are taken; otherwise the refusal is in `problem`. */
enum status deployd_is_open(const struct deployd *deployd, struct problem *problem);

/* Whether what is asked for can be told; data_loss while the event store is damaged. */
enum status deployd_is_readable(const struct deployd *deployd, struct problem *problem);

/* An outcome was left open: what is wanted and what runs are compared anew, once eventd has dealt
 * with everything that was sent to it. Begins nothing itself; the turn does (turn.c). */
void deployd_look_again(struct deployd *deployd);

/* Reads the service's live row from the log into the catalog. */
enum status deployd_refresh(struct deployd *deployd, struct service *service);

#endif
