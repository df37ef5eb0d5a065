#ifndef SOLO_DEPLOYD_SUPERVISOR_H
#define SOLO_DEPLOYD_SUPERVISOR_H

#include <ev.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/base/buffer.h"
#include "common/rpc/client.h"

/* One tenant's supervisor as deployd sees it; supervisors.h acts on it.
 *
 *   absent ──► spawning ──► greeting ──► listing ──► ready
 *     ▲            │            │            │          │
 *     │            ▼            ▼            ▼          ▼
 *     └──────── delayed ◄──────────── lost ◄────────────┘
 *
 * greeting ──► dismissed ──► lost
 *
 * absent: none runs and none is needed. spawning: our child, the outer half of tenantd, has not
 * ended. greeting: its lock is held; hello is on its way. listing: what it holds is being read.
 * dismissed: it serves another event log than ours, and was told to end with everything it holds.
 * lost: the connection broke; whether it lives is being found out. delayed: it is started again
 * after a pause. */
enum supervisor_state {
    SUPERVISOR_ABSENT,
    SUPERVISOR_SPAWNING,
    SUPERVISOR_GREETING,
    SUPERVISOR_LISTING,
    SUPERVISOR_DISMISSED,
    SUPERVISOR_READY,
    SUPERVISOR_LOST,
    SUPERVISOR_DELAYED,
    SUPERVISOR_STATES
};

struct deployd;
struct tenant;

/* The oldest report that is not acknowledged, refused for a cause that does not pass by itself. */
struct stuck_report {
    uint64_t number;
    unsigned refusals;  /* in a row, with the same status */
    enum status status; /* of the last one */
    bool is_told;       /* refused often enough: status and verify say so */
    bool is_recorded;   /* its inconsistency_found is in the log, or on its way */
};

struct supervisor {
    enum supervisor_state state;
    struct deployd *owner;
    struct tenant *tenant;
    struct rpc_client *client; /* from greeting to lost */
    struct ev_timer timer;     /* the pause, the check of the lock; ready: the next resync */
    struct ev_timer probe;     /* ready: the next question whether it still answers */
    bool is_probed;            /* and the answer to the last one has not come */
    struct ev_io child;        /* spawning: pidfd of our child */
    struct ev_io process;      /* pidfd of the supervisor itself */
    int child_pid;
    uint64_t host_pid;
    uint8_t incarnation[16];
    char isolation[64], stop_method[32];
    unsigned deaths;       /* since it was last ready for a while: sets the pause */
    uint64_t ready_ns;     /* boottime */
    uint64_t heard_ns;     /* boottime of its last word, or of the first greeting */
    uint64_t reported;     /* the greatest number whose report went to eventd */
    uint64_t acknowledged; /* by eventd */
    uint64_t acknowledged_sent;
    uint64_t refused;           /* number of the last invalid report, 0 for none */
    unsigned reports_in_flight; /* sent to eventd and not answered */
    struct stuck_report stuck;
    uint64_t watch;      /* handle of supervisor.watch */
    uint64_t resync_ms;  /* the last pause before reports were asked for again, 0: none was */
    bool is_silent;      /* it lives and has not answered in time: nobody waits for it */
    bool is_adopting;    /* boot waits for what it says */
    bool waits_for_slot; /* delayed: too many are being started at once */
    bool is_ending;      /* system.drain: not started again */
    bool has_ended_all;  /* it said so: its services ended in order, or were named */
    bool has_complained; /* about its protocol */
    char problem[256];   /* why the last start failed */
};

/* What a supervisor's life tells to those who decide (supervision.c). All of them are set. */
struct supervisor_events {
    /* Whether somebody would miss it: then it is started again. */
    bool (*is_missed)(struct deployd *deployd, const struct tenant *tenant);
    /* Adopted: it has told what it holds, or cannot. */
    void (*on_told)(struct deployd *deployd, struct supervisor *supervisor);
    /* It lives but does not answer: what it holds is not known, or only what it has told while it
     * was ready. Comes before on_told; on_ready says that it answers at last. */
    void (*on_silent)(struct deployd *deployd, struct supervisor *supervisor);
    /* It has said who it is, and will send again what was not acknowledged. */
    void (*on_greeted)(struct deployd *deployd, struct supervisor *supervisor);
    /* Its rows are in the catalog, and it can be asked. */
    void (*on_ready)(struct deployd *deployd, struct supervisor *supervisor);
    /* The connection was given up: no answer to what it was asked will come. */
    void (*on_cut)(struct deployd *deployd, struct supervisor *supervisor);
    /* It is dead; the catalog still has what it held. */
    void (*on_died)(struct deployd *deployd, struct supervisor *supervisor);
    /* One that was told to end (is_ending) is gone. */
    void (*on_ended)(struct deployd *deployd, struct supervisor *supervisor);
    void (*on_report)(struct deployd *deployd, struct supervisor *supervisor, struct span report);
};

#endif
