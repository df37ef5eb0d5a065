#ifndef SOLO_DEPLOYD_FENCE_H
#define SOLO_DEPLOYD_FENCE_H

#include "common/api/api.h"

/* What the log says now, against what was to be done and what a supervisor makes of it. Pure: one
 * rule for every request to a supervisor, before it is sent and after it was refused. */
enum fence {
    FENCE_ACT,       /* it is as the log wants it */
    FENCE_OVERTAKEN, /* the log has moved on: whoever wrote the newer event sees to it */
    /* Its supervisor knows of something newer than the log does: the log lost its end, or another
     * one was put in its place. Nothing newer sees to it, so it is never done. */
    FENCE_LOG_WENT_BACK,
};

struct fence_case {
    enum { FENCE_START, FENCE_STOP, FENCE_KILL } what;
    uint64_t generation, since;    /* to be started or stopped; of a kill both are its event */
    const struct live_row *wanted; /* as the log says now */
    bool is_held;                  /* what its supervisor said last */
    uint64_t held_generation, held_since;
    bool is_refused; /* asked for this, its supervisor said `aborted` */
    uint64_t newest; /* of a refused kill: the newest event about its service */
};

enum fence fence_judge(const struct fence_case *fence);

#endif
