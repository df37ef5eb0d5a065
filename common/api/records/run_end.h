#ifndef SOLO_COMMON_API_RECORDS_RUN_END_H
#define SOLO_COMMON_API_RECORDS_RUN_END_H

#include "common/api/records/event_log.h"

enum { RUN_END_BYTES = 16 };

/* By eventd, in the last transaction of a run that ends in order: `last_id` is the log's last event
 * then. So it is known without any event that says so, too. */
enum status run_end_put(struct db_txn *txn, uint64_t last_id, bool is_forced);

/* How the newest run that the log knows of ended, for one that begins in boot `boot_id`: a name of
 * run_ends.def, "first" when there was none. */
enum status run_end_find(struct db_txn *txn, const char *boot_id, char end[RUN_END_BYTES]);

/* Whether the newest run began in that boot and no end of it is in the log. */
enum status run_is_open(struct db_txn *txn, const char *boot_id, bool *is_open);

#endif
