#ifndef SOLO_COMMON_API_RECORDS_RECOVERY_CUT_H
#define SOLO_COMMON_API_RECORDS_RECOVERY_CUT_H

#include "common/api/records/event_log.h"

/* The newest recovery that the log knows of, when it has no end there: it was cut off, or still
 * goes on. What it has done is what the log proves. */
struct recovery_cut {
    uint64_t event_id; /* of recovery_started; 0: the newest recovery has its end, or there is none
                        */
    uint64_t total;    /* the actions of its plan that change something */
    uint64_t done;     /* of these; those that failed included */
    uint64_t failed;
};
enum status recovery_cut_find(struct db_txn *txn, struct recovery_cut *cut);

/* The actions of a plan's summary that change something. */
uint64_t recovery_plan_total(struct span plan);

#endif
