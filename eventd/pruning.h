#ifndef SOLO_EVENTD_PRUNING_H
#define SOLO_EVENTD_PRUNING_H

#include "eventd/event_store.h"

/* Removing what the log's cut says is archived: records, and heads that lead to them. A little at a
 * time, in transactions of its own between the turns; when it is cut off it begins anew and finds
 * less to do. What the state at the cut names stays. */
struct pruning {
    struct event_store *store;
    uint64_t cut; /* 0: the log is whole, nothing is to be done */
    uint64_t *kept;
    size_t kept_count;
    uint64_t at;                  /* every record up to this one was looked at */
    uint8_t head[HEAD_KEY_BYTES]; /* the head that was looked at last */
    size_t head_size;
    bool are_events_done, is_done;
    uint64_t events, heads; /* removed */
};

/* Reads what must stay. data_loss: the state at the cut is not what it should be, nothing may be
 * removed. */
enum status pruning_open(struct pruning *pruning, struct event_store *store);
void pruning_close(struct pruning *pruning);
/* One transaction: as much as a turn may be held up for. Not within a turn. */
enum status pruning_step(struct pruning *pruning);

#endif
