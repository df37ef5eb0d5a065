#ifndef SOLO_COMMON_API_RECORDS_LOG_SALVAGE_H
#define SOLO_COMMON_API_RECORDS_LOG_SALVAGE_H

#include "common/base/buffer.h"
#include "common/base/name.h"
#include "common/db/db.h"

/* What `recoveryd salvage` says of a log that it made: a row of `meta`. Services whose latest
 * deploy or kill may be among what is lost are listed by a hash of their key; none of them is
 * started until an event after `until` says again that it is wanted. */

enum { LOG_REVIEWED_MAX = 64 * 1024 };

struct log_salvage {
    uint64_t until;        /* the last event that was salvaged; 0: the log never was */
    bool is_fresh;         /* eventd has not opened it yet, and made what follows from the events */
    bool is_told;          /* by an event, see below */
    bool needs_person;     /* something is lost, or in doubt */
    bool has_all;          /* every service that it wants is to be reviewed */
    const uint8_t *listed; /* 8 bytes of each, sorted; into the transaction */
    size_t listed_count;
};

/* Of the open transaction of an event store. */
enum status log_salvage_read(struct db_txn *txn, struct log_salvage *salvage);
enum status log_salvage_write(struct db_txn *txn, const struct log_salvage *salvage);

enum { LOG_REVIEWED_BYTES = 8 };
/* What a service is listed by. */
void log_salvage_mark(const char *tenant, const char *name, uint8_t mark[LOG_REVIEWED_BYTES]);
int log_salvage_compare(const void *a, const void *b); /* of two marks, for sorting */

/* Whether it is still to be reviewed: `since` is that of its live row. */
bool log_salvage_needs_review(const struct log_salvage *salvage, const char *tenant,
                              const char *name, uint64_t since);

/* The row goes with the next damage, events are what a salvage finds again: so an event of the log
 * names the services, and a later salvage puts those to review that nobody has decided on since.
 *
 * The payload of that event, as the transaction sees what is wanted. */
enum status log_salvage_tell(struct db_txn *txn, const struct log_salvage *salvage, uint64_t events,
                             struct buffer *payload);
/* What such a payload says; the marks are put into `marks`. False, and both as they were, when it
 * is that of another event. */
bool log_salvage_was_told(struct span payload, struct log_salvage *salvage, struct buffer *marks);

#endif
