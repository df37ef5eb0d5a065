#ifndef SOLO_TOKEND_SWEEP_H
#define SOLO_TOKEND_SWEEP_H

#include <ev.h>

#include "common/db/table.h"
#include "tokend/token_store.h"

/* What tokend does by itself, in small slices between the turns of its callers: it sweeps what has
 * expired, warns of what will soon, and compares the tokens with their digest. None of it delays a
 * caller by more than one slice; how many tokens one removes goes by how long the last one took,
 * its commit included. */

enum {
    SWEEP_SLICE_ROWS = 48,     /* removed in one transaction at most ... */
    SWEEP_SLICE_ROWS_MIN = 12, /* ... and at least: fewer cost little less on a slow disk */
    SWEEP_SLICE_MS = 4,        /* that it may take */
    CHECK_SLICE_ROWS = 2048,   /* compared at once: about a millisecond */
    WARNING_LEVELS = 3,
};

struct sweep {
    struct token_store *store;
    struct ev_loop *loop;
    struct ev_timer due;     /* the next sweep begins */
    struct ev_timer slice;   /* the next slice of it */
    struct ev_timer warning; /* every minute, and between its slices */
    struct ev_timer check;   /* the next slice of the comparison */
    struct db_txn snapshot;  /* that it walks */
    struct table_walk walk;
    uint64_t interval_ms;
    size_t rows;      /* of the next slice */
    uint64_t commits; /* of the store, after the last one */
    bool is_checked;
    /* The tokens do not match their digest; called once, and may close the sweep. */
    void (*on_damage)(void *context);
    void *context;
};

/* `interval_ms`: between the beginnings of sweeps; the first is soon after the start. */
void sweep_open(struct sweep *sweep, struct token_store *store, struct ev_loop *loop,
                uint64_t interval_ms);
void sweep_close(struct sweep *sweep);
/* Another interval: the next sweep is at most that far away. Nothing happens to one that is closed.
 */
void sweep_set_interval(struct sweep *sweep, uint64_t interval_ms);

/* One slice of up to `rows` (SWEEP_SLICE_ROWS at most), in a turn of its own; *is_more when another
 * is due at once. Nothing happens while the clock is suspect, or while the outbox has no room for
 * what it would say. */
enum status sweep_expired(struct token_store *store, size_t rows, bool *is_more);
enum status sweep_warn(struct token_store *store, size_t rows, bool *is_more);

/* Pure: how many rows the next slice removes. */
size_t sweep_next_rows(size_t rows, uint64_t took_ns);

#endif
