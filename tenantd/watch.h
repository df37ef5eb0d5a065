#ifndef SOLO_TENANTD_WATCH_H
#define SOLO_TENANTD_WATCH_H

#include "common/rpc/server.h"

struct supervisor;

/* The one stream to deployd: all rows, then all unacknowledged reports, then what changes. Rows are
 * sent once per turn of the loop however often they changed; a reader that falls behind gets the
 * newest row of each service when it reads again, and every report. */
struct watch {
    struct rpc_call *call; /* NULL: nobody watches */
    uint64_t next_report;  /* number of the next one to be sent */
    bool is_paused;        /* until what was sent has been read */
};

/* Replaces an older watch, which is answered. */
void watch_begin(struct supervisor *supervisor, struct rpc_call *call);
/* Sends what there is. Called at the end of each turn. */
void watch_pump(struct supervisor *supervisor);
void watch_end(struct supervisor *supervisor);

#endif
