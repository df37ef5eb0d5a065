#ifndef SOLO_RECOVERYD_PICTURE_H
#define SOLO_RECOVERYD_PICTURE_H

#include "common/api/records/log_branch.h"
#include "common/api/records/recovery_cut.h"
#include "common/api/records/run_end.h"
#include "common/plan/plan.h"
#include "recoveryd/actual.h"
#include "recoveryd/token_census.h"

/* Wanted and actual at one moment, and the plan that follows. What is actual is asked before the
 * log is read: what happens in between then shows as work that deployd finds done, never as work
 * that undoes something. */
struct picture {
    struct {
        bool exists; /* false: nothing was ever deployed */
        uint8_t store_id[16];
        uint64_t last_event; /* the snapshot */
        uint64_t chain_from; /* the chain was checked from here to the end */
        uint64_t map_used_bytes, map_bytes;
        struct log_branch branch; /* FORKED: nothing of the plan may be carried out */
        bool is_live_damaged;     /* folded anew here, in memory, as eventd will when it starts */
    } log;
    struct token_census tokens;   /* taken by who shows it */
    bool is_new_run;              /* no recovery has been completed in this run of Solo */
    struct recovery_cut cut;      /* the recovery before this one, if it has no end in the log */
    char last_end[RUN_END_BYTES]; /* how the run before it ended; "" without a log */
    struct arena arena;
    struct plan_wanted *wanted;
    size_t wanted_count;
    struct actual actual;
    struct plan plan;
};

/* data_loss for a damaged store. Everything is logged. */
enum status picture_take(const struct settings *settings, struct picture *picture);
void picture_close(struct picture *picture);

#endif
