#ifndef SOLO_RECOVERYD_SALVAGE_LOSSES_H
#define SOLO_RECOVERYD_SALVAGE_LOSSES_H

#include "common/api/records/log_fold.h"
#include "common/api/records/log_salvage.h"
#include "recoveryd/record_scan.h"
#include "recoveryd/salvage_behind.h"
#include "recoveryd/salvage_earlier.h"

/* What a salvage could not bring back, and whom it may concern: an event that is lost may have
 * deployed or killed anything, unless whole records behind it say by their back links that it was
 * not of that tenant, or not about that service. */
struct event_range {
    uint64_t first, last;
};

enum { RANGES_SHOWN_MAX = 32 };

struct event_ranges {
    struct event_range items[RANGES_SHOWN_MAX]; /* the first */
    size_t count;                               /* of all */
    uint64_t events;
};

struct reviewed {
    char key[SERVICE_KEY_BYTES];
    uint64_t since; /* of its live row */
    bool is_needed;
};

struct salvage_losses {
    uint64_t until;               /* the salvaged log ends here */
    uint64_t known_last;          /* the newest event that anybody knows of */
    struct event_ranges lost;     /* nothing is left of them */
    struct event_ranges unlinked; /* whole, but what they follow is lost */
    struct reviewed *services;    /* wanted by the salvaged log, by key */
    size_t service_count, review_count;
    struct salvage_behind behind;
};

/* `known_last`: what anchors name, 0 for none. `fold` is that of the chain, sorted. `told`: what
 * the chain tells of the salvage before this one; zeroed, there was none; `reported`: what reports
 * do. What these put to review is still in doubt unless somebody has decided on it since. */
enum status salvage_losses_find(struct salvage_losses *losses, struct record_scan *scan,
                                uint64_t known_last, const struct log_salvage *told,
                                const struct salvage_earlier *reported,
                                const struct log_fold *fold);
/* Something is lost, now or before, that somebody may miss. */
bool salvage_losses_need_a_person(const struct salvage_losses *losses);
void salvage_losses_close(struct salvage_losses *losses);

#endif
