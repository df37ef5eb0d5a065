#ifndef SOLO_EVENTD_QUERY_H
#define SOLO_EVENTD_QUERY_H

#include "common/base/buffer.h"
#include "common/base/limits.h"
#include "common/base/name.h"
#include "common/db/db.h"
#include "eventd/late_rows.h"

/* Finding events: for event.query and for watches. Bounded in records and bytes looked at, in items
 * and in bytes returned, so that one question never holds up the appends; what is left is asked for
 * by going on at `next`. */

struct event_filter { /* "" is any */
    char tenant[NAME_BYTES_MAX + 1];
    char type[EVENT_TYPE_BYTES_MAX + 1];
    char subject[EVENT_SUBJECT_BYTES_MAX + 1];
};

struct query {
    struct late_rows *late; /* for the heads */
    const struct event_filter *filter;
    uint64_t after;  /* only numbers above; 0 is all */
    uint64_t before; /* only numbers below; 0 is all */
    uint64_t items_max;
    size_t bytes_max;        /* of packed items; the first one is taken whatever its size */
    uint64_t scan_max;       /* records looked at */
    uint64_t scan_bytes_max; /* the last one looked at may go beyond */
    bool follows_tenant; /* newest first: only along the tenant's links, so that numbers of others
                          * are not met; needs a tenant in the filter */
};

struct query_result {
    struct buffer *items; /* event_item maps, one behind the other; added to */
    uint64_t count;
    uint64_t
        seen; /* the last number that was looked at or passed over; `after` or `before` to go on */
    uint64_t last;                   /* the number of the last item; 0 without one */
    bool is_complete;                /* nothing is left in the range */
    uint64_t scanned, scanned_bytes; /* records looked at */
};

/* From low numbers to high, by scanning. */
enum status query_oldest_first(struct db_txn *txn, const struct query *query,
                               struct query_result *result);
/* From high numbers to low, along the back links of the most selective of the filter's heads. */
enum status query_newest_first(struct db_txn *txn, const struct query *query,
                               struct query_result *result);

#endif
