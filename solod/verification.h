#ifndef SOLO_SOLOD_VERIFICATION_H
#define SOLO_SOLOD_VERIFICATION_H

#include "common/api/api.h"
#include "solod/daemons.h"

/* The periodic check: `recoveryd verify --background` every verify_interval_ms, beginning when
 * everything has started; and the result of the last verification, whoever ran it. */
struct verification {
    struct daemons *daemons;
    struct child child;
    struct ev_timer timer;
    bool was_begun, was_told; /* by the child that runs */
    struct {
        uint64_t wall_ns; /* 0: there was none in this run */
        uint64_t exit_code, checked, found, took_ms;
        bool is_full;
    } last;
};

/* Does nothing when it has begun already, or when the interval is 0. */
void verification_begin(struct verification *verification, struct daemons *daemons);
/* The interval may be another one: the next check is that far away. */
void verification_reload(struct verification *verification);
/* Somebody's verification has ended. */
void verification_told(struct verification *verification,
                       const struct system_verified_request *result);
/* Also ends a check that runs: it only reads. */
void verification_close(struct verification *verification);

/* As a map, empty while there was none. */
void verification_write(const struct verification *verification, struct buffer *map);

#endif
