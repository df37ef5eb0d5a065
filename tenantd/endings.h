#ifndef SOLO_TENANTD_ENDINGS_H
#define SOLO_TENANTD_ENDINGS_H

#include <ev.h>
#include <stdbool.h>

#include "tenantd/tree.h"

struct supervisor;
struct endings;

/* Ends what is left of a process tree when its main process has exited: of a service, of a build.
 * Sits inside the struct that it serves. */
struct ending {
    struct endings *endings;
    struct ending *previous, *next; /* while it is active */
    const char *name;               /* of its cgroup; not owned */
    bool is_active;
    bool was_found, is_empty; /* by the last look */
    uint64_t begun_ns;
    bool is_long; /* it was said that this takes long */
    void (*on_ended)(struct ending *ending);
};

/* All of them: one round of kills serves all. */
struct endings {
    struct supervisor *supervisor;
    struct ending *active;
    struct tree tree;
    struct ev_timer timer;
    uint64_t rounds;
    bool is_round_due;
    double round_delay_s;
};

void endings_open(struct endings *endings, struct supervisor *supervisor);
void endings_close(struct endings *endings);
/* Somebody was reaped. */
void endings_child_died(struct endings *endings);
/* At the end of a turn of the loop. */
void endings_turn(struct endings *endings);

void ending_init(struct ending *ending, struct endings *endings, const char *name,
                 void (*on_ended)(struct ending *ending));
/* From the end of this turn on. `on_ended` follows, when nothing is left of the tree; it may free
 * its owner. */
void ending_begin(struct ending *ending);
/* Without a call of on_ended; one that is not active is fine. */
void ending_cancel(struct ending *ending);

#endif
